"""Dtypes: what is read, what is written, what the configuration says of it, and that results are rounded once.

The truth is computed here, in float64 and from the formulas in the methods' own declarations, by plain torch.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cuvee
from tests.support.checkpoints import assert_same
from tests.support.merging import METHODS, Data, Tensors, cast, decoder, linear, read, recipe, write
from tests.support.yard import Q, Yard
from tests.support.zoo import Cellar, stored

FLOATS = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
DIGITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Significant bits of each, the leading one counted."""
SMALLEST = {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}
"""The step between numbers too small to have a leading one."""


def half_step(values: Tensor, dtype: str) -> Tensor:
    """Half the distance between neighbouring numbers of a dtype at some values, which are float64."""
    _, exponent = torch.frexp(values.abs())  # |value| is in [2^(exponent - 1), 2^exponent)
    return torch.ldexp(torch.ones_like(values), exponent - DIGITS[dtype]).clamp(min=SMALLEST[dtype]) / 2


PAIRS = list(itertools.product(FLOATS, repeat=2))


# --- the truth, in float64


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    cosine = (a.flatten() @ b.flatten()) / (a.norm() * b.norm())
    if abs(float(cosine)) > 0.9995:
        return (1 - t) * a + t * b
    theta = torch.acos(cosine)
    return (torch.sin((1 - t) * theta) * a + torch.sin(t * theta) * b) / torch.sin(theta)


def trimmed(delta: Tensor, density: float) -> Tensor:
    """The ⌊density · n⌋ entries of largest magnitude, at least one, the first of equal ones first."""
    kept = max(1, int(density * delta.numel()))
    order = sorted(range(delta.numel()), key=lambda i: (-abs(float(delta.flatten()[i])), i))
    mask = torch.zeros(delta.numel(), dtype=torch.bool)
    mask[order[:kept]] = True
    return delta * mask.reshape(delta.shape)


def ties(base: Tensor, deltas: list[Tensor], weights: list[float], densities: list[float], scale: float) -> Tensor:
    votes = [w * trimmed(d, density) for w, d, density in zip(weights, deltas, densities, strict=True)]
    elected = torch.where(sum(votes) >= 0, 1.0, -1.0)  # type: ignore[arg-type]
    total, divisor = torch.zeros_like(base), torch.zeros_like(base)
    for weight, vote in zip(weights, votes, strict=True):
        agrees = (vote.sign() == elected).double()
        total += vote * agrees
        divisor += weight * agrees
    return base + scale * total / torch.where(divisor == 0, 1.0, divisor)


