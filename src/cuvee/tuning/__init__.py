"""A short fine-tuning of a model that was merged or stacked."""
