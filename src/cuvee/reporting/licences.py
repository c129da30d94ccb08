"""The strictest licence of a merge's inputs, where there is one.

"Stricter" is only a partial order: an input under GPL and one that forbids commercial use have no licence that meets
both. Then, and where an input states none, all are named and none is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cuvee.reporting.licence_table import LICENCES, covers, licence_of

NO_ADVICE: Final = "This was worked out from what the inputs say of themselves and a table; it is no legal advice."
_TITLES: Final = {
    "apache-2.0": r"\s*Apache License\s+Version 2\.0,",
    "mit": r"\s*(The )?MIT License\b.*Permission is hereby granted, free of charge",
    "agpl-3.0": r"\s*GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3,",
    "lgpl-3.0": r"\s*GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3,",
    "gpl-3.0": r"\s*GNU GENERAL PUBLIC LICENSE\s+Version 3,",
    "gpl-2.0": r"\s*GNU GENERAL PUBLIC LICENSE\s+Version 2,",
}
"""How the texts of licences begin."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What an input says of its licence.

    Attributes:
        model: the input.
        ids: hub ids, or names of other licences; none where nothing is said.
        link: where the terms stand, if that is said and leads anywhere from outside.
        source: where it is said.
    """

    model: str
    ids: tuple[str, ...] = ()
    link: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The licence to put into the card.

    Attributes:
        id: a hub id; `other` where several are to be looked at or it has none; `unknown` where nothing is stated.
        name, link: of `other`.
        decided_by: the inputs whose licence it is; none where no one's is enough.
        reasons: why, in sentences.
        warnings: what somebody must look at before the model is passed on.
        stated: what each input says.
    """

    id: str
    name: str | None
    link: str | None
    decided_by: tuple[str, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    stated: tuple[Stated, ...]


def stated_in(model: str, front: Mapping[str, Any], file: tuple[str, str] | None, place: str) -> Stated:
    """What an input says of its licence.

    Args:
        model: the input.
        front: the front matter of its own card.
        file: the name and the text of its LICENSE file, if it has one.
        place: where links of the card start from, `https://…/`; empty where that is no place on the web.
    """
    given = front.get("license")
    words = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str)]
    ids = tuple(word for one in words if (word := one.strip().lower()) not in ("", "unknown"))
    name, link = front.get("license_name"), _link(front.get("license_link"), place)
    if ids == ("other",):
        ids = (name.strip().lower(),) if isinstance(name, str) and name.strip() else (f"licence of {model}",)
        return Stated(model, ids, link, "its card")
    if ids:
        return Stated(model, ids, link, "its card")
    if file is not None:
        known = next(
            (one for one, title in _TITLES.items() if re.match(title, file[1], re.DOTALL | re.IGNORECASE)), None
        )
        ids = (known or f"licence of {model}",)
        return Stated(model, ids, _link(file[0], place), f"its {file[0]} file")
    return Stated(model)


def _link(given: object, place: str) -> str | None:
    if not isinstance(given, str) or not given.strip():
        return None
    if re.fullmatch(r"https?://[^\s<>\"]+", given):
        return given
    return f"{place}{given}" if place and re.fullmatch(r"[\w.-]+", given) else None


def decide(stated: Sequence[Stated]) -> Decision:
    """The strictest of the inputs' licences; `other`, and a warning, where there is no such thing.

    Args:
        stated: what every input says, in their order.

    Example:
        >>> found = decide([Stated("a", ("mit",)), Stated("b", ("cc-by-nc-4.0",))])
        >>> found.id, found.decided_by
        ('cc-by-nc-4.0', ('b',))
        >>> decide([Stated("a", ("gpl-3.0",)), Stated("b", ("cc-by-nc-4.0",))]).name
        'gpl-3.0-and-cc-by-nc-4.0'
    """
    known = list(dict.fromkeys(name for one in stated for name in one.ids))
    silent = [one.model for one in stated if not one.ids]
    warnings = [*_of_silence(silent), *_of_derivatives(stated), *_of_several(stated)]
    top = [name for name in known if all(covers(licence_of(name), licence_of(other)) for other in known)]
    if known and not top:
        warnings.append(_apart(known))
    if warnings or not top:
        name = _slug("-and-".join([*known, *(["unknown"] if silent else [])])) if known else None
        link = next((one.link for one in stated if one.link), None) if len(known) == 1 and not silent else None
        return Decision("other" if known else "unknown", name, link, (), (), tuple(warnings), tuple(stated))
    return _decided(top[0], known, stated)


def _decided(name: str, known: Sequence[str], stated: Sequence[Stated]) -> Decision:
    by = [one for one in stated if name in one.ids]
    models = tuple(one.model for one in by)
    lesser = [other for other in known if other != name]
    kind = licence_of(name).kind
    reason = f"{name} ({kind}) is that of {', '.join(models)}"
    reason += f", and asks for what {', '.join(lesser)} {'asks' if len(lesser) == 1 else 'ask'} too" if lesser else ""
    notices = ["Keep the notices of every input: a stricter licence does not take them away."] if lesser else []
    link = next((one.link for one in by if one.link), None)
    if name not in LICENCES:  # the hub knows no other ids
        return Decision("other", _slug(name), link, models, (reason, *notices), (), tuple(stated))
    return Decision(name, None, None, models, (reason, *notices), (), tuple(stated))


def _of_silence(silent: Sequence[str]) -> list[str]:
    if not silent:
        return []
    verb = "states no licence" if len(silent) == 1 else "state no licence"
    return [f"{', '.join(silent)} {verb} that could be found; without one nobody has a right to pass a merge of it on"]


def _of_derivatives(stated: Sequence[Stated]) -> list[str]:
    found = [f"{one.model} ({name})" for one in stated for name in one.ids if _forbids(name)]
    return [f"{', '.join(found)} forbids passing on what is made of it, and a merge is"] if found else []


def _forbids(name: str) -> bool:
    return "no derivatives" in licence_of(name).asks


def _of_several(stated: Sequence[Stated]) -> list[str]:
    """An input that names several: whether all hold or one may be chosen is not said."""
    several = [one for one in stated if len(one.ids) > 1]
    return [f"{one.model} names {' and '.join(one.ids)}, not whether both hold or one may be chosen" for one in several]


def _apart(known: Sequence[str]) -> str:
    """That no licence meets all the others, with a pair that shows it."""
    pairs = [(a, b) for i, a in enumerate(known) for b in known[i + 1 :]]
    apart = [(a, b) for a, b in pairs if not covers(licence_of(a), licence_of(b)) and not _meets(b, a)]
    a, b = next(iter(apart), (known[0], known[-1]))
    kinds = f"{a} ({licence_of(a).kind}) and {b} ({licence_of(b).kind})"
    return (
        f"no licence of the inputs meets all the others: as far as the table knows, neither of {kinds} meets the other"
    )


def _meets(a: str, b: str) -> bool:
    return covers(licence_of(a), licence_of(b))


def _slug(name: str) -> str:
    """A name in the letters of the hub's `license_name`."""
    return re.sub(r"[^a-z0-9.+-]+", "-", name.lower()).strip("-")[:100]
