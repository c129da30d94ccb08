"""What a dense model has in hand where a mixture's routers will stand, found by running prompts through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError

if TYPE_CHECKING:
    from torch import Tensor

Pooling = Literal["last", "mean"]
"""Which positions of a prompt count: the last one, or all."""
Spot = Literal["layer", "mlp"]
"""Where to look: at what enters a layer, or at what enters its MLP, which is what a router is given."""


@dataclass
class Runner:
    """A dense model that prompts are run through, one at a time, so that nothing is padded.

    Attributes:
        label: what it is called in messages.
        model: a causal language model of transformers, whose layers are `model.layers`.
        tokenizer: its tokenizer.
        longest: tokens that a prompt may have.
    """

    label: str
    model: Any
    tokenizer: Any
    longest: int
    seen: dict[int, Tensor] = field(default_factory=dict)

    def tokens(self, prompt: str) -> list[int]:
        """The tokens of a prompt, without special ones.

        Raises:
            InputError: `bad-data`: there are none, or too many.
        """
        found = list(self.tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"])
        if not 0 < len(found) <= self.longest:
            message = f"{self.label}: a prompt should have 1 to {self.longest:,} tokens; found {len(found):,}"
            raise InputError(Fault("bad-data", message, subject=prompt[:60], hint=f"it begins with {prompt[:60]!r}"))
        return found

    def states(self, prompt: str, spot: Spot, pooling: Pooling) -> dict[int, Tensor]:
        """One vector of every layer, float64 `[width]`."""
        import torch

        with torch.inference_mode(), self._watched(spot):
            self.model(input_ids=torch.tensor([self.tokens(prompt)]), use_cache=False)
        rows = {layer: values.double().reshape(-1, values.shape[-1]) for layer, values in self.seen.items()}
        return {layer: values[-1] if pooling == "last" else values.mean(0) for layer, values in rows.items()}

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
    return Runner(base.label, model, tokenizer_of(base), int(base.config.get("max_position_embeddings") or 2048))


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
    """The sum of the embeddings of a prompt's tokens, float64 `[width]`; only their rows are read.

    Raises:
        InputError: `bad-data`: it has no tokens; `embedding-too-small`: one of them has no row.
    """
    import torch

    name = "model.embed_tokens.weight"
    rows, width = base.specs[name].shape
    tokens = list(tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"])
    if not tokens:
        raise InputError(Fault("bad-data", f"{base.label}: a prompt without tokens", subject=prompt[:60]))
    if max(tokens) >= rows:
        message = f"{base.label}: token {max(tokens)} of a prompt has no row among the {rows} embeddings"
        raise InputError(Fault("embedding-too-small", message, subject=name))
    total = torch.zeros(width, dtype=torch.float64)
    for token in tokens:
        total += base.read(name, token * width, (token + 1) * width).double()
    return total


def mean_of(vectors: Sequence[Tensor]) -> Tensor:
    """The mean of some vectors of one width, `[width]`."""
    import torch

    return torch.stack(list(vectors)).mean(0)
