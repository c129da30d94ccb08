"""Every method obeys every law it declares, on inputs of every shape and dtype."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee import methods
from cuvee.testing import LAWS, Inputs, MethodTests, check_law, draw
from tests.laws.shuffled import run_shuffled

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
SHAPES = [(), (1,), (0,), (3, 0), (2,), (9,), (4, 3), (2, 3, 4), (130,)]
DECLARED = [(name, law) for name in methods.names() for law in methods.get(name).spec.laws]

# run on fixed inputs only: these are about numbers of entries or of seeds, and take long
FIXED = {"tiles", "expectation"}


def test_the_laws_have_the_names_methods_use():
    assert set(LAWS) == {
        "identity",
        "copies",
        "permutation",
        "zero-weight",
        "density-one",
        "lambda-zero",
        "tiles",
        "expectation",
        "endpoints",
        "symmetry",
        "scale-equivariance",
        "length",
        "seed",
        "names",
        "finite",
        "rotation",
        "rotation-of-inputs",
    }
    assert all(law.claim and law.name == name for name, law in LAWS.items())


def test_every_law_is_declared_by_a_method():
    assert {law for _, law in DECLARED} == set(LAWS)


@pytest.mark.parametrize("name", methods.names())
def test_every_method_declares_what_holds_for_all(name):
    assert {"tiles", "seed", "finite"} <= set(methods.get(name).spec.laws)


# that each holds for the method's usual inputs is part of the exam below


@pytest.mark.parametrize(("name", "law"), [pair for pair in DECLARED if pair[1] not in FIXED])
@settings(max_examples=3, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from(SHAPES), dtype=st.sampled_from(DTYPES))
def test_declared_law_holds_everywhere(name, law, seed, shape, dtype):
    check_law(methods.get(name), law, Inputs(seed, shape, dtype))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "law"), [pair for pair in DECLARED if pair[1] not in FIXED])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from(SHAPES), dtype=st.sampled_from(DTYPES))
def test_declared_law_holds_everywhere_and_often(name, law, seed, shape, dtype):
    check_law(methods.get(name), law, Inputs(seed, shape, dtype))


@pytest.mark.parametrize("name", methods.names())
@settings(max_examples=2, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), size=st.integers(1025, 7000), dtype=st.sampled_from(DTYPES))
def test_tiles_of_any_tensor(name, seed, size, dtype):
    check_law(methods.get(name), "tiles", Inputs(seed, (size,), dtype))


def test_expectation_where_models_disagree():
    # the law lets the models agree in sign; a plain sum is right in the mean without that
    method = methods.get("dare_linear")
    case = draw(method.spec, Inputs(5), "normal")
    want = case.set(method.spec, density=1.0).run(method).double()
    runs = torch.stack([case.but(seed=s).run(method).double() for s in range(400)])
    assert ((runs.mean(0) - want).abs() < 5 * (runs.var(0) / 400).sqrt() + 1e-6).all()


@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_statistics_add_up_in_any_order(name, dtype):
    method = methods.get(name)
    for rescale in (False, True):
        case = draw(method.spec, Inputs(3, (6007,), dtype), "normal").set(method.spec, rescale=rescale)
        want = case.run(method)
        for seed in range(4):
            assert torch.equal(run_shuffled(method, case, random.Random(seed)), want)


def with_base(name):
    """A method whose base is optional, with one; a model plus nothing but rounding is then a model."""
    method = methods.get(name)
    return replace(method, spec=replace(method.spec, base="required"))


@pytest.mark.parametrize("law", ["copies", "permutation", "zero-weight", "tiles", "scale-equivariance", "finite"])
@pytest.mark.parametrize("name", [name for name, spec in methods.specs().items() if spec.base == "optional"])
def test_declared_law_holds_with_a_base_too(name, law):
    if law in methods.get(name).spec.laws:
        for seed in range(3):
            check_law(with_base(name), law, Inputs(seed))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_most_varied_entries_are_those_whatever_the_size(dtype):
    method = methods.get("sce")
    for topk in (0.0, 0.3, 0.9):
        case = draw(method.spec, Inputs(5, (4000,), dtype), "normal").set(method.spec, select_topk=topk)
        want = case.run(method)
        assert torch.equal(case.run(method, tile=1024), want)
        by_size = case.map(lambda t: t * 2.0**-10)
        assert torch.equal(by_size.run(method).double() * 2**10, want.double()) or dtype == torch.float16


# --- the exam as plug-in authors use it


def exam(name):
    return type(f"Test_{name}", (MethodTests,), {"method": methods.get(name)})


globals().update({f"Test_{name}": exam(name) for name in methods.names()})


def test_every_method_sits_the_exam():
    exams = [v for v in globals().values() if isinstance(v, type) and issubclass(v, MethodTests)]
    sat = {v.method.name for v in exams if v is not MethodTests}
    assert sat == set(methods.names())
