"""Will these merge? What headers and a sample of the weights say of several models, before anything is merged.

facts       what is found out, as data
sample      which entries are read
sums        one pass over the sample: squared norms and distances between all models
bases       which model the others were tuned from, by distance
vectors     a second pass, over task vectors: signs, directions, rank
matching    whether one model is another with its units in another order
structure   what names, shapes, configurations and vocabularies say
barrier     the loss half-way between two models, on data
rules       every threshold, with where it comes from
judge       figures and rules → reasons and a verdict
suggest     a method to begin with
look        all of it, in order
"""

from __future__ import annotations

from cuvee.preflight.facts import Preflight

__all__ = ["Preflight"]