def truth(method: str, base: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """What the recipe of `merging.recipe` asks for, of three tensors."""
    base, a, b = base.double(), a.double(), b.double()
    if method == "linear":
        return (0.7 * a + 0.4 * b) / (0.7 + 0.4)
    if method == "slerp":
        return slerp(base, a, 0.35)
    if method == "task_arithmetic":
        return base + 0.6 * (a - base) - 0.3 * (b - base)
    return ties(base, [a - base, b - base], [0.6, 0.5], [0.4, 0.7], 0.9)


WITH_A_FORMULA = ("linear", "slerp", "task_arithmetic", "ties")


def finetuned(dtypes: tuple[str, str, str]) -> list[dict[str, Tensor]]:
    """A base and two models near it, each in its dtype."""
    base = decoder(0, width=24)
    models = [base] + [{n: t + 0.1 * decoder(seed, width=24)[n] for n, t in base.items()} for seed in (1, 2)]
    return [cast(model, FLOATS[dtype]) for model, dtype in zip(models, dtypes, strict=True)]


def merged(root: Path, method: str, models: list[dict[str, Tensor]], **more: Any) -> dict[str, Tensor]:
    paths = [write(root / name, tensors) for name, tensors in zip(("base", "a", "b"), models, strict=True)]
    return read(cuvee.merge(recipe(method, *paths, **more), root / "out").path)


def assert_rounded_once(found: Tensors, method: str, models: list[dict[str, Tensor]], dtype: str, work: str) -> None:
    """Every entry is within half a step of the truth, and a few roundings of the arithmetic's own dtype."""
    for name, tensor in found.items():
        exact = truth(method, *(model[name] for model in models))
        assert tensor.dtype == FLOATS[dtype]
        tiny = 16 * 2.0 ** -DIGITS[work] * max(float(model[name].double().abs().max()) for model in models)
        beyond = (tensor.double() - exact).abs() - half_step(exact, dtype) - tiny
        if method == "ties":  # a sum within rounding of 0 may elect either sign
            assert int((beyond > 0).sum()) <= 1 + exact.numel() // 500, name
        else:
            assert float(beyond.max()) <= 0, name


@pytest.mark.parametrize("dtypes", PAIRS, ids="-".join)
@pytest.mark.parametrize("method", WITH_A_FORMULA)
def test_results_are_rounded_once(tmp_path: Path, method: str, dtypes: tuple[str, str]) -> None:
    inputs, output = dtypes
    models = finetuned((inputs,) * 3)
    found = merged(tmp_path, method, models, out_dtype=output)
    assert_rounded_once(found, method, models, output, "float64" if "float64" in dtypes else "float32")


@pytest.mark.parametrize("method", WITH_A_FORMULA)
def test_mixtures_are_rounded_once(tmp_path: Path, method: str) -> None:
    models = finetuned(("bfloat16", "float16", "float32"))
    assert_rounded_once(merged(tmp_path, method, models), method, models, "float32", "float32")


@pytest.mark.parametrize("method", WITH_A_FORMULA)
def test_dtype_does_not_round_the_inputs(tmp_path: Path, method: str) -> None:
    """mergekit casts inputs to `dtype` first; here a bfloat16 result is the float32 result, rounded."""
    models = finetuned(("float32",) * 3)
    found = merged(tmp_path / "asked", method, models, dtype="bfloat16")
    wide = merged(tmp_path / "wide", method, models)
    assert_same(found, cast(wide, torch.bfloat16))


def test_the_bound_would_notice_a_second_rounding(tmp_path: Path) -> None:
    models = finetuned(("bfloat16",) * 3)
    early = {
        n: (models[1][n] - models[0][n]) * 0.6 - (models[2][n] - models[0][n]) * 0.3 + models[0][n] for n in models[0]
    }
    with pytest.raises(AssertionError):
        assert_rounded_once(early, "task_arithmetic", models, "bfloat16", "float32")


@pytest.mark.parametrize("output", ["bfloat16", "float16"])
def test_float64_is_rounded_straight_to_half_precision(tmp_path: Path, output: str) -> None:
    above_the_middle = 1 + 2.0 ** -DIGITS[output] + 2.0**-40
    write(tmp_path / "x", {"w": torch.tensor([above_the_middle], dtype=torch.float64)})
    found = read(cuvee.merge(linear(tmp_path / "x", out_dtype=output), tmp_path / "out").path)
    assert found["w"].item() == 1 + 2.0 ** (1 - DIGITS[output])


# --- what is written


@pytest.mark.parametrize("dtypes", PAIRS, ids="-".join)
@pytest.mark.parametrize("method", ["linear", "passthrough"])
def test_dtype_is_what_is_written(yard: Yard, method: str, dtypes: tuple[str, str]) -> None:
    inputs, asked = dtypes
    for seed, name in enumerate("xy"):
        yard.model(name, cast(decoder(seed), FLOATS[inputs]))
    cuvee.merge(yard.file(recipe(method, "x", "x", "y", dtype=asked)), yard.out)
    assert {tensor.dtype for tensor in read(yard.out).values()} == {FLOATS[asked]}


def test_out_dtype_wins_over_dtype(yard: Yard) -> None:
    cuvee.merge(yard.file(linear("a", "b", dtype="float16", out_dtype="bfloat16")), yard.out)
    assert {tensor.dtype for tensor in read(yard.out).values()} == {torch.bfloat16}


@pytest.mark.parametrize("dtype", FLOATS)
def test_without_a_word_the_inputs_dtype_is_kept(yard: Yard, dtype: str) -> None:
    for seed, name in enumerate("xy"):
        yard.model(name, cast(decoder(seed), FLOATS[dtype]))
    cuvee.merge(yard.file(linear("x", "y")), yard.out)
    assert {tensor.dtype for tensor in read(yard.out).values()} == {FLOATS[dtype]}


PROMOTED = {
    ("bfloat16", "float16"): "float32",
    ("bfloat16", "float32"): "float32",
    ("float16", "float32"): "float32",
    ("float32", "float64"): "float64",
    ("bfloat16", "float64"): "float64",
}


@pytest.mark.parametrize("dtypes", PROMOTED, ids="-".join)
@pytest.mark.parametrize("turned", [False, True])
def test_a_mixture_is_written_in_what_holds_both(yard: Yard, dtypes: tuple[str, str], turned: bool) -> None:
    for seed, (name, dtype) in enumerate(zip("xy", dtypes[::-1] if turned else dtypes)):
        yard.model(name, cast(decoder(seed), FLOATS[dtype]))
    cuvee.merge(yard.file(linear("x", "y")), yard.out)
    assert {tensor.dtype for tensor in read(yard.out).values()} == {FLOATS[PROMOTED[dtypes]]}


def test_every_tensor_keeps_its_own_dtype(yard: Yard) -> None:
    """Norms in float32 beside weights in bfloat16 stay so."""
    for seed, name in enumerate("xy"):
        tensors = decoder(seed)
        yard.model(name, {n: t if t.dim() == 1 else t.bfloat16() for n, t in tensors.items()})
    cuvee.merge(yard.file(linear("x", "y")), yard.out)
    found = read(yard.out)
    assert {n: t.dtype for n, t in found.items()} == {n: t.dtype for n, t in read(yard.root / "x").items()}


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_a_float_keeps_its_dtype(yard: Yard, dtype: str) -> None:
    others = {
        "count": torch.tensor([7]),
        "mask": torch.tensor([True, False]),
        "bytes": torch.tensor([255, 0], dtype=torch.uint8),
        "codes": torch.tensor([1.0, 448.0]).to(torch.float8_e4m3fn),
    }
    for seed, name in enumerate("xy"):
        yard.model(name, decoder(seed) | others)
    result = cuvee.merge(yard.file(linear("x", "y", dtype=dtype)), yard.out)
    found = read(yard.out)
    assert_same({name: found[name] for name in others}, others)
    assert result.record["copied"].keys() == others.keys()


def test_equal_bytes_are_equal_even_where_they_stand_for_nan(yard: Yard) -> None:
    codes = {"codes": torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn)}
    for seed, name in enumerate("xy"):
        yard.model(name, decoder(seed) | codes)
    cuvee.merge(yard.file(linear("x", "y")), yard.out, allow_nonfinite=True)
    assert_same({"codes": read(yard.out)["codes"]}, codes)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_model_at_weight_one_comes_back_bit_by_bit(yard: Yard, dtype: str) -> None:
    """Its smallest and largest numbers, and the sign of its zeros, too."""
    info = torch.finfo(FLOATS[dtype])
    edge = torch.tensor([info.max, info.min, info.tiny, info.smallest_normal / 2, 0.0, -0.0], dtype=FLOATS[dtype])
    yard.model("x", cast(decoder(1), FLOATS[dtype]) | {"edge": edge})
    yard.model("y", cast(decoder(2), FLOATS[dtype]) | {"edge": torch.ones(6, dtype=FLOATS[dtype])})
    cuvee.merge(yard.file(linear("x", weights=[1])), yard.root / "alone")
    assert_same(read(yard.root / "alone"), read(yard.root / "x"))
    cuvee.merge(yard.file(linear("x", "y", weights=[1, 0])), yard.root / "beside")
    beside = read(yard.root / "beside")
    assert torch.equal(beside["edge"], edge)
    del beside["edge"]  # -0.0 + 0.0 is 0.0
    assert_same(beside, {n: t for n, t in read(yard.root / "x").items() if n != "edge"})


