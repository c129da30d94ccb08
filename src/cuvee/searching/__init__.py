"""Search: recipes with holes, strategies that fill them, a journal that a search goes on from."""
