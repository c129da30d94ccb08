"""Files of texts, tokens or named columns that models are run on: how rows are read, and whether they fit a model.

rows        files read, with limits and with every line that is wrong
tables      files of named columns; those of Parquet in `parquet`
fit         what a model has no token or class for
functions   functions of the user's own, by name
"""
