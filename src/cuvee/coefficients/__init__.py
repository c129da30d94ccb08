"""Weights of a merge learned on data, and written down as a recipe.

asked       what is to be learned, checked
rows        data files by expert, and batches of their rows
groups      which tensors share a coefficient, and how coefficients become settings of a recipe
model       the merged model as a differentiable function of its coefficients
objectives  what is minimised: entropy, cross-entropy, divergence from the experts
descent     the steps
outcome     the learned recipe and the log
"""
