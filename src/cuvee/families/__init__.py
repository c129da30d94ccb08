"""What a tensor is — layer *i* of which stack, embedding, head, tied, optional — inferred, never listed."""

from __future__ import annotations

from cuvee.families.anatomy import Anatomy, Stack, input_embeddings, said_tied, sections, study
from cuvee.families.names import Spot, is_before_layers, is_optional, is_vocabulary, natural_key, role_of, spot_of

__all__ = [
    "Anatomy",
    "Spot",
    "Stack",
    "input_embeddings",
    "is_before_layers",
    "is_optional",
    "is_vocabulary",
    "natural_key",
    "role_of",
    "said_tied",
    "sections",
    "spot_of",
    "study",
]