def test_passthrough_copies_bit_by_bit(yard: Yard) -> None:
    for dtype in FLOATS:
        yard.model(dtype, cast(decoder(1), FLOATS[dtype]))
        data: Data = {"merge_method": "passthrough", "models": [{"model": dtype}]}
        result = cuvee.merge(yard.file(data), yard.root / "out" / dtype)
        assert (result.merged, result.copied) == (0, len(decoder(1)))
        assert_same(read(result.path), read(yard.root / dtype))


@pytest.mark.parametrize("method", METHODS)
def test_arithmetic_is_float64_where_float64_is_read_or_written(yard: Yard, method: str) -> None:
    yard.model("x", cast(decoder(1), torch.float64))
    path = yard.file(recipe(method, "base", "a", "b"))
    told = cuvee.merge(path, yard.root / "1").record["arithmetic"]
    asked = cuvee.merge(yard.file(recipe(method, "base", "a", "b", out_dtype="float64")), yard.root / "2").record
    read_wide = cuvee.merge(yard.file(recipe(method, "base", "x", "b")), yard.root / "3").record
    assert (told, asked["arithmetic"], read_wide["arithmetic"]) == (["float32"], ["float64"], ["float64"])


# --- config.json

TEXTS: Mapping[str, str] = {
    "plain": '{\n  "model_type": "small",\n  "dtype": "float32",\n  "rms_norm_eps": 1.0e-05\n}\n',
    "old key": '{"torch_dtype": "float32", "model_type":"small","rope":1E4}',
    "both keys": '{\r\n\t"dtype": "float32",\r\n\t"torch_dtype" : "float32",\r\n\t"x": [1,  2 ]\r\n}',
    "nested": '{"text_config": {"dtype": "float32", "a": "\\u00e9é"}, "vision_config": {"torch_dtype": "float32"}}\n\n',
    "as text elsewhere": '{"note": "\\"dtype\\": \\"float32\\"", "dtype": "float32", "dtype_": "float32"}',
    "last": '{ "z": {"y": {}},\n "dtype":"float32"}',
}


