"""Models asked: rows made ready, run in batches, and answered.

subject      a model with its tokenizer and image processor
ensemble     several models asked as one: the mean of what they predict
agreement    whether models can be asked as one
asked        rows made ready for one model
encoding     texts as token numbers
batching     batches as large as memory allows
likelihood   perplexity and pseudo-likelihood
choices      multiple choice by likelihood
classes      texts put into classes or given a number
matching     answers in words
images       pictures put into classes
retrieval    documents found by vectors
"""
