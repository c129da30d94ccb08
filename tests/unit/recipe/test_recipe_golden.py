"""Every golden recipe is read, checked and written back; recipes of methods that are not there say so and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from cuvee.errors import RecipeError
from cuvee.recipe import not_yet, notes, parse_file, parse_text, to_yaml
from cuvee.types import Param
from tests.support.specs import SPECS, WEIGHT, spec

FILES = sorted((Path(__file__).parents[2] / "golden" / "recipes").glob("*.yml"))

# the remaining methods of mergekit's table, as far as recipes are concerned
MORE = {
    each.name: each
    for each in (
        spec("multislerp", "optional", (1, None), WEIGHT),
        spec("nearswap", "required", (1, 1), Param("t", "float", "", required=True)),
        spec("arcee_fusion", "required", (1, 1)),
        spec("sce", "required", (1, None), Param("select_topk", "float", "", default=1.0)),
        spec("ram", "required", (1, None), Param("epsilon", "float", "", default=1e-5)),
        *(
            spec(
                name,
                "required",
                (1, None),
                WEIGHT,
                Param("density", "float", "", default=1.0, per_model=True),
                Param("gamma", "float", "", default=0.01, per_model=True),
            )
            for name in ("breadcrumbs", "breadcrumbs_ties")
        ),
    )
}
ALL = {**SPECS, **MORE}


def test_all_are_there():
    assert len(FILES) == 28


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_read_and_written_back(file):
    recipe = parse_file(file, ALL)
    assert not_yet(recipe) == ()
    assert notes(recipe, ALL) == ()
    assert recipe.root == file.parent
    assert parse_text(to_yaml(recipe), ALL, root=recipe.root) == recipe


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_method_that_is_not_there_is_the_only_fault(file):
    with pytest.raises(RecipeError) as caught:
        parse_file(file, {})
    assert caught.value.codes == ("unknown-method",)
    (fault,) = caught.value.faults
    assert fault.place is not None
    assert (fault.place.line, fault.place.column) == (1, 15)
    assert fault.hint == "none are known"
