"""What a dense model has in hand where a mixture's routers will stand, found by running prompts through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDINGS: Final = "model.embed_tokens.weight"
Pooling = Literal["last", "mean"]
"""Which positions of a prompt count: the last one, or all."""
Spot = Literal["layer", "mlp"]
"""Where to look: at what enters a layer, or at what enters its MLP, which is what a router is given."""


@dataclass
class Runner:
    """A dense model that prompts are run through, one at a time, so that nothing is padded.

    Attributes:
        model: a causal language model of transformers, whose layers are `model.layers`.
        tokenizer: its tokenizer.
    """

    model: Any
    tokenizer: Any
    seen: dict[int, Tensor] = field(default_factory=dict)

    def rows(self, prompt: str, spot: Spot) -> dict[int, Tensor]:
        """What every layer meets at each position, `[tokens, width]` in the model's dtype."""
        import torch

        with torch.inference_mode(), self._watched(spot):
            self.model(input_ids=torch.tensor([tokens_of(self.tokenizer, prompt)]), use_cache=False)
        return {layer: values.reshape(-1, values.shape[-1]) for layer, values in self.seen.items()}

    def states(self, prompt: str, spot: Spot, pooling: Pooling) -> dict[int, Tensor]:
        """One vector of every layer, float64 `[width]`."""
        found = self.rows(prompt, spot).items()
        return {layer: (rows[-1] if pooling == "last" else rows.double().mean(0)).double() for layer, rows in found}

    @contextmanager
    def _watched(self, spot: Spot) -> Iterator[None]:
        """Keep what every layer, or its MLP, is called with."""
        self.seen.clear()
        hooks = []
        for number, layer in enumerate(self.model.model.layers):
            module = layer if spot == "layer" else layer.mlp
            hooks.append(module.register_forward_pre_hook(self._keeper(number), with_kwargs=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _keeper(self, number: int) -> Any:
        def keep(_: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            self.seen[number] = given[0] if given else named["hidden_states"]

        return keep


def runner_of(base: Reader) -> Runner:
    """A model ready to run prompts through, with all that its reader makes of it: an adapter is applied.

    Raises:
        InputError: `tokenizer-missing`, or transformers does not know the model.
        UsageError: transformers is not installed.
    """
    from cuvee.families.loading import load_tensors

    assert base.config_text is not None
    assert base.config is not None
    tensors = {name: base.read(name, 0, spec.numel).view(spec.shape) for name, spec in base.specs.items()}
    model = load_tensors(base.label, base.config_text, tensors, dtype=None, device="cpu")
    return Runner(model, tokenizer_of(base))


def longest_of(base: Reader) -> int:
    """Tokens that a prompt may have."""
    return int((base.config or {}).get("max_position_embeddings") or 2048)


def tokens_of(tokenizer: Any, prompt: str) -> list[int]:
    """The tokens of a prompt after the one that begins a text, where the tokenizer has such a one; [] for none.

    Other special tokens are left out: what ends a text says nothing of it.
    """
    found = list(tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"])
    return [*beginning_of(tokenizer), *found] if found else []


def beginning_of(tokenizer: Any) -> list[int]:
    """The token that begins a text, if the tokenizer has one."""
    return [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]


def tokenizer_of(base: Reader) -> Any:
    """The tokenizer of a model.

    Raises:
        InputError: `tokenizer-missing`.
    """
    from cuvee.families.inputs import load_tokenizer

    found = None if base.folder is None else load_tokenizer(base.folder)
    if found is None:
        message = f"{base.label}: prompts are read, and the model has no tokenizer"
        raise InputError(Fault("tokenizer-missing", message, subject=base.label))
    return found


def embedded(base: Reader, tokenizer: Any, prompt: str) -> Tensor:
    """The sum of the embeddings of a prompt's tokens, float64 `[width]`; only their rows are read."""
    import torch

    width = base.specs[EMBEDDINGS].shape[1]
    total = torch.zeros(width, dtype=torch.float64)
    for token in tokens_of(tokenizer, prompt):
        total += base.read(EMBEDDINGS, token * width, (token + 1) * width).double()
    return total


def mean_of(vectors: Sequence[Tensor]) -> Tensor:
    """The mean of some vectors of one width, `[width]`."""
    import torch

    return torch.stack(list(vectors)).mean(0)
