"""Run models over calibration data and keep what a merge wants to know of it: Gram matrices and diagonal Fishers.

samples    texts made into tokens, batches of them, and what is masked
subjects   models with their data, loaded and checked
weights    which tensors on disk are applied as linear maps, and by what
gram       second moments of the inputs of linear maps
fisher     second moments of gradients of the log-likelihood
through    Gram matrices of inputs that went through layers merged before (RegMean++)
found      what was found, under the names on disk
collect    a model and its data in, a file of statistics out
"""
