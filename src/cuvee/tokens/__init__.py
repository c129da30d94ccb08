"""Vocabularies: read, compared, united; and the rows of embeddings that belong to their tokens."""
