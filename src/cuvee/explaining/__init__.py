"""Which part of a combination contributed what: leave-one-out and Shapley values, with error bars."""
