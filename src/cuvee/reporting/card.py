"""A merge's model card: front matter for the hub, and a page for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cuvee.methods import METHODS
from cuvee.reporting.card_parts import Inputs, Picture, Source, loader_of, row_of
from cuvee.reporting.card_scores import explained, scores, searched, verdict
from cuvee.reporting.charts import MARKS, ROLES
from cuvee.reporting.evidence import Evidence
from cuvee.reporting.front_matter import front_matter
from cuvee.reporting.licences import NO_ADVICE
from cuvee.reporting.markdown import block, code, plain, table
from cuvee.reporting.metadata import metadata, method_of
from cuvee.reporting.mixtures import experts_of, settings_of

_TOLD: Final = 20
"""Notes that are told; a merge of many tensors may have thousands."""


def card(evidence: Evidence, inputs: Inputs, recipe: str, pictures: Sequence[Picture] = ()) -> str:
    """The text of a README.md.

    Args:
        evidence: the merge and what was said of it.
        inputs: its inputs, with what they say of themselves.
        recipe: its recipe as YAML.
        pictures: of its charts, which lie beside the card.

    Returns:
        Markdown under a front matter; the same evidence gives the same text.
    """
    folder = evidence.folder.resolve()
    row = row_of(evidence.comparison, (str(evidence.folder).rstrip("/"), str(folder), folder.name))
    parts = [
        f"# {plain(folder.name)}",
        _summary(evidence, inputs, row),
        *_load(evidence),
        *_inputs(inputs),
        *_licence(inputs),
        *_made(evidence, recipe),
        *(scores(evidence.comparison, row) if evidence.comparison else ()),
        *explained(evidence.explanations),
        *searched(evidence.searches),
        *_charts(pictures),
        *_limits(evidence, inputs),
        *_proof(evidence),
        *_sources(evidence),
    ]
    return front_matter(metadata(evidence, inputs, row)) + "\n" + "\n\n".join(parts) + "\n"


def _summary(evidence: Evidence, inputs: Inputs, row: Mapping[str, Any] | None) -> str:
    method = method_of(evidence)
    top = [one for one in inputs.sources if one.depth == 0]
    models = [_named(one) for one in top if one.role in ("model", "result")]
    bases = [_named(one) for one in top if one.role == "base"]
    number = "1 model" if len(models) == 1 else f"{len(models)} models"
    on = f" on {bases[0]}" if bases else ""
    what = METHODS.get(method).spec.summary.rstrip(".") if method in METHODS else ""
    what = what[:1].lower() + what[1:] if what[1:2].islower() else what
    about = f" ({plain(what)})" if what else ""
    names = _joined(models) if models else _joined(bases)
    if "mixture" in evidence.record:
        return _summary_of_mixture(evidence, inputs, row)
    return (
        f"A merge of {number}{on}: {names}, by {code(method)}{about}, made with"
        f" Cuvee {plain(evidence.record['versions'].get('cuvee', ''))}. {verdict(row, evidence.comparison)}"
    )


def _summary_of_mixture(evidence: Evidence, inputs: Inputs, row: Mapping[str, Any] | None) -> str:
    """Every model that is an expert, once; the base may be one too."""
    record = evidence.record
    top = {one.name: one for one in inputs.sources if one.depth == 0}
    experts = experts_of(record)
    names = [_named(top[name]) if name in top else code(name) for name in dict.fromkeys(name for _, name, _ in experts)]
    base = next((f" on {_named(one)}" for one in top.values() if one.role == "base"), "")
    number = f"{len(experts)} expert{'s' if len(experts) > 1 else ''}"
    return (
        f"A mixture of {number}{base}, of the MLPs of {_joined(names)}, in the layout"
        f" {code(record['mixture']['layout'])}, made with Cuvee {plain(record['versions'].get('cuvee', ''))}."
        f" {verdict(row, evidence.comparison)}"
    )


def _named(one: Source) -> str:
    return f"[{code(one.hub)}](https://huggingface.co/{one.hub})" if one.hub else code(one.name)


def _joined(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


def _load(evidence: Evidence) -> Iterator[str]:
    """How transformers loads it, if it does."""
    if not evidence.config.get("model_type"):
        return
    loader = loader_of(evidence.config)[0]
    has = [name for file, name in _COMPANIONS.items() if (evidence.folder / file).is_file()]
    remote = ", trust_remote_code=True" if evidence.config.get("auto_map") else ""
    lines = [f"from transformers import {', '.join([loader, *has])}", ""]
    lines += [f"path = {json.dumps(evidence.folder.resolve().name)}  # this folder, or its id on the hub"]
    lines += [f"model = {loader}.from_pretrained(path{remote})"]
    lines += [f"{_VARIABLE[name]} = {name}.from_pretrained(path)" for name in has]
    yield "## Load it"
    yield block("\n".join(lines), "python")
    if remote:
        yield "Its class is not part of transformers: `trust_remote_code=True` runs code of the inputs' authors."


_COMPANIONS: Final = {"tokenizer_config.json": "AutoTokenizer", "preprocessor_config.json": "AutoImageProcessor"}
_VARIABLE: Final = {"AutoTokenizer": "tokenizer", "AutoImageProcessor": "processor"}


def _inputs(inputs: Inputs) -> Iterator[str]:
    rows = (
        [
            "↳ " * one.depth + (_named(one) if one.hub else code(one.name, in_table=True)),
            code(one.commit, in_table=True) if one.commit else "–",
            one.role,
            f"{one.parameters:,}",
            code(one.content, in_table=True),
            plain(", ".join(one.stated.ids) or "not stated") if one.is_model else "–",
        ]
        for one in inputs.sources
    )
    yield "## Inputs"
    yield table(["model", "commit", "role", "parameters", "content (xxh3-128)", "licence"], rows)
    if local := list(dict.fromkeys(code(one.name) for one in inputs.sources if one.is_model and not one.hub)):
        yield f"Not from the hub: {_joined(local)}."
    for one in inputs.sources:
        if one.ids:
            yield f"{code(one.name)} names {_joined([code(name) for name in one.ids])} as what it was made from."


def _licence(inputs: Inputs) -> Iterator[str]:
    found = inputs.licence
    yield "## Licence"
    yield " ".join(
        [f"**{plain(found.name or found.id)}**.", *(plain(f"{reason}.".replace("..", ".")) for reason in found.reasons)]
    )
    for warning in found.warnings:
        yield f"**To be looked at:** {plain(warning)}."
    yield NO_ADVICE


def _made(evidence: Evidence, recipe: str) -> Iterator[str]:
    record = evidence.record
    is_mixture = "mixture" in record
    yield "## How it was made"
    yield block(recipe, "yaml")
    if is_mixture:
        rows = [[number, code(name, in_table=True), prompts] for number, name, prompts in experts_of(record)]
        yield table(["expert", "model", "prompts"], rows)
    arithmetic = ", ".join(code(one) for one in record["arithmetic"]) or "nothing was merged"
    dtypes = sorted({one["dtype"] for one in record["output"]["tensors"].values()})
    counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in record["counts"].items() if number)
    yield table(
        ["setting", "value"],
        [
            ["seed", str(record["seed"])],
            ["arithmetic in", arithmetic],
            ["written as", ", ".join(code(one, in_table=True) for one in dtypes)],
            ["tensors", plain(counts)],
            *([name, plain(value)] for name, value in settings_of(record)),
            [f"{'mixture' if is_mixture else 'recipe'} (SHA-256)", code(record["recipe_sha256"], in_table=True)],
            *(
                [["recalibrated", plain("BatchNorm statistics, on " + record["recalibrated"]["data"])]]
                if "recalibrated" in record
                else []
            ),
        ],
    )
    yield f"To make it again, with the models where the {'mixture' if is_mixture else 'recipe'} says:"
    seed = f" --seed {record['seed']}" if record["seed"] else ""  # a mixture says its own
    call = "moe cuvee_recipe.yml -o mixed" if is_mixture else f"merge cuvee_recipe.yml -o merged{seed}"
    yield block(f"cuvee {call}", "sh")


def _charts(pictures: Sequence[Picture]) -> Iterator[str]:
    if pictures:
        yield "## Charts"
    if any(one.is_of_scores for one in pictures):
        yield ", ".join(f"{mark} {role}" for mark, role in zip(MARKS, ROLES, strict=True)) + "."
    for one in pictures:
        yield f"**{plain(one.title)}**"
        yield f"![{plain(f'{one.title}. {one.description}')}]({one.file})"


def _limits(evidence: Evidence, inputs: Inputs) -> Iterator[str]:
    """What is to be known before it is used."""
    notes = [*evidence.record["notes"], *inputs.notes]
    yield "## Limits"
    yield (
        "Whatever limits and biases the inputs have, a merge of them may have too, and it may have others: only the"
        " scores above, where there are any, were measured on this model."
    )
    if notes:
        more = [f"and {len(notes) - _TOLD} more, in `cuvee.json`"] if len(notes) > _TOLD else []
        yield "\n".join(f"- {plain(note)}" for note in [*notes[:_TOLD], *more])


def _proof(evidence: Evidence) -> Iterator[str]:
    output = evidence.record["output"]
    yield "## Check it"
    yield "`cuvee.json` holds the hash of every tensor read and written; `cuvee verify .` in this folder checks them."
    rows = [["content (xxh3-128)", code(output["content"], in_table=True)]]
    rows += [
        [f"{code(name, in_table=True)} (SHA-256)", code(sum_, in_table=True)]
        for name, sum_ in output.get("sha256", {}).items()
    ]
    yield table(["of", "hash"], rows)
    versions = ", ".join(f"{plain(name)} {plain(number)}" for name, number in evidence.record["versions"].items())
    yield f"Versions: {versions}."


def _sources(evidence: Evidence) -> Iterator[str]:
    """What was used, with links; nothing else."""
    more = [cite for one in (*evidence.searches, *evidence.explanations) for cite in one.get("citations") or ()]
    told = [*evidence.record["citations"], *more]
    if told:
        yield "## Sources"
        yield "\n".join(dict.fromkeys(f"- {_citation(one)}" for one in told))


def _citation(one: Mapping[str, Any]) -> str:
    if re.fullmatch(r"[\w./-]+", paper := one.get("arxiv") or ""):
        return f"{plain(one['text'])}, [arXiv:{paper}](https://arxiv.org/abs/{paper})"
    return f"{plain(one['text'])}, {plain(one['url'])}" if one.get("url") else plain(one["text"])
