"""Several models asked as one: the mean of what they predict, every member counting the same.

    choice among V tokens or classes    log p(c) = log 1/K Σ_k softmax(z_k)_c          given as the logits
    classes that do not exclude others  p(c) = 1/K Σ_k σ(z_kc)                         its log-odds as the logits
    numbers                             y = 1/K Σ_k y_k

The logits of a mean of probabilities are its logarithm: softmax of them is the mean again. So likelihoods, choices,
classes and greedy writing follow as they do of a model. A text is written token by token from the mean at each place;
every member reads what all of them have written.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from cuvee.families.heads import heads_of

Kind = Literal["choice", "several", "number"]


class PredictionMean(torch.nn.Module):
    """An ensemble, called as a model of transformers is.

    Args:
        members: models with the same inputs and the same outputs; see `agreement.disagreements`.
        config: the configuration that rows are made ready by: that of the member which takes the shortest inputs.

    Example:
        >>> log_mean([torch.tensor([0.0, 0.0]), torch.tensor([0.0, math.log(3.0)])]).exp()
        tensor([0.3750, 0.6250])
    """

    def __init__(self, members: Sequence[torch.nn.Module], config: Any) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members)
        self.config = config
        self.generation_config = getattr(members[0], "generation_config", None)
        self._kind = kind_of(members[0])

    def get_input_embeddings(self) -> Any:
        """The first member's: all have as many tokens."""
        return self.members[0].get_input_embeddings()  # type: ignore[operator]

    def forward(self, **given: Any) -> Any:
        """The logits of the mean, `[B, …, V]`, in `.logits`.

        Args:
            **given: what a member takes, `input_ids` and `attention_mask` or `pixel_values`.
        """
        return _Output(self._mean([member(**given).logits for member in self.members]))

    def _mean(self, logits: Sequence[Tensor]) -> Tensor:
        if self._kind == "number":
            return torch.stack([one.double() for one in logits]).mean(0).to(logits[0].dtype)
        return log_odds_of_mean(logits) if self._kind == "several" else log_mean(logits)

    @torch.inference_mode()
    def generate(
        self, ids: Tensor, *, attention_mask: Tensor, max_new_tokens: int, stopping_criteria: Any = (), **_: Any
    ) -> Tensor:
        """The prompts `[B, T]`, padded on the left, and the likeliest token each time behind them.

        Args:
            ids: tokens of the prompts.
            attention_mask: 1 for tokens, 0 for what fills up.
            max_new_tokens: most tokens that are written.
            stopping_criteria: asked after every token with all tokens so far: `[B]`, which rows are over.
        """
        ends, fill = _ends(self.generation_config), _fill(self.generation_config)
        over = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        writers = [_Writer(member) for member in self.members]
        mask = attention_mask
        for _step in range(max_new_tokens):
            logs = log_mean([writer.next_logits(ids, mask) for writer in writers])
            following = torch.where(over, torch.full_like(ids[:, 0], fill), logs.argmax(-1))
            ids = torch.cat([ids, following[:, None]], dim=1)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            over = over | torch.isin(following, ends.to(ids.device))
            for is_over in stopping_criteria:
                over = over | is_over(ids, None)
            if bool(over.all()):
                break
        return ids


class _Output:
    """What a call of a model gives, as far as it is looked at."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class _Writer:
    """One member while it writes: what it has worked out of the tokens so far is kept, where its class can."""

    def __init__(self, model: Any) -> None:
        self._model, self._known = model, None
        self._takes = inspect.signature(model.forward).parameters
        self._cache = (
            "cache" if "cache" in self._takes else "past_key_values"
        )  # as newer versions of transformers call it

    def next_logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What comes behind the tokens, `[B, V]`."""
        given: dict[str, Any] = {"attention_mask": mask}
        if "position_ids" in self._takes:  # counted over tokens alone, as transformers does when it writes
            given["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0)
        if self._known is not None:
            given[self._cache] = self._known
            given |= {"position_ids": given["position_ids"][:, -1:]} if "position_ids" in given else {}
        if self._cache in self._takes:
            given["use_cache"] = True
        found = self._model(input_ids=ids if self._known is None else ids[:, -1:], **given)
        self._known = getattr(found, self._cache, None) if self._cache in self._takes else None
        last: Tensor = found.logits[:, -1]
        return last


def kind_of(model: Any) -> Kind:
    """What the outputs of a model mean, by its class and its configuration."""
    config, heads = getattr(model, "config", None), heads_of(model)
    problem = getattr(config, "problem_type", None)
    if "causal-lm" in heads or "masked-lm" in heads:
        return "choice"
    if problem == "multi_label_classification":
        return "several"
    return "number" if problem == "regression" or getattr(config, "num_labels", None) == 1 else "choice"


def log_mean(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of probabilities, log 1/K Σ_k softmax(z_k), along the last dimension, in ≥ float32."""
    whole: Tensor | None = None
    for one in logits:
        logs = functional.log_softmax(_wide(one), dim=-1)
        whole = logs if whole is None else torch.logaddexp(whole, logs)
    assert whole is not None
    return whole - math.log(len(logits))


def log_odds_of_mean(logits: Sequence[Tensor]) -> Tensor:
    """The log-odds log p − log(1 − p) of p = 1/K Σ_k σ(z_k), entry by entry."""
    stack = torch.stack([_wide(one) for one in logits])
    return functional.logsigmoid(stack).logsumexp(0) - functional.logsigmoid(-stack).logsumexp(0)


def likeness(model: Any) -> Any:
    """The model by whose class one is told what an ensemble may be asked; a model itself."""
    return model.members[0] if isinstance(model, PredictionMean) else model


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _ends(settings: Any) -> Tensor:
    """Tokens that end a text."""
    found = getattr(settings, "eos_token_id", None)
    given = found if isinstance(found, list) else [found]
    return torch.tensor([int(one) for one in given if one is not None], dtype=torch.int64)


def _fill(settings: Any) -> int:
    return int(getattr(settings, "pad_token_id", None) or 0)