def patched(text: str) -> str:
    """The text with its dtype entries, and nothing else, changed."""
    for key in ('"dtype": ', '"dtype":', '"torch_dtype": ', '"torch_dtype" : '):
        text = text.replace(f'{key}"float32"', f'{key}"bfloat16"')
    return text


@pytest.mark.parametrize("case", TEXTS)
def test_only_the_dtype_of_the_configuration_changes(yard: Yard, case: str) -> None:
    yard.model("x", decoder(1), config=None)
    (yard.root / "x" / "config.json").write_bytes(TEXTS[case].encode())
    cuvee.merge(yard.file(linear("x", "a", out_dtype="bfloat16")), yard.out)
    assert (yard.out / "config.json").read_bytes() == patched(TEXTS[case]).encode()


@pytest.mark.parametrize("case", TEXTS)
@pytest.mark.parametrize("more", [{}, {"dtype": "float32"}, {"out_dtype": "float32", "dtype": "bfloat16"}], ids=str)
def test_an_unchanged_dtype_changes_no_byte(yard: Yard, case: str, more: dict[str, str]) -> None:
    yard.model("x", decoder(1), config=None)
    (yard.root / "x" / "config.json").write_bytes(TEXTS[case].encode())
    cuvee.merge(yard.file(linear("x", "a", **more)), yard.out)
    assert (yard.out / "config.json").read_bytes() == TEXTS[case].encode()


@pytest.mark.parametrize("value", ["null", "3", '{"": "float32"}'])
def test_a_dtype_that_is_no_name_is_left_alone(yard: Yard, value: str) -> None:
    yard.model("x", decoder(1), config=f'{{"dtype": {value}}}')
    cuvee.merge(yard.file(linear("x", "a", out_dtype="bfloat16")), yard.out)
    assert (yard.out / "config.json").read_text() == f'{{"dtype": {value}}}'


def test_a_configuration_without_dtype_gets_none(yard: Yard) -> None:
    yard.model("x", decoder(1), config='{"model_type": "small"}')
    cuvee.merge(yard.file(linear("x", "a", out_dtype="bfloat16")), yard.out)
    assert (yard.out / "config.json").read_text() == '{"model_type": "small"}'


def test_a_dtype_taken_over_from_another_model_is_told(yard: Yard) -> None:
    """The first model is bfloat16 and says so; the other makes the output float32."""
    config = json.dumps({"model_type": "small", "dtype": "bfloat16"})
    yard.model("x", cast(decoder(1), torch.bfloat16), config=config)
    result = cuvee.merge(yard.file(linear("x", "a")), yard.out)
    assert json.loads((yard.out / "config.json").read_text())["dtype"] == "float32"
    assert result.record["config_changes"] == {"dtype": "float32"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_transformers_loads_the_dtype_that_was_asked_for(tmp_path: Path, dtype: str) -> None:
    cellar = Cellar(tmp_path)
    a, b = cellar.model("llama", 1), cellar.model("llama", 2)
    cuvee.merge(linear(a, b, out_dtype=dtype), tmp_path / "out")
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (a, tmp_path / "out"))
    assert before | {"dtype": dtype} == after
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert {p.dtype for p in model.parameters()} == {FLOATS[dtype]}
    assert_same(
        {n: t for n, t in model.state_dict().items() if n in stored(tmp_path / "out")}, stored(tmp_path / "out")
    )


def test_the_plan_says_the_same_dtypes(yard: Yard) -> None:
    path = yard.file(linear("a", "b", out_dtype="float16"))
    plan = cuvee.plan(path)
    cuvee.merge(path, yard.out)
    assert {step.out.name: step.out.dtype for step in plan.steps} == dict.fromkeys(read(yard.out), "float16")
    assert {step.work for step in plan.steps} == {"float32"}
    assert Q in read(yard.out)
