"""`cuvee generate`: language models write together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import plain, printable, tell_notes, write_out
from cuvee.cli.options import COMMON, Common, Device, Seed, Switch
from cuvee.cli.words import counted

if TYPE_CHECKING:
    from cuvee.generate import Generated, Written

Count = Annotated[Seed, Parameter(validator=Number(gte=1))]


def generate(
    model: str,
    /,
    *others: str,
    prompt: Annotated[list[str], Parameter(name="--prompt", negative=())],
    chat: Switch = False,
    weight: Annotated[list[float] | None, Parameter(name="--weight", negative=())] = None,
    space: Literal["prob", "log", "contrastive"] = "prob",
    alpha: float = 1.0,
    align: Literal["auto", "identical", "permuted", "topk_union", "byte"] = "auto",
    gate: str | None = None,
    max_new_tokens: Count = 64,
    temperature: float = 0.0,
    top_k: Count | None = None,
    top_p: float | None = None,
    seed: Seed = 0,
    stop: Annotated[list[str] | None, Parameter(name="--stop", negative=())] = None,
    dtype: str | None = None,
    device: Device = "cpu",
    common: Common = COMMON,
) -> int:
    """Let language models write together, token by token.

    At every place each model says what it would write; what they say is made
    one distribution, and all of them read the token that comes of it. One
    prompt is written as it comes. docs/token-ensembles.md has the formulas,
    and what is done about different vocabularies.

    For example:

        cuvee generate ./merged --prompt "Once upon a time"
        cuvee generate ./math ./code --weight 2 --weight 1 --prompt "def f(x):"
        cuvee generate base expert anti --space contrastive --prompt "Dear"
        cuvee generate ./a ./b --chat --prompt "Who are you?" --temperature 0.7

    Args:
        model: A model folder.
        others: More of them; for contrastive: base, expert and anti-expert.
        prompt: A text to go on with; may be given more than once.
        chat: Tell prompts as what a user says, by each model's chat template.
        weight: One for each model, in their order; all the same without them.
        space: A mean of probabilities, of logarithms, or contrastive arithmetic.
        alpha: How far contrastive arithmetic moves the base.
        align: How vocabularies are compared; the most exact way by default.
        gate: Fuse only where models disagree (`disagree`), or where the first is
            unsure by so many nats.
        max_new_tokens: Most tokens of a text.
        temperature: The likeliest token each time at 0; else tokens are drawn.
        top_k: Draw from so many of the likeliest tokens.
        top_p: Draw from the fewest tokens whose probabilities sum to it.
        seed: Seed of the draws.
        stop: A text at which to stop; may be given more than once.
        dtype: Type to hold the models in, such as float32; their own without it.
        device: Device to run on.
        common: How to print.
    """
    from cuvee import api

    asked: Sequence[Any] = [[{"role": "user", "content": text}] for text in prompt] if chat else prompt
    live = len(prompt) == 1 and not common.json
    found = api.generate(
        [model, *others],
        asked,
        weights=weight,
        space=space,
        alpha=alpha,
        align=align,
        gate=_gate(gate),
        dtype=dtype,
        device=device,
        show=(lambda _number, piece: write_out(printable(piece))) if live else None,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop or (),
    )
    if live:
        write_out("\n")
        tell_notes(_notes(found))
        return 0
    return deliver(Answer("generate", _data(prompt, found), _text(prompt, found), notes=_notes(found)), common)


def _gate(word: str | None) -> Any:
    """A number where it is one; what else it may be is for the ensemble to say."""
    try:
        return word if word is None else float(word)
    except ValueError:
        return word


def _notes(found: Generated) -> tuple[str, ...]:
    speed = f"{counted(found.tokens, 'token')}, {found.tokens_per_second:.1f} per second"
    if len(found[0].agreed) == 1:
        return (*found.notes, speed)
    agreed = ", ".join(f"{name} {share:.0%}" for name, share in found.agreement.items())
    told = f"{found.align} vocabularies; {found.fused_share:.0%} of tokens fused; likeliest of its own: {agreed}"
    return (*found.notes, told, speed)


def _text(prompts: Sequence[str], found: Generated) -> Iterator[RenderableType]:
    for prompt, one in zip(prompts, found, strict=True):
        yield plain(prompt, "dim")
        yield plain(one.text)
        yield ""


def _data(prompts: Sequence[str], found: Generated) -> dict[str, Any]:
    return {
        "align": found.align,
        "texts": [{"prompt": prompt, **_one(one)} for prompt, one in zip(prompts, found, strict=True)],
        "tokens": found.tokens,
        "fused_share": found.fused_share,
        "agreement": found.agreement,
        "seconds": round(found.seconds, 3),
        "tokens_per_second": round(found.tokens_per_second, 3),
        "notes": list(found.notes),
    }


def _one(one: Written) -> dict[str, Any]:
    return {"text": one.text, "tokens": len(one), "reason": one.reason, "mean_log_probability": one.mean_log}
