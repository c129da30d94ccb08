"""The strictest licence of the inputs: where there is one, and where nobody may choose."""

from __future__ import annotations

from itertools import product

import pytest

from cuvee.reporting.licence_table import LICENCES, covers, licence_of
from cuvee.reporting.licences import Stated, decide, stated_in

PERMISSIVE = [one.id for one in LICENCES.values() if one.kind in ("public domain", "permissive", "attribution")]


def of(*ids: str) -> list[Stated]:
    return [Stated(f"model {i}", (name,) if name else ()) for i, name in enumerate(ids)]


# --- the table


def test_what_covers_what_is_a_preorder() -> None:
    for a in LICENCES.values():
        assert covers(a, a)
    chains = 0
    for a, b, c in product(LICENCES.values(), repeat=3):
        if covers(a, b) and covers(b, c) and c.id not in a.clashes and a.id not in c.clashes:
            assert covers(a, c) or b.id == "cc-by-4.0", (a.id, b.id, c.id)
            chains += 1
    assert chains > 1000


def test_names_of_other_licences_in_the_table_are_in_it() -> None:
    for one in LICENCES.values():
        assert one.under | one.clashes <= LICENCES.keys()
        assert one.id not in one.under


@pytest.mark.parametrize("own", ["llama3", "gemma", "openrail", "acme-terms"])
@pytest.mark.parametrize("other", ["cc-by-nc-4.0", "gpl-3.0", "llama2", "cc-by-sa-4.0", "mpl-2.0"])
def test_terms_of_their_own_meet_no_other_condition(own: str, other: str) -> None:
    assert not covers(licence_of(own), licence_of(other))
    assert not covers(licence_of(other), licence_of(own))


# --- the decision, by hand


@pytest.mark.parametrize(
    ("ids", "strictest"),
    [
        (("mit", "apache-2.0"), "apache-2.0"),
        (("apache-2.0", "mit"), "apache-2.0"),
        (("cc0-1.0", "mit", "cc-by-4.0"), "cc-by-4.0"),
        (("mit", "cc-by-nc-4.0", "apache-2.0"), "cc-by-nc-4.0"),
        (("cc-by-nc-4.0", "cc-by-nc-sa-4.0"), "cc-by-nc-sa-4.0"),
        (("apache-2.0", "llama3.1"), "llama3.1"),
        (("gemma", "mit", "gemma"), "gemma"),
        (("apache-2.0", "gpl-3.0", "lgpl-2.1"), "gpl-3.0"),
        (("mpl-2.0", "gpl-3.0", "agpl-3.0", "apache-2.0"), "agpl-3.0"),
        (("mit", "lgpl-2.1", "gpl-2.0"), "gpl-2.0"),
        (("apache-2.0", "gpl-2.0"), None),
        (("gpl-2.0", "gpl-3.0"), None),
        (("cc-by-sa-3.0", "cc-by-sa-4.0"), "cc-by-sa-4.0"),
        (("cc-by-sa-4.0", "cc-by-nc-4.0"), None),
        (("gpl-3.0", "cc-by-nc-4.0"), None),
        (("llama3", "gemma"), None),
        (("llama2", "cc-by-nc-4.0"), None),
        (("openrail", "creativeml-openrail-m"), None),
    ],
)
def test_the_strictest(ids: tuple[str, ...], strictest: str | None) -> None:
    found = decide(of(*ids))
    if strictest is None:
        assert (found.id, found.decided_by) == ("other", ())
        assert found.name == "-and-".join(dict.fromkeys(ids))
        assert len(found.warnings) == 1
        assert "no licence of the inputs meets all the others" in found.warnings[0]
    else:
        assert (found.id, found.name, found.warnings) == (strictest, None, ())
        assert found.decided_by == tuple(f"model {i}" for i, name in enumerate(ids) if name == strictest)
        assert strictest in found.reasons[0]


def test_the_order_of_the_inputs_decides_nothing() -> None:
    for a, b in product(LICENCES, repeat=2):
        one, other = decide(of(a, b)), decide(of(b, a))
        assert {one.id} == {other.id} or {one.id, other.id} == {a, b}  # both ask for the same: either will do
        if one.id != other.id:
            assert covers(licence_of(a), licence_of(b))
            assert covers(licence_of(b), licence_of(a))


def test_every_permissive_input_leaves_the_choice_to_the_strict_one() -> None:
    for name in set(PERMISSIVE) - {"apache-2.0"}:
        assert decide(of(name, "cc-by-nc-sa-4.0")).id == "cc-by-nc-sa-4.0"
        assert decide(of(name, "llama3")).id == "llama3"


