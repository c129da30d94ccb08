"""Digits: small perceptrons from one initialisation and from two, averaged, matched and interpolated.

scikit-learn's bundled digits, 300 images for each of two models and 500 for tests. FedAvg's figure 1 (averages of
different initialisations collapse), Git Re-Basin (matching the hidden units first restores them), SLERP against a
straight line, and a soup of four runs that differ in their batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

import cuvee
from benchmarks.claims.cache import cached
from benchmarks.claims.merging import AVERAGING, StateDict
from benchmarks.claims.verdicts import Claim, Estimate, Outcome, gate, must_pass
from cuvee.demo.train import one_thread

MADE_AS: Final = 2
WIDTHS: Final = (32, 128, 512)
SOUP_OF: Final = 128
"""The width at which four runs are trained that differ in their batches alone."""
STEPS: Final = 150
Data = tuple[Tensor, Tensor]


def digits(seed: int) -> dict[str, Data]:
    """`test` (500 images), and the two halves `a` and `b` (300 each); pixels in [0, 1]."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels, labels = torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    parts = {"test": order[:500], "a": order[500:800], "b": order[800:1100]}
    return {name: (pixels[rows], labels[rows]) for name, rows in parts.items()}


def perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def trained(width: int, start: int, data: Data, batches: int, steps: int) -> nn.Sequential:
    """Trained from the initialisation of seed `start`, on batches of seed `batches`."""
    torch.manual_seed(start)
    model = perceptron(width)
    draw = torch.Generator().manual_seed(batches)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(data[1]), (32,), generator=draw)
        loss = functional.cross_entropy(model(data[0][rows]), data[1][rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return model


def models(width: int, seed: int, steps: int = STEPS) -> dict[str, StateDict]:
    """Models of one width: `a`, `b` from one start, `stranger` from another, `run2`… as `a` on other batches."""

    def make(folder: Path) -> None:
        data = digits(seed)
        wanted = {"a": (seed, "a", 1), "b": (seed, "b", 2), "stranger": (seed + 99, "b", 2)}
        if width == SOUP_OF:
            wanted |= {f"run{batches}": (seed, "a", batches) for batches in (2, 3, 4)}
        for name, (start, half, batches) in wanted.items():
            model = trained(width, start, data[half], batches, steps)
            save_file(model.state_dict(), folder / f"{name}.safetensors", metadata={"format": "pt"})

    with one_thread():
        folder = cached("digits", {"width": width, "seed": seed, "steps": steps, "made": MADE_AS}, make)
    return {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}


def accuracy(state: StateDict, data: Data) -> float:
    model = perceptron(len(state["0.weight"]))
    model.load_state_dict(dict(state))
    with torch.inference_mode():
        return float((model(data[0]).argmax(-1) == data[1]).float().mean())


def matched(ours: StateDict, theirs: StateDict) -> dict[str, Tensor]:
    """Their hidden units in the order in which they fit ours best: Git Re-Basin's matching of weights."""
    width = len(ours["0.weight"])
    first = second = torch.arange(width)
    for _ in range(20):
        before = first, second
        gain = ours["0.weight"] @ theirs["0.weight"].T + torch.outer(ours["0.bias"], theirs["0.bias"])
        first = _assigned(gain + ours["2.weight"].T @ theirs["2.weight"][second])
        gain = ours["2.weight"] @ theirs["2.weight"][:, first].T + torch.outer(ours["2.bias"], theirs["2.bias"])
        second = _assigned(gain + ours["4.weight"].T @ theirs["4.weight"])
        if torch.equal(first, before[0]) and torch.equal(second, before[1]):
            break
    return {
        "0.weight": theirs["0.weight"][first],
        "0.bias": theirs["0.bias"][first],
        "2.weight": theirs["2.weight"][second][:, first],
        "2.bias": theirs["2.bias"][second],
        "4.weight": theirs["4.weight"][:, second],
        "4.bias": theirs["4.bias"],
    }


def _assigned(gain: Tensor) -> Tensor:
    """For each unit of ours the one of theirs, so that the gains add up to the most."""
    return torch.tensor(linear_sum_assignment(gain.numpy(), maximize=True)[1])


def measured(seed: int, quick: bool = False, told: Callable[[str], None] = lambda _: None) -> Outcome:
    """Test accuracy of parents and merges, by width."""
    data = digits(seed)["test"]
    by_width = {}
    for width in WIDTHS[:2] if quick else WIDTHS:
        by_width[str(width)] = _merges(models(width, seed, 40 if quick else STEPS), data)
        told(f"digits seed {seed}: width {width}")
    gates = [
        gate(f"parents at width {width}", min(found["shared parents"], found["different parents"]), 0.8)
        for width, found in by_width.items()
    ]
    return {"gates": gates, "widths": by_width, "test_rows": len(data[1])}


def _merges(states: Mapping[str, StateDict], data: Data) -> dict[str, float]:
    scored = {name: accuracy(state, data) for name, state in states.items()}
    found = {"shared parents": (scored["a"] + scored["b"]) / 2}
    found["different parents"] = (scored["a"] + scored["stranger"]) / 2
    ours = states["a"]
    for name, other in {
        "shared": states["b"],
        "different": states["stranger"],
        "matched": matched(ours, states["stranger"]),
    }.items():
        found[f"{name} average"] = accuracy(AVERAGING.merged({}, {"a": ours, "b": other}), data)
        halfway = cuvee.merge_state_dicts({"b": other}, "slerp", base=ours, t=0.5)
        found[f"{name} slerp"] = accuracy(halfway, data)
    runs = {name: state for name, state in states.items() if name == "a" or name.startswith("run")}
    if len(runs) > 1:
        found["mean of four runs"] = fmean(scored[name] for name in runs)
        found["soup of four runs"] = accuracy(AVERAGING.merged({}, runs), data)
    return found


def _gap(width: int, better: str, worse: str) -> Callable[[Outcome], Estimate]:
    return partial(_gap_in, width=str(width), better=better, worse=worse)


def _gap_in(outcome: Outcome, width: str, better: str, worse: str) -> Estimate:
    must_pass(outcome)
    found = outcome["widths"][width]
    return Estimate(found[better] - found[worse])


def _slerp_gap(outcome: Outcome) -> Estimate:
    must_pass(outcome)
    found = outcome["widths"].values()
    gaps = [abs(one[f"{name} slerp"] - one[f"{name} average"]) for one in found for name in ("shared", "matched")]
    return Estimate(-max(gaps))


FEDAVG: Final = "McMahan et al. 2017 (FedAvg)"
REBASIN: Final = "Ainsworth et al. 2023 (Git Re-Basin)"
CLAIMS: Final[tuple[Any, ...]] = (
    *(
        Claim(
            f"different initialisations collapse, width {width}",
            "the average of two models from different initialisations is worse than either",
            FEDAVG,
            0.15,
            _gap(width, "different parents", "different average"),
        )
        for width in (32, 128)
    ),
    *(
        Claim(
            f"one initialisation does not collapse, width {width}",
            "the average of two models from one initialisation is as good as they are, to a point",
            FEDAVG,
            -0.01,
            _gap(width, "shared average", "shared parents"),
        )
        for width in (32, 128)
    ),
    Claim(
        "one initialisation gains, width 128",
        "the average of two models from one initialisation beats both",
        FEDAVG,
        0.001,
        _gap(128, "shared average", "shared parents"),
    ),
    Claim(
        "matching restores, width 32",
        "with their units matched, models from different initialisations average to within six points of them",
        REBASIN,
        -0.06,
        _gap(32, "matched average", "different parents"),
    ),
    Claim(
        "matching restores, width 128",
        "… and to within two points where the model is wider",
        REBASIN,
        -0.02,
        _gap(128, "matched average", "different parents"),
    ),
    Claim(
        "SLERP is a straight line here",
        "SLERP and the plain average differ by at most a point of accuracy, in either direction (largest "
        "over widths; no paper claims a benefit by itself)",
        "no claim: Shoemake 1985 is not about weights",
        -0.01,
        _slerp_gap,
    ),
    Claim(
        "soup of four runs, width 128",
        "the average of four runs that differ in their batches beats their mean",
        "Wortsman et al. 2022 (Model soups)",
        0.001,
        _gap(128, "soup of four runs", "mean of four runs"),
    ),
)
