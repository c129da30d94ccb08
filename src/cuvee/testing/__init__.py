"""The exam for merge methods, shipped for the authors of plug-ins.

Inherit from `MethodTests` to examine a method with pytest, or call `check_all(method)` anywhere.
"""

from cuvee.testing import laws as _laws
from cuvee.testing import matrix_laws as _matrix_laws
from cuvee.testing import sizes as _sizes
from cuvee.testing.cases import Case, Inputs, draw, recover_mask
from cuvee.testing.laws import check_all, check_law
from cuvee.testing.method_tests import MethodTests
from cuvee.testing.registry import LAWS, Law

__all__ = ["LAWS", "Case", "Inputs", "Law", "MethodTests", "check_all", "check_law", "draw", "recover_mask"]

_TABLES = (_laws, _matrix_laws, _sizes)
"""Modules that enter their laws into `LAWS` when they are imported."""
