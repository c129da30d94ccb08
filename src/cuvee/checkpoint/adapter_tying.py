"""Adapters on an embedding and an output head that are one tensor: what may be applied, and what would change both.

PEFT (0.21.2) adds a change to the tensor that both share, so that its merged model is another one than the one it
trained; with `ensure_weight_tying` it adds the change twice. Neither is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint.adapter import Adapter
from cuvee.checkpoint.adapter_tensors import LowRank
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault
from cuvee.families.anatomy import said_tied
from cuvee.families.names import is_vocabulary, role_of

if TYPE_CHECKING:
    from torch import Tensor

_WITH_HEAD: Final = ("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForConditionalGeneration", "ForPreTraining")
"""Ends of names of classes that predict tokens, so that their embedding can have a head that is tied to it."""

_ROUNDING: Final = 1e-6
"""Changes that differ by less, beside their length, are the same: what rounding factors to float32 makes of them."""

_HINT: Final = (
    "train it with `ensure_weight_tying=True`, or on a base whose head is a tensor of its own (`tie_word_embeddings` "
    "false), and apply it to that base"
)


def tie_faults(adapter: Adapter, base: Reader) -> tuple[list[Fault], frozenset[str]]:
    """What an adapter would change of a shared tensor that it must not.

    Args:
        adapter: the adapter.
        base: the base.

    Returns:
        An `adapter-mismatch` for each side that was trained without the other; and the names, in the adapter, of the
        head's tensors that say what those of the embedding say, which are left to the embedding.
    """
    if not is_tied(base):
        return [], frozenset()
    changed = dict.fromkeys((f"{module}.weight" for module in adapter.changes), "changed")
    changed.update({name: "replaced" for name in adapter.whole if name not in changed})
    sides = {role: [n for n in changed if is_vocabulary(n) and role_of(n) == role] for role in ("embedding", "head")}
    heads, embeddings = sides["head"], sides["embedding"]
    if not heads and not embeddings:
        return [], frozenset()
    if len(heads) == len(embeddings) == 1 and _same(adapter, heads[0], embeddings[0]):
        return [], frozenset(heads)
    names = [*embeddings, *heads]
    what = "both are changed, and not in the same way" if heads and embeddings else "the other was trained as it was"
    message = f"{adapter.label} does not fit {base.label}: it changes `{names[0]}`, and there the input embedding and "
    message += f"the output head are one tensor; {what}"
    return [Fault("adapter-mismatch", message, subject=names[0], hint=_HINT)], frozenset(heads)


def is_tied(base: Reader) -> bool:
    """Whether a model's output head and its input embedding are one tensor."""
    said = said_tied(base.config or {})
    stored = any(role_of(name) == "head" and is_vocabulary(name) for name in base.specs)
    if said is None:  # the configurations of classes that are tied by default do not say so
        return not stored and _predicts_tokens(base.config)
    return said and (stored or _predicts_tokens(base.config))


def _predicts_tokens(config: Mapping[str, Any] | None) -> bool:
    named = (config or {}).get("architectures")
    return isinstance(named, list) and bool(named) and str(named[0]).endswith(_WITH_HEAD)


def _same(adapter: Adapter, head: str, embedding: str) -> bool:
    """Whether a head and an embedding end up the same."""
    whole = [adapter.whole.get(name) for name in (head, embedding)]
    if whole[0] is not None and whole[1] is not None and whole[0].shape != whole[1].shape:
        return False
    if whole[0] is not None and whole[1] is not None and adapter.digest(whole[0].name) != adapter.digest(whole[1].name):
        return False
    changes = [adapter.changes.get(name.removesuffix(".weight")) for name in (head, embedding)]
    if changes[0] is None or changes[1] is None:
        return changes[0] is changes[1] and None not in whole
    return _same_change(adapter, changes[0], changes[1])


def _same_change(adapter: Adapter, head: LowRank, embedding: LowRank) -> bool:
    """Whether sₕ Bₕ Aₕ = (sₑ Bₑ Aₑ)ᵀ, up to rounding of their factors.

    The factors themselves need not be one another's: where adapters were merged, weights and singular values stand in
    one of the two. With [sₕ Bₕ, −sₑ Aₑᵀ] = Q R and [Aₕ; Bₑᵀ]ᵀ = P S the length of the difference is that of R Sᵀ.
    """
    import torch

    if not embedding.is_embedding or head.magnitude or embedding.magnitude:
        return False
    if (head.b.shape[0], head.a.shape[1]) != (embedding.a.shape[1], embedding.b.shape[0]):
        return False
    a, b, one, other = (adapter.read(spec.name).double() for spec in (embedding.a, embedding.b, head.a, head.b))
    left, right = [other * head.scale, a.mT * -embedding.scale], [one.mT, b]
    apart = _length(torch.cat(left, dim=1), torch.cat(right, dim=1))
    return apart <= _ROUNDING * _length(left[0], right[0])


def _length(left: Tensor, right: Tensor) -> float:
    """‖L Rᵀ‖, Frobenius, for thin L and R."""
    import torch

    return float(torch.linalg.vector_norm(torch.linalg.qr(left).R @ torch.linalg.qr(right).R.mT))
