"""The published claims about merging, measured again in miniature: models made from seeds, merged through Cuvee.

`python -m benchmarks.claims` measures and writes `benchmarks/results/claims/`; `python -m benchmarks.claims.build NAME
--out DIR` writes a pool of models, and its tasks, as ordinary folders. Nothing is downloaded.
"""
