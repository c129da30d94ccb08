"""What is told of a merge: one page to look at, and a model card.

evidence    what there is to tell, as plain data
"""
