"""The judge: tasks, what models answer on them, and what the answers are worth.

answers     what a model answered, by rows
"""
