"""The page of a method, written from what it declares, so that the two cannot drift apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cuvee.types import FAMILIES, Cite, MethodSpec, Param

SPACES: Mapping[str, str] = {
    "weight": "the models' weights as they are",
    "delta": "deltas: every model minus the base",
}
_SCOPES: Mapping[str, str] = {
    "element": "runs of entries, in tiles of any size",
    "row": "whole rows of a tensor (one row for each entry of its first dimension)",
    "matrix": "whole tensors, one at a time and on one thread each",
    "model": "runs of entries, after a look at all tensors",
}
BASES: Mapping[str, str] = {
    "required": "required",
    "optional": "optional",
    "input": "none; a `base_model` that the list does not name counts as one more model",
}


def page(spec: MethodSpec) -> str:
    """The page of one method, in Markdown.

    Args:
        spec: what the method declares.
    """
    return "\n".join([*_head(spec), *_parameters(spec), "", "```yaml", *example(spec), "```", *_about(spec)]) + "\n"


def index(specs: Mapping[str, MethodSpec]) -> str:
    """The page that lists all methods, by family.

    Args:
        specs: the methods by name.
    """
    lines = ["# Merge methods", "", "Written from the methods' declarations by `tools/write_method_pages.py`."]
    for family, title in FAMILIES.items():
        members = [spec for spec in specs.values() if spec.family == family]
        if members:
            lines += ["", f"## {title}", "", "| method | what it does |", "| --- | --- |"]
            lines += [f"| [`{spec.name}`]({spec.name}.md) | {_cell(spec.summary)} |" for spec in members]
    return "\n".join(lines) + "\n"


def _head(spec: MethodSpec) -> Iterator[str]:
    yield from (f"# {spec.name}", "", spec.summary, "", "```text", spec.formula, "```", "")
    yield f"- **Works on** {SPACES[spec.space]}; {scope_told(spec)}."
    yield f"- **Models**: {models_wanted(spec)}. **Base**: {BASES[spec.base]}."
    if spec.collected is not None:
        yield f"- **Reads** what `cuvee collect --kind {spec.collected}` found out about every model (`statistics:`)."
    if spec.cost:
        yield f"- **Costs** {spec.cost}"


def scope_told(spec: MethodSpec) -> str:
    """The pieces of a tensor that a method works on, in words."""
    others = [f"with `{name}: {_value(value)}` {_SCOPES[scope]}" for name, value, scope in spec.scope_if]
    return "; ".join([_SCOPES[spec.scope], *others])


def models_wanted(spec: MethodSpec) -> str:
    """Fewest and most models, and whether the base is one of them."""
    fewest, most = spec.models
    number = f"{fewest} or more" if most is None else str(fewest) if fewest == most else f"{fewest} to {most}"
    return number if spec.base == "input" else f"{number} besides the base"


def _parameters(spec: MethodSpec) -> Iterator[str]:
    shown = [param for param in spec.params if not param.ignored]
    if not shown:
        return
    yield from ("", "| parameter | range | default | given | meaning |", "| --- | --- | --- | --- | --- |")
    for param in shown:
        given = "per model" if param.per_model else "once"
        yield f"| `{param.name}` | {_cell(param.range)} | {_default(param)} | {given} | {_cell(param.doc)} |"
    ignored = [f"`{param.name}`" for param in spec.params if param.ignored]
    if ignored:
        yield from ("", f"Accepted, changes nothing: {', '.join(ignored)}.")


def _default(param: Param) -> str:
    if param.required:
        return "required"
    return "–" if param.default is None else f"`{_value(param.default)}`"


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def example(spec: MethodSpec) -> Iterator[str]:
    """The lines of a recipe with all that must be given, and nothing else."""
    fewest, most = spec.models
    count = max(fewest, 1) if most is not None and most <= 2 else max(fewest, 2)
    own = [f"{p.name}: {_example(p)}" for p in spec.params if p.required and p.per_model]
    shared = [f"{p.name}: {_example(p)}" for p in spec.params if p.required and not p.per_model]
    yield f"merge_method: {spec.name}"
    if spec.base == "required":
        yield "base_model: models/base"
    yield "models:"
    for letter in "abcdefgh"[:count]:
        yield f"  - model: models/{letter}"
        if own:
            yield f"    parameters: {{{', '.join(own)}}}"
        if spec.collected is not None:
            yield f"    statistics: models/{letter}.{spec.collected}.safetensors"
    if shared:
        yield f"parameters: {{{', '.join(shared)}}}"


def _example(param: Param) -> str:
    """A value inside the range."""
    if param.kind == "choice":
        return param.options[0]
    if param.kind == "bool":
        return "true"
    low = 0.0 if param.low is None else param.low
    high = low + 1 if param.high is None else param.high
    return str(round(low + 1)) if param.kind == "int" else _value((low + high) / 2)


def _about(spec: MethodSpec) -> Iterator[str]:
    yield from ("", f"Laws that are tested: {', '.join(spec.laws)}.", "", "## From", "")
    yield from (f"- {source(cite)}" for cite in spec.cite)
    if spec.differs:
        yield from ("", "## Differs from other tools", "")
        yield from (f"- {entry}" for entry in spec.differs)


def source(cite: Cite) -> str:
    """A citation on one line."""
    where = f"arXiv:{cite.arxiv}" if cite.arxiv else cite.url
    return f"{cite.text} ({where})" if where else cite.text
