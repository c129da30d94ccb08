"""The trim of TIES keeps exactly the entries that the reference keeps, on tensors of several tiles."""

from __future__ import annotations

from random import Random

import pytest
import torch

from cuvee import methods
from tests.reference import formulas as ref

# what the trim of a whole tensor must get right whatever it is computed from: many equal magnitudes, magnitudes that
# differ in the last bit only, every exponent, subnormal numbers
LARGE = {
    "equal": lambda random, dtype: random.randint(-3, 3) / 4,
    "one": lambda random, dtype: random.choice([1.0, -1.0]),
    "zero": lambda random, dtype: float(random.random() < 0.01),
    "neighbours": lambda random, dtype: 1.0 + random.randint(-40, 40) * torch.finfo(dtype).eps,
    "exponents": lambda random, dtype: random.choice([1, -1]) * 2.0 ** random.randint(-100, 100),
    "normal": lambda random, dtype: random.gauss(0, 1),
    "subnormal": lambda random, dtype: random.randint(-9, 9) * torch.finfo(dtype).smallest_normal / 8,
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", LARGE)
def test_trim_keeps_exactly_the_reference_entries(kind, dtype):
    random = Random(7)
    entries = [LARGE[kind](random, dtype) for _ in range(5003)]
    model = torch.tensor(entries, dtype=torch.float64).to(dtype)
    entries = model.double().tolist()
    for density in (1e-9, 0.07, 0.5, 0.93):
        want = ref.ties([0.0] * len(entries), [entries], [1.0], [density])
        for tile in (None, 1000):
            settings = {"weight": [1.0], "density": density, "tile": tile}
            got = methods.get("ties")([model], base=torch.zeros_like(model), **settings)
            assert got.double().tolist() == want, f"density {density}, tile {tile}"
