"""Random recipes over mergekit's methods of angles, of sets of entries and of pairs.

As in `recipes.py`, no few weights sum to nearly zero. The deltas of the models lie around 0.02, which is what the
thresholds below are chosen about.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.peers.models import Family
from tests.peers.recipes import (
    Recipe,
    entries,
    of_a_base,
    of_deltas,
    setting,
    switches,
    weights,
    whole_or_sliced,
)


def maybe(random: Random, chance: float, **settings: Any) -> Recipe:
    """Each setting, or nothing where its default shall be tried."""
    return {name: value for name, value in settings.items() if random.random() < chance}


def power_of_ten(random: Random, low: int, high: int) -> float:
    return float(f"1e{random.randint(low, high)}")


def beside_a_base(random: Random, family: Family, own: list[Recipe], shared: Recipe) -> Recipe:
    """Models of any kind without a base, or fine-tunes with theirs."""
    if random.random() < 0.5:
        return of_a_base(random, family, own, shared)
    return whole_or_sliced(random, entries(family, random.sample(family.everyone, len(own)), own), shared)


def from_the_base(random: Random, family: Family, shared: Recipe) -> Recipe:
    """A base and one other model, in either order."""
    base, other = random.sample(family.everyone, 2)
    listed = entries(family, random.sample([base, other], 2), [{}, {}])
    return {"base_model": base, **whole_or_sliced(random, listed, shared)}


def nuslerp(random: Random, family: Family) -> Recipe:
    """Two models by weight: whole tensors, last axes or first axes as vectors, with or without a base."""
    own = [{"weight": w} for w in weights(random, 2, negative=random.random() < 0.2)]
    return beside_a_base(random, family, own, switches(random, "nuslerp_flatten", "nuslerp_row_wise"))


def multislerp(random: Random, family: Family) -> Recipe:
    """One to three models by weight, with or without a base."""
    own = [{"weight": w} for w in weights(random, random.choice([1, 2, 2, 3, 3, 3]), negative=random.random() < 0.2)]
    shared = switches(random, "normalize_weights") | maybe(random, 0.3, eps=power_of_ten(random, -10, -7))
    return beside_a_base(random, family, own, shared)


def karcher(random: Random, family: Family) -> Recipe:
    """One to four models; a base that is not listed is one more."""
    models = random.sample(family.everyone, random.randint(1, 4))
    shared = maybe(random, 0.5, max_iter=random.randint(1, 20), tol=power_of_ten(random, -9, -5))
    found = whole_or_sliced(random, entries(family, models, [{}] * len(models)), shared)
    base = random.choice(family.everyone if "models" in found else models)
    return {**found, **maybe(random, 0.3, base_model=base)}


def breadcrumbs(random: Random, family: Family) -> Recipe:
    """Deltas without their smallest and largest entries; the two fractions may leave nothing between them."""
    own, shared = of_deltas(random, density=True)
    own = [p | maybe(random, 0.6, gamma=setting(random, 0.0, 0.3)) for p in own]
    shared |= switches(random, "normalize", "rescale", "int8_mask")
    return of_a_base(random, family, own, shared)


def model_stock(random: Random, family: Family) -> Recipe:
    """Two or three fine-tunes and their base, by whole tensors or by rows."""
    return of_a_base(random, family, [{}] * random.randint(2, 3), switches(random, "filter_wise"))


def sce(random: Random, family: Family) -> Recipe:
    """Two or three fine-tunes; the entries that vary most, or all."""
    shared = maybe(random, 0.7, select_topk=setting(random, 0.1, 1.0)) | switches(random, "int8_mask")
    return of_a_base(random, family, [{}] * random.randint(2, 3), shared)


def ram(random: Random, family: Family) -> Recipe:
    """Entries that few or many models changed by more than a threshold."""
    return of_a_base(random, family, [{}] * random.randint(1, 3), maybe(random, 0.7, epsilon=threshold(random)))


def ramplus_tl(random: Random, family: Family) -> Recipe:
    """The same, what one model alone changed being scaled up."""
    shared = maybe(random, 0.6, r=setting(random, 0.0, 1.0), alpha=setting(random, 0.0, 2.0), epsilon=threshold(random))
    return of_a_base(random, family, [{}] * random.randint(1, 3), shared)


def threshold(random: Random) -> Any:
    """Below, among and above the entries of a delta."""
    return random.choice([power_of_ten(random, -6, -2), setting(random, 0.001, 0.04)])


def nearswap(random: Random, family: Family) -> Recipe:
    """Towards another model where it is near; `t` as any setting."""
    return from_the_base(random, family, {"t": setting(random, 0.001, 0.05)})


def arcee_fusion(random: Random, family: Family) -> Recipe:
    """In float64: in float32 mergekit's own rounding moves some entries over the threshold."""
    return {**from_the_base(random, family, {}), "dtype": "float64"}


FORMS = {
    "nuslerp": nuslerp,
    "multislerp": multislerp,
    "karcher": karcher,
    "breadcrumbs": breadcrumbs,
    "breadcrumbs_ties": breadcrumbs,
    "model_stock": model_stock,
    "sce": sce,
    "ram": ram,
    "ramplus_tl": ramplus_tl,
    "nearswap": nearswap,
    "arcee_fusion": arcee_fusion,
}
