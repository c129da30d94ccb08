"""Which part of a combination contributed what: leave-one-out and Shapley values over models or groups of layers.

coalitions   which sets of parts are scored: all of them, or those of drawn orders
shapley      the values as weighted sums of the sets' scores
outcomes     what sets came to, by rows where there are rows
explanation  the values with their error bars, as people and programs get them
subsets      a recipe without some of its models
layer_groups tensors by groups of layers
"""
