"""Files of texts or tokens that models are run on: what a row is, how it is read, whether it fits a model.

rows    files read, with limits and with every line that is wrong
fit     what a model has no token or class for
"""
