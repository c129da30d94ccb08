"""Language models that write one text together: at every place their next-token distributions are made one.

Every model has a cache, an attention mask and positions of its own, reads the prompt in its own way (beginning, chat
template) and reads every token that was accepted, whoever wanted it. Vocabularies may be the same, the same in another
order, or different (`aligning`, `union`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cuvee.errors import Fault, integer_faults, refuse
from cuvee.generate.aligning import Align, Pairing, paired, places, refuse_other
from cuvee.generate.bytewise import ByteReading, Bytewise
from cuvee.generate.direct import Direct
from cuvee.generate.drawing import Sampling, chosen
from cuvee.generate.fusing import entropy
from cuvee.generate.members import Given, language_models
from cuvee.generate.prompts import Prompt, Rendered, rendered, unlike
from cuvee.generate.reading import TokenReading
from cuvee.generate.rows import Row, Told
from cuvee.generate.settings import Fusion, Gate, Space, in_roles, setting_faults, shares_of
from cuvee.generate.streaming import Stream
from cuvee.generate.union import Union
from cuvee.generate.written import Generated


class TokenEnsemble:
    """Causal language models that write together.

        prob          p = Σ w_k p_k            log   p ∝ Π p_k^w_k
        contrastive   z = z_base + α (z_expert − z_anti)

    Args:
        models: model folders, or pairs (model, tokenizer), in a list or by name. For `contrastive`: base, expert and
            anti-expert, in this order or by these names; or two, an expert and its amateur.
        weights: one per model, 0 or more; divided by their sum. All the same without them.
        space: where the mean is taken; see above.
        alpha: α of `contrastive`.
        plausible: of `contrastive`: leave out tokens below this share of the base's likeliest, (0, 1].
        align: how vocabularies are compared. `auto` finds the most exact way; `identical` and `permuted` refuse others;
            `topk_union` compares the likeliest tokens of each model as bytes (`cuvee.generate.union` says how exactly);
            `byte` finds the exact distribution of the next byte (`cuvee.generate.bytewise`), slowly.
        top: tokens that each model names in `topk_union`.
        gate: fuse only where the likeliest tokens differ (`disagree`), or where the first model's entropy is at least
            so many nats; elsewhere the first model writes alone.
        temperature: of each model's own distribution before it is fused, one for all or one for each.
        cache: keep what models have worked out of the text so far.
        dtype: torch name of the dtype that folders are loaded in.
        device: torch name of the device that they are loaded on.

    Raises:
        UsageError: `bad-argument`, `bad-weights`, `wrong-number-of-models`: everything that is wrong with the call.
        InputError: a model or a tokenizer cannot be had or used; `vocabulary-mismatch`: a tokenizer has more tokens
            than its model; `no-vocabulary-map`: vocabularies are not what `align` asks for.

    Example:
        >>> TokenEnsemble([math, code], weights=[2, 1]).generate(["1 + 1 ="]).texts  # doctest: +SKIP
        (' 2',)
    """

    def __init__(
        self,
        models: Sequence[Given] | Mapping[str, Given],
        *,
        weights: Sequence[float] | None = None,
        space: Space = "prob",
        alpha: float = 1.0,
        plausible: float | None = None,
        align: Align = "auto",
        top: int = 10,
        gate: Gate = None,
        temperature: float | Sequence[float] = 1.0,
        cache: bool = True,
        dtype: str | None = None,
        device: str = "cpu",
    ) -> None:
        models = in_roles(models, space)
        given: dict[str, Any] = {
            "space": space,
            "align": align,
            "weights": weights,
            "alpha": alpha,
            "plausible": plausible,
        }
        count = len(models) if isinstance(models, Sequence | Mapping) and not isinstance(models, str) else 0
        given |= {"gate": gate, "top": top, "temperature": temperature}
        if count:
            refuse(setting_faults(count, given))
        self.members = language_models(models, dtype=dtype, device=device)
        self.fusion = Fusion(space, shares_of(weights, count), alpha, plausible, gate)
        self._cache = cache
        self._temperatures = tuple(temperature) if isinstance(temperature, Sequence) else (temperature,) * count
        self.align: Align
        self.align, self._way = self._aligned(align, top)
        self._dropped = 0.0
        self.notes = tuple(unlike(self.members))

    def _aligned(self, align: Align, top: int) -> tuple[Align, Direct | Union | Bytewise]:
        if align == "byte":
            return "byte", Bytewise(self.members, self._temperatures)
        pairings = self._pairings()
        refuse_other(self.members, pairings, align)
        relations = {one.relation for one in pairings}
        if align == "topk_union" or "different" in relations:
            return "topk_union", Union(self.members, top, self._temperatures)
        found: Align = "permuted" if "permuted" in relations else "identical"
        return found, Direct(self.members, places(self.members, pairings), self._temperatures)

    def _pairings(self) -> list[Pairing]:
        first = self.members[0].vocabulary
        return [paired(first, one.vocabulary) for one in self.members]

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_new_tokens: int = 64,
        n: int = 1,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        batch_size: int = 32,
        show: Callable[[int, str], None] | None = None,
    ) -> Generated:
        """Go on with prompts.

        Args:
            prompts: texts, which are read as they are; or conversations, lists of `role` and `content`, which each
                model reads by its own chat template.
            max_new_tokens: most tokens of a text; with `align="byte"`, bytes.
            n: texts for each prompt; more than one needs a temperature.
            temperature: 0 takes the likeliest token each time, else tokens are drawn.
            top_k: draw from so many of the likeliest.
            top_p: draw from the fewest whose probabilities sum to it.
            seed: of the draws, which depend on it, the prompt and the place alone.
            stop: texts at which a text stops; they are not part of it.
            batch_size: texts that are written at once.
            show: called with the number of a text and what is new of it, as soon as it can be shown.

        Raises:
            UsageError: `bad-argument`.
            InputError: `no-tokenizer`, `bad-data`: a prompt that a model cannot read, or that is too long for it.
        """
        how = Sampling(temperature, top_k, top_p, seed)
        rows = self._rows(prompts, max_new_tokens, n, how, stop, batch_size)
        self._dropped = 0.0
        began = time.perf_counter()
        for at in range(0, len(rows), batch_size):
            for number, shown in self._write(rows[at : at + batch_size], how, max_new_tokens):
                if show is not None and shown:
                    show(at + number, shown)
        seconds = time.perf_counter() - began
        names = [member.name for member in self.members]
        return Generated(tuple(row.written(names) for row in rows), self.align, seconds, self._told())

    def _told(self) -> tuple[str, ...]:
        """Notes, which models cannot read texts side by side, and what `byte` left out."""
        alone = tuple(
            f"{member.name} reads texts one after the other and from their beginning, which is slow: side by side, or "
            "going on from its cache, it says other things of them"
            for member in self.members
            if not (member.manners.beside and member.manners.further)
        )
        if not self._dropped:
            return (*self.notes, *alone)
        lost = f"up to {self._dropped:.2g} of the probability of a text lay on tokenisations that were not followed"
        return (*self.notes, *alone, lost)

    def stream(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        """The text behind one prompt, piece by piece as it is written; together they are what `generate` gives.

        A piece never ends in the middle of a letter, and nothing is shown that may still become a stop string.

        Args:
            prompt: a text or a conversation.
            max_new_tokens: this and what follows as for `generate`.
            temperature: likewise.
            top_k: likewise.
            top_p: likewise.
            seed: likewise.
            stop: likewise.

        Raises:
            UsageError, InputError: as `generate`, at the call.
        """
        how = Sampling(temperature, top_k, top_p, seed)
        rows = self._rows([prompt], max_new_tokens, 1, how, stop, 1)
        return (shown for _, shown in self._write(rows, how, max_new_tokens) if shown)

    def _rows(self, prompts: Any, most: int, n: int, how: Sampling, stop: Sequence[str], batch_size: int) -> list[Row]:
        refuse(_call_faults(most, n, how, stop, batch_size))
        by_model = rendered(self.members, prompts, most)
        seen: Counter[str] = Counter()
        rows = []
        for number, prompt in enumerate(prompts):
            own: list[Rendered] = [one[number] for one in by_model]
            for _ in range(n):
                key = str(prompt)
                rows.append(Row(own, (key, seen[key]), Stream(stop)))
                seen[key] += 1
        return rows

    def _write(self, rows: Sequence[Row], how: Sampling, most: int) -> Iterator[tuple[int, str]]:
        """Write until every text is over; what can be shown of each token, with the number of its row."""
        reading = self._begin(rows)
        while not all(row.is_over for row in rows):
            yield from ((number, rows[number].cut()) for number in sorted(reading.too_long(rows)))
            if not all(row.is_over for row in rows):
                stack, table = reading.propose(rows)
                yield from self._step(stack, table, rows, how, most)
        self._dropped = max(self._dropped, reading.dropped)

    def _begin(self, rows: Sequence[Row]) -> TokenReading | ByteReading:
        if isinstance(self._way, Bytewise):
            return self._way.begin(rows)
        return TokenReading(self._way, self.members, cached=self._cache)

    def _step(self, stack: Tensor, table: Any, rows: Sequence[Row], how: Sampling, most: int) -> list[tuple[int, str]]:
        """One token for each text that is not over."""
        with torch.inference_mode():
            logs, fused = self.fusion(stack)
            tops, spread = stack.argmax(-1), entropy(logs)
            shown = []
            for number, row in enumerate(rows):
                if row.is_over:
                    continue
                at = chosen(logs[number], how, row.key, row.place)
                agreed = [bool(top == at) for top in tops[:, number].tolist()]
                told = Told(float(logs[number, at]), float(spread[number]), bool(fused[number]), agreed)
                shown.append((number, row.accept(self._way.taken(table, number, at), told, most)))
        return shown


def _call_faults(most: int, n: int, how: Sampling, stop: Any, batch_size: int) -> Iterator[Fault]:
    yield from integer_faults("max_new_tokens", most, least=1)
    yield from integer_faults("n", n, least=1)
    yield from integer_faults("batch_size", batch_size, least=1)
    if isinstance(n, int) and n > 1 and how.temperature == 0:
        message = f"`n` must be 1 at temperature 0, where all texts of a prompt are the same; found {n}"
        yield Fault("bad-argument", message, subject="n", hint="set a temperature above 0, 0.7 say")
    if isinstance(stop, str) or not isinstance(stop, Iterable) or not all(isinstance(one, str) and one for one in stop):
        message = f"`stop` must be a list of texts that are not empty; found {stop!r}"
        yield Fault("bad-argument", message, subject="stop", hint="write [text] for one")
