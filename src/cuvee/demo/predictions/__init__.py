"""The demo of ensembles: mixed families on digits, and two readers of reviews that are stacked and cascaded."""
