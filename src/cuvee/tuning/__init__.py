"""Refinement after a merge: a short fine-tune of a model's weights on data, by a small loop of our own."""
