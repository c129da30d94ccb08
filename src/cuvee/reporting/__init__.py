"""What is told of a merge: one page to look at, and a model card.

evidence           what there is to tell, as plain data
cast, words        who is who in it; figures as people read them
applied, layers    what the plan of a merge says, and what its tensors do; looked: both, or why they are not there
charts, drawing    Vega-Lite through Altair; pictures and the browser's scripts from vl-convert
figures            the charts of comparisons, explanations and searches
verdicts           what is said first
markup, lineage    HTML that escapes, and a drawing of what came from what
parts, sections*   the parts of the page
page               all of it in one file, with style.css and page.js
card               the model card: its page, of card_parts, card_scores and metadata (front matter)
licences           the strictest licence of the inputs, by the facts of licence_table
front_matter       YAML at the head of a card, read and written
markdown           words of strangers in Markdown
"""
