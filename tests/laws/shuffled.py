"""A merge whose tiles are observed, added up and combined in random order, as parallel workers would."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add

import torch

from cuvee.methods.call import cut
from cuvee.methods.tiles import combine_tile, observed, stack_of, tile_ranges


def run_shuffled(method, case, order):
    """Merge a case of one-dimensional tensors; `order` is a `random.Random`."""
    job = job_of(method, case)
    tiles = tile_ranges(job.numel, order.choice([1, 2000]), job.grain)
    values = [t.reshape(-1) for t in case.tensors]
    known, done = None, 0
    while (following := method.measure(job, done, known)) is not None:
        order.shuffle(tiles)
        partials = [observed(following, stack(method, case, values, a, b, job), a, job, known) for a, b in tiles]
        known, done = following.conclude(pairwise(partials, order), job, known), done + 1
    merged = torch.empty(job.numel, dtype=job.dtype)
    for a, b in order.sample(tiles, len(tiles)):
        base = None if case.base is None else case.base[a:b]
        collected = cut(method, case.collected, a, b)
        merged[a:b] = combine_tile(method, stack(method, case, values, a, b, job), base, a, job, known, collected)
    return merged


def pairwise(partials, order):
    """The sum of all partials, each time of two taken at random."""
    rest = list(partials)
    while len(rest) > 1:
        order.shuffle(rest)
        rest.append(reduce(add, [rest.pop(), rest.pop()]))
    return rest[0]


def stack(method, case, values, a, b, job):
    return stack_of(method, [v[a:b] for v in values], None if case.base is None else case.base[a:b], job.dtype)


def job_of(method, case):
    """The job that a call of the method on this case makes."""
    seen = []

    def spy(job, done, known):
        seen.append(job)
        return method.measure(job, done, known)

    case.run(replace(method, measure=spy))
    return seen[0]
