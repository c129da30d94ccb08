"""Fill the holes of a recipe: which values, which models, which method, by what a judge says of the results.

holes          one free number or choice
reading        a recipe with holes, read with places; all faults at once
space          the holes of a recipe, and a recipe from values for them
flow           which layer follows which
strategy       what a strategy is: ask and tell; the strategies by name
grid, sampling, coordinate, soups, pool        our own strategies
tpe, nsga2, through_optuna                     those of Optuna
evolution, through_cmaes                       CMA-ES
cellar         models held in memory, and candidates merged from them
seat           one torch module, weights put in place
rows           which rows are searched on and which report
grading        what a candidate is worth
journal        what was tried, line by line, durable
trials         the loop: ask, evaluate, write down, tell
outcome        what came of it, held out
"""