def test_a_pair_that_shows_the_conflict_is_named() -> None:
    (warning,) = decide(of("mit", "gpl-3.0", "apache-2.0", "cc-by-nc-4.0")).warnings
    assert "gpl-3.0 (copyleft)" in warning
    assert "cc-by-nc-4.0 (non-commercial)" in warning


@pytest.mark.parametrize("others", [(), ("mit",), ("cc-by-nd-4.0",)])
def test_no_derivatives_is_never_chosen(others: tuple[str, ...]) -> None:
    found = decide(of("cc-by-nc-nd-4.0", *others))
    assert (found.id, found.decided_by) == ("other", ())
    assert "model 0 (cc-by-nc-nd-4.0)" in found.warnings[0]
    assert "forbids passing on what is made of it" in found.warnings[0]


def test_an_input_that_states_none_is_named_and_nothing_is_guessed() -> None:
    found = decide(of("apache-2.0", "", "cc-by-nc-4.0", ""))
    assert (found.id, found.name) == ("other", "apache-2.0-and-cc-by-nc-4.0-and-unknown")
    assert "model 1, model 3 state no licence" in found.warnings[0]
    nothing = decide(of("", ""))
    assert (nothing.id, nothing.name, len(nothing.warnings)) == ("unknown", None, 1)


def test_an_input_with_two_licences_is_not_chosen_from() -> None:
    found = decide([Stated("a", ("mit", "gpl-3.0")), Stated("b", ("mit",))])
    assert found.id == "other"
    assert "not whether both hold or one may be chosen" in found.warnings[0]


def test_the_same_terms_of_its_own_in_all_inputs_are_kept_with_name_and_link() -> None:
    front = {"license": "other", "license_name": "Acme Terms", "license_link": "https://acme.example/terms"}
    found = decide([stated_in("a", front, None, ""), stated_in("b", {"license": "mit"}, None, "")])
    assert (found.id, found.name, found.link) == ("other", "acme-terms", "https://acme.example/terms")
    assert found.decided_by == ("a",)
    assert found.warnings == ()


def test_an_id_that_the_hub_does_not_know_becomes_the_name_of_another_licence() -> None:
    found = decide([stated_in("a", {"license": "Acme-1.0"}, None, ""), stated_in("b", {"license": "mit"}, None, "")])
    assert (found.id, found.name, found.decided_by) == ("other", "acme-1.0", ("a",))


# --- what an input says


@pytest.mark.parametrize(
    ("front", "ids"),
    [
        ({"license": "Apache-2.0"}, ("apache-2.0",)),
        ({"license": ["mit", "gpl-3.0"]}, ("mit", "gpl-3.0")),
        ({"license": "unknown"}, ()),
        ({"license": " "}, ()),
        ({"license": 3}, ()),
        ({"license": None}, ()),
        ({}, ()),
        ({"license": "other"}, ("licence of m",)),
    ],
)
def test_what_a_card_states(front: dict[str, object], ids: tuple[str, ...]) -> None:
    assert stated_in("m", front, None, "").ids == ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("\n   Apache License\n   Version 2.0, January 2004\n", ("apache-2.0",)),
        ("MIT License\n\nCopyright\n\nPermission is hereby granted, free of charge, to any", ("mit",)),
        ("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", ("gpl-3.0",)),
        ("Not the Apache License\nVersion 2.0, but ours", ("licence of m",)),
        ("MIT License, with changes: you may not", ("licence of m",)),
    ],
)
def test_a_licence_file_is_known_by_its_first_words_only(text: str, ids: tuple[str, ...]) -> None:
    assert stated_in("m", {}, ("LICENSE", text), "").ids == ids
    assert stated_in("m", {"license": "cc0-1.0"}, ("LICENSE", text), "").ids == ("cc0-1.0",)


@pytest.mark.parametrize(
    ("link", "place", "whole"),
    [
        ("LICENSE.md", "https://huggingface.co/a/b/blob/c/", "https://huggingface.co/a/b/blob/c/LICENSE.md"),
        ("LICENSE.md", "", None),
        ("../../x", "https://huggingface.co/a/b/blob/c/", None),
        ("javascript:alert(1)", "", None),
        ("https://x.example/<script>", "", None),
        ("https://x.example/terms", "", "https://x.example/terms"),
    ],
)
def test_links_lead_to_the_web_or_nowhere(link: str, place: str, whole: str | None) -> None:
    assert stated_in("m", {"license": "other", "license_link": link}, None, place).link == whole
