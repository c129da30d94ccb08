"""The exam every merge method must pass, as a class to inherit from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from cuvee.methods.declare import Method
from cuvee.testing.cases import Inputs, draw
from cuvee.testing.compare import assert_close, assert_equal, assert_same_bytes
from cuvee.testing.laws import check_law

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class MethodTests:
    """Subclass it in a test module, name the method, and pytest runs the exam: one test per declared law, and more.

    The method is merged in memory, on inputs drawn from its own declaration.

    Example:
        >>> from cuvee.methods import get
        >>> class TestLinear(MethodTests):
        ...     method = get("linear")
        >>> TestLinear().test_law_identity()
    """

    method: ClassVar[Method]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        method = cls.__dict__.get("method")
        for law in method.spec.laws if method is not None else ():
            setattr(cls, f"test_law_{law.replace('-', '_')}", _law_test(law))

    def test_is_explained(self) -> None:
        """The declaration has a summary, a formula, a source and laws, and a line about every parameter."""
        spec = self.method.spec
        lacking = [k for k in ("summary", "formula", "cite", "laws") if not getattr(spec, k)]
        lacking += [f"doc of {p.name}" for p in spec.params if not p.doc]
        assert not lacking, f"{spec.name} does not say its {', '.join(lacking)}"

    def test_keeps_shape_and_dtype(self) -> None:
        """The result has the shape of the inputs and their promoted dtype."""
        for shape in ((), (1,), (0,), (3, 0), (5,), (2, 3, 4)):
            for dtype in FLOATS:
                case = draw(self.method.spec, Inputs(0, shape, dtype))
                got = case.run(self.method)
                found = (tuple(got.shape), got.dtype)
                assert found == (shape, dtype), f"{self.method.name} makes {found} of {(shape, dtype)}"

    def test_keeps_inputs(self) -> None:
        """No input is changed, and the result shares no memory with one."""
        case = draw(self.method.spec, Inputs(1))
        before = case.map(torch.clone)
        case.run(self.method).add_(1.0)
        for now, then in zip((*case.tensors, case.base), (*before.tensors, before.base)):
            if now is not None and then is not None:
                assert_same_bytes(now, then, f"{self.method.name} leaves its inputs alone")

    def test_keeps_global_randomness(self) -> None:
        """Neither does the method use torch's global random state, nor does it move it."""
        case = draw(self.method.spec, Inputs(2))
        torch.manual_seed(1)
        first, state = case.run(self.method), torch.random.get_rng_state()
        torch.manual_seed(2)
        assert_same_bytes(case.run(self.method), first, f"{self.method.name} draws from its own generator")
        torch.manual_seed(1)
        assert torch.equal(torch.random.get_rng_state(), state), f"{self.method.name} moves the global generator"

    def test_reads_any_layout(self) -> None:
        """Transposed views and slices give what their contiguous copies give."""
        case = draw(self.method.spec, Inputs(3, (6, 8)), "normal").but(collected=None)  # views have other shapes
        for view in (torch.t, lambda t: t[1:5, ::2], lambda t: t[:, :1].expand(6, 8)):
            strided = case.map(view)
            copied = strided.map(lambda t: t.clone(memory_format=torch.contiguous_format))
            claim = f"{self.method.name}: a view gives what its copy gives"
            assert_same_bytes(strided.run(self.method), copied.run(self.method), claim)

    def test_rounds_once(self) -> None:
        """Inputs in a narrow type give the float64 result, rounded once."""
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            case = draw(self.method.spec, Inputs(4, dtype=dtype))
            truth = case.map(torch.Tensor.double).run(self.method).to(dtype)
            claim = f"{self.method.name}: {dtype} is merged in float32 or wider"
            assert_close(case.run(self.method), truth, case.largest(), claim)

    def test_one_thread_or_many(self) -> None:
        """The number of torch's threads changes no byte."""
        case = draw(self.method.spec, Inputs(5, (300, 301)), "normal")
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            one = case.run(self.method)
            torch.set_num_threads(4)
            assert_same_bytes(case.run(self.method), one, f"{self.method.name}: threads change no byte")
        finally:
            torch.set_num_threads(before)

    def test_defaults_are_in_range(self) -> None:
        """Every default lies inside its parameter's range, and leaving a default out is the same as giving it."""
        spec = self.method.spec
        given = {p: p.default for p in spec.params if p.default is not None and not p.ignored}
        outside = [p.name for p, v in given.items() if not isinstance(v, (bool, str)) and not p.admits(v)]
        assert not outside, f"{spec.name} has defaults out of range: {outside}"
        case = draw(spec, Inputs(6))
        case = case.but(settings={k: v for k, v in case.settings.items() if k not in {p.name for p in given}})
        said = case.set(spec, **{("lambda_" if p.name == "lambda" else p.name): v for p, v in given.items()})
        assert_equal(said.run(self.method), case.run(self.method), f"{spec.name}: defaults may be left out")


def _law_test(law: str) -> Callable[[MethodTests], None]:
    def test(self: MethodTests) -> None:
        for seed in range(2):
            check_law(self.method, law, Inputs(seed))

    test.__doc__ = f"The method obeys its declared law `{law}`."
    return test
