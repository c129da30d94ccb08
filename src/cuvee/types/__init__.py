"""Plain facts that every rank may speak of: dtypes, tensor specs, model references, parameter and method declarations.

Standard library only. Everything here is frozen data; behaviour lives elsewhere.
"""

from cuvee.types.declarations import (
    FAMILIES,
    BaseRule,
    Cite,
    Collected,
    Family,
    MethodSpec,
    Param,
    Scalar,
    Scope,
    Space,
    argument,
    grain_of,
    rows_of,
    vanishes,
)
from cuvee.types.predictions import PredictionAverage
from cuvee.types.references import STORES, ModelRef, Placing, scheme_of, url_fault
from cuvee.types.rows import RowFacts, VocabularyFacts
from cuvee.types.scores import Direction, Score, Scorer
from cuvee.types.tensors import DTYPE_BY_CODE, DTYPES, DType, DTypeKind, TensorSpec

__all__ = [
    "DTYPES",
    "DTYPE_BY_CODE",
    "FAMILIES",
    "STORES",
    "BaseRule",
    "Cite",
    "Collected",
    "DType",
    "DTypeKind",
    "Direction",
    "Family",
    "MethodSpec",
    "ModelRef",
    "Param",
    "Placing",
    "PredictionAverage",
    "RowFacts",
    "Scalar",
    "Scope",
    "Score",
    "Scorer",
    "Space",
    "TensorSpec",
    "VocabularyFacts",
    "argument",
    "grain_of",
    "rows_of",
    "scheme_of",
    "url_fault",
    "vanishes",
]
