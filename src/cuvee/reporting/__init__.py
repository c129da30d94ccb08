"""What is told of a merge: one page to look at, and a model card.

evidence        what there is to tell, as plain data
card            the model card: its page, of card_parts, card_scores and metadata (front matter)
licences        the strictest licence of the inputs, by the facts of licence_table
front_matter    YAML at the head of a card, read and written
markdown        words of strangers in Markdown
"""
