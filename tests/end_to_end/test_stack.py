"""Stacks of a model's own layers: laws, classes in transformers, the command line, and what is refused."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.collecting.angles import block_distances
from cuvee.errors import CuveeError, InputError, RecipeError, UsageError
from cuvee.families.residual import TRIED
from tests.support.command_line import call
from tests.support.merging import files, hidden
from tests.support.zoo import ZOO, Cellar, stored, write_by_hand

OWN = {"cuvee.json", "cuvee_recipe.yml"}
NAMES = ["llama", "qwen2", "qwen3", "gemma2", "gemma3 text", "gpt2", "bert", "t5", "vit"]
SEVERAL = {"t5": "encoder"}
FORMS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "deeper": ({"depth_upscale": 1}, [0, 1, 2, 1, 2, 3]),
    "shorter": ({"drop": "1-2"}, [0, 3]),
    "repeated": ({"repeat": "1-2"}, [0, 1, 2, 1, 2, 3]),
    "reversed": ({"reverse": "1-2"}, [0, 2, 1, 3]),
    "listed": ({"layers": "0-2, 2-1, 3x2"}, [0, 1, 2, 2, 1, 3, 3]),
}


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("stacks"))


def model(cellar: Cellar, name: str = "llama", seed: int = 1) -> Path:
    return cellar.model(name, seed, 4)


def weights(folder: Path) -> dict[str, bytes]:
    """Every file but the record and the recipe."""
    return {name: raw for name, raw in files(folder).items() if name not in OWN}


def loaded(name: str, folder: Path) -> Any:
    """The model, of which transformers makes nothing up and leaves nothing out."""
    found, account = ZOO[name].load(folder)
    assert not {key: value for key, value in account.items() if value}
    return found


def runs(name: str, folder: Path) -> tuple[torch.Tensor, ...]:
    answers = ZOO[name].logits(loaded(name, folder))
    assert all(answer.isfinite().all() for answer in answers)
    return answers


@pytest.mark.parametrize("form", FORMS)
def test_it_is_the_recipe_written_by_hand(form: str, cellar: Cellar, tmp_path: Path) -> None:
    asked, layers = FORMS[form]
    made = cuvee.stack(model(cellar), tmp_path / "out", **asked)
    slices = [{"sources": [{"model": str(model(cellar)), "layer_range": [i, i + 1]}]} for i in layers]
    cuvee.merge({"merge_method": "passthrough", "slices": slices}, tmp_path / "by-hand")
    assert list(made.made.layers) == layers
    assert weights(tmp_path / "out") == weights(tmp_path / "by-hand")


def test_depth_up_scaling_is_two_slices_of_layer_ranges(cellar: Cellar) -> None:
    recipe = cuvee.stack_recipe(model(cellar), depth_upscale=1).recipe
    sources = [{"model": str(model(cellar)), "layer_range": bounds} for bounds in ([0, 3], [1, 4])]
    by_hand = {"merge_method": "passthrough", "slices": [{"sources": [source]} for source in sources]}
    assert recipe == cuvee.recipe_from(by_hand)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["deeper", "shorter"])
def test_classes_load_whole_and_run(name: str, form: str, cellar: Cellar, tmp_path: Path) -> None:
    asked, layers = FORMS[form]
    cuvee.stack(model(cellar, name), tmp_path / "out", **asked, module=SEVERAL.get(name))
    runs(name, tmp_path / "out")
    result = loaded(name, tmp_path / "out").config
    assert result.num_hidden_layers == len(layers)


def test_a_decoder_beside_an_encoder_is_stacked_by_itself(cellar: Cellar, tmp_path: Path) -> None:
    made = cuvee.stack(model(cellar, "t5"), tmp_path / "out", depth_upscale=1, module="decoder")
    found, before = (loaded("t5", folder).config for folder in (tmp_path / "out", model(cellar, "t5")))
    assert found.num_decoder_layers == len(made.made.layers) == 2 * (before.num_decoder_layers - 1)
    assert found.num_layers == before.num_layers
    runs("t5", tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["repeated", "reversed", "listed"])
def test_more_forms_load_whole_and_run(name: str, form: str, cellar: Cellar, tmp_path: Path) -> None:
    cuvee.stack(model(cellar, name), tmp_path / "out", **FORMS[form][0], module=SEVERAL.get(name))
    runs(name, tmp_path / "out")


@pytest.mark.parametrize("name", [*(n for n in NAMES if n != "bert"), "olmo2", "gpt-neox", "phi", "mixtral"])
def test_silent_blocks_leave_every_answer_what_it_was(name: str, cellar: Cellar, tmp_path: Path) -> None:
    before = runs(name, model(cellar, name))
    made = cuvee.stack(model(cellar, name), tmp_path / "out", expand=2, module=SEVERAL.get(name))
    after = runs(name, tmp_path / "out")
    assert (len(made.made.layers), made.made.silent) == (6, (2, 5))
    assert torch.equal(after[0], before[0])


def test_zeros_are_what_makes_a_block_silent(cellar: Cellar, tmp_path: Path) -> None:
    cuvee.stack(model(cellar), tmp_path / "out", expand=1)
    source, found = stored(model(cellar)), stored(tmp_path / "out")
    for name in (name for name in found if ".layers.4." in name):
        twin = source[name.replace(".4.", ".3.")]
        silent = "o_proj" in name or "down_proj" in name
        assert torch.equal(found[name], twin * 0 if silent else twin)


def test_reversing_twice_gives_the_model_back(cellar: Cellar, tmp_path: Path) -> None:
    cuvee.stack(model(cellar, "gemma3 text"), tmp_path / "once", reverse="0-3")
    kinds = [loaded("gemma3 text", f).config.layer_types for f in (model(cellar, "gemma3 text"), tmp_path / "once")]
    assert kinds[0] == kinds[1][::-1] != kinds[1]
    cuvee.stack(tmp_path / "once", tmp_path / "twice", reverse="0-3")
    assert_same_model(tmp_path / "twice", model(cellar, "gemma3 text"))


def test_dropping_what_was_repeated_gives_the_model_back(cellar: Cellar, tmp_path: Path) -> None:
    cuvee.stack(model(cellar), tmp_path / "longer", repeat="1-2x3")
    cuvee.stack(tmp_path / "longer", tmp_path / "back", drop="3-6")
    assert_same_model(tmp_path / "back", model(cellar))


def assert_same_model(found: Path, wanted: Path) -> None:
    one, other = stored(found), stored(wanted)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert json.loads((found / "config.json").read_text()) == json.loads((wanted / "config.json").read_text())


def test_dropping_comes_to_listing_the_rest(cellar: Cellar) -> None:
    dropped = cuvee.stack_recipe(model(cellar), drop="1").recipe
    assert dropped == cuvee.stack_recipe(model(cellar), layers="0, 2-3").recipe


def test_the_parameters_of_the_result_are_counted(cellar: Cellar, tmp_path: Path) -> None:
    made = cuvee.stack(model(cellar), tmp_path / "out", depth_upscale=1).made
    assert made.parameters == sum(tensor.numel() for tensor in stored(tmp_path / "out").values())
    assert made.parameters_before == sum(tensor.numel() for tensor in stored(model(cellar)).values())


# --- slices with methods of their own


def sliced(cellar: Cellar, *, nested: bool) -> dict[str, Any]:
    """Layers 0 and 1 averaged, 2 and 3 by TIES; base and models stand in the recipe."""
    base, a, b = (str(model(cellar, "qwen2", seed)) for seed in (1, 2, 3))
    first = {"sources": [{"model": m, "layer_range": [0, 2]} for m in (a, b)], "parameters": {"weight": 0.5}}
    last = {"sources": [{"model": m, "layers": "3-2"} for m in (a, b)]}
    last["parameters"] = {"weight": 1, "density": [0.3, 0.7]}
    if not nested:
        pieces = [first, {**last, "merge_method": "ties", "repeat": 2}]
        return {"merge_method": "linear", "base_model": base, "slices": pieces}
    one, two = (
        {"merge_method": method, "base_model": base, "slices": [piece]}
        for method, piece in (("linear", first), ("ties", last))
    )
    pieces = [{"sources": [{"model": inner, "layer_range": [0, 2]}]} for inner in (one, two, two)]
    return {"merge_method": "passthrough", "base_model": base, "slices": pieces}


def test_methods_of_slices_are_recipes_in_the_places_of_models(cellar: Cellar, tmp_path: Path) -> None:
    short = cuvee.merge(sliced(cellar, nested=False), tmp_path / "short")
    long = cuvee.merge(sliced(cellar, nested=True), tmp_path / "long")
    assert weights(tmp_path / "short") == weights(tmp_path / "long")
    assert short.record["recipe_sha256"] == long.record["recipe_sha256"]
    assert len(loaded("qwen2", tmp_path / "short").model.layers) == 6


def test_embeddings_come_from_the_first_slice_and_the_head_from_the_last(cellar: Cellar, tmp_path: Path) -> None:
    base, a, b = (str(model(cellar, "llama", seed)) for seed in (1, 2, 3))
    first = {"sources": [{"model": m, "layer_range": [0, 2]} for m in (a, b)], "parameters": {"weight": 0.5}}
    last = {
        "sources": [{"model": m, "layer_range": [2, 4]} for m in (a, b)],
        "parameters": {"weight": 1, "density": 0.5},
    }
    recipe = {"merge_method": "linear", "base_model": base, "slices": [first, {**last, "merge_method": "ties"}]}
    cuvee.merge(recipe, tmp_path / "out")
    whole = {"models": [{"model": a}, {"model": b}]}
    cuvee.merge({**whole, "merge_method": "linear", "parameters": {"weight": 0.5}}, tmp_path / "linear")
    cuvee.merge(
        {**whole, "merge_method": "ties", "base_model": base, "parameters": {"weight": 1, "density": 0.5}},
        tmp_path / "ties",
    )
    found, linear, ties = (stored(tmp_path / name) for name in ("out", "linear", "ties"))
    for name, tensor in found.items():
        is_first = "embed" in name or ".layers.0." in name or ".layers.1." in name
        assert torch.equal(tensor, (linear if is_first else ties)[name]), name


def test_a_merge_of_slices_with_methods_goes_on_where_it_stopped(cellar: Cellar, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.done > progress.total // 2:
            raise Stop

    recipe = sliced(cellar, nested=False)
    with pytest.raises(Stop):
        cuvee.merge(recipe, tmp_path / "out", threads=1, progress=stop)
    again = cuvee.merge(recipe, tmp_path / "out", resume=True)
    cuvee.merge(recipe, tmp_path / "at-once")
    assert weights(tmp_path / "out") == weights(tmp_path / "at-once")
    assert cuvee.merge(recipe, tmp_path / "out", resume=True).was_complete
    assert again.resumed_bytes >= 0


def test_a_plan_shows_the_slices_as_stages(cellar: Cellar, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "recipe.yml"
    file.write_text(json.dumps(sliced(cellar, nested=False)))
    shown = call(capsys, "plan", str(file)).out
    assert "ties" in shown
    assert "linear" in shown
    told = call(capsys, "plan", str(file), "--json").json
    assert sorted(stage["method"] for stage in told["stages"]) == ["linear", "ties"]


# --- what is refused


REFUSED = [
    ("nothing", {}, UsageError, "bad-argument", "found none"),
    ("two", {"drop": "1", "reverse": "1-2"}, UsageError, "bad-argument", "found drop and reverse"),
    (
        "out of bounds",
        {"layers": "0-4"},
        UsageError,
        "layers-out-of-range",
        "has 4 layers, 0 to 3; `layers` asks for 4",
    ),
    ("dropping what is not there", {"drop": "9"}, UsageError, "layers-out-of-range", "asks for 9"),
    ("all dropped", {"drop": "0-3"}, UsageError, "bad-layer-range", "nothing would be left"),
    ("empty", {"layers": ""}, UsageError, "bad-layer-range", "nothing between two commas"),
    ("no list", {"layers": "0..3"}, UsageError, "bad-layer-range", "found `0..3`"),
    ("reversed unasked", {"repeat": "2-1"}, UsageError, "bad-layer-range", "forward, found 2-1"),
    ("dropped twice over", {"drop": "1x2"}, UsageError, "bad-layer-range", "without a number of times"),
    ("no deeper", {"depth_upscale": 2}, UsageError, "bad-layer-range", "from 0 to 1"),
    ("too many blocks", {"expand": 5}, UsageError, "bad-layer-range", "from 1 to 4"),
    ("no text", {"layers": [0, 1]}, UsageError, "bad-argument", "a list of layers"),
    ("no number", {"expand": True}, UsageError, "bad-argument", "an integer"),
    ("no module", {"drop": "1", "module": "vision"}, UsageError, "unknown-module", "no stack of layers in `vision`"),
    ("no dtype", {"drop": "1", "dtype": "float31"}, RecipeError, "wrong-value", "float31"),
]


@pytest.mark.parametrize(("asked", "kind", "code", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_it_is_refused_before_anything_is_written(asked, kind, code, message, cellar: Cellar, tmp_path: Path) -> None:
    with pytest.raises(kind) as caught:
        cuvee.stack(model(cellar), tmp_path / "out", **asked)
    assert code in caught.value.codes
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def refusal(tmp_path: Path, source: Path, **asked: Any) -> CuveeError:
    with pytest.raises(CuveeError) as caught:
        cuvee.stack(source, tmp_path / "out", **asked)
    assert hidden(tmp_path) == []
    assert not (tmp_path / "out").exists()
    return caught.value


def test_an_encoder_and_a_decoder_are_two_stacks(cellar: Cellar, tmp_path: Path) -> None:
    error = refusal(tmp_path, model(cellar, "t5"), drop="1")
    assert error.codes == ("no-layer-stack",)
    assert "`decoder`, `encoder`" in (error.faults[0].hint or "")


SILENT = {"bert": "is of a layer that does more than add", "modernbert": "of this kind (modernbert) are not known"}


@pytest.mark.parametrize("kind", SILENT)
def test_layers_without_a_silent_form_are_told_from_unknown_ones(kind: str, cellar: Cellar, tmp_path: Path) -> None:
    error = refusal(tmp_path, model(cellar, kind), expand=1)
    assert isinstance(error, InputError)
    assert error.codes == ("no-silent-layer",)
    assert SILENT[kind] in str(error)


def test_the_page_names_the_kinds_that_were_tried() -> None:
    listed = PAGE.partition("equal to the bit: ")[2].partition(".\n")[0]
    assert set(re.split(r",\s+", listed)) == TRIED


MODULES = [
    ("qwen2.5-vl", "language_model", "model"),
    ("qwen2.5-vl", "vision_tower", "visual"),
    ("llava", "text_model", "language_model"),
    ("llava", "vision_model", "vision_tower"),
]


@pytest.mark.parametrize(("kind", "asked", "called"), MODULES)
def test_a_stack_goes_by_every_name_of_the_part_that_it_is_in(kind, asked, called, cellar: Cellar) -> None:
    """What `part` of a recipe knows under a name, `module` knows under it too."""
    source = model(cellar, kind)
    found, wanted = (cuvee.stack_recipe(source, drop="1", module=name) for name in (asked, called))
    assert found.recipe == wanted.recipe
    assert found.layers == wanted.layers


def test_a_module_that_is_not_there_is_told_those_that_are(cellar: Cellar, tmp_path: Path) -> None:
    error = refusal(tmp_path, model(cellar, "qwen2.5-vl"), drop="1", module="nope")
    assert error.codes == ("unknown-module",)
    assert "`model`, `visual`" in (error.faults[0].hint or "")


def test_what_the_class_cannot_be_built_of_is_refused(cellar: Cellar, tmp_path: Path) -> None:
    """The first layer of T5 alone holds the table of relative positions."""
    error = refusal(tmp_path, model(cellar, "t5"), drop="0", module="decoder")
    assert error.codes == ("layers-unrepresentable",)


def test_a_file_without_layers_has_no_stack(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    source = ZOO["plain state dict"].write(ZOO["plain state dict"].build(1), tmp_path / "model")
    assert refusal(tmp_path, source, drop="0").codes == ("no-layer-stack",)


# --- the command line


def test_the_command_writes_what_the_call_does(cellar: Cellar, tmp_path: Path, capsys) -> None:
    done = call(capsys, "stack", str(model(cellar)), "--depth-upscale", "1", "-o", str(tmp_path / "out"))
    assert done.code == 0, done.err
    assert "4 layers become 6: 0-2, 1-3" in done.out
    assert "parameters become" in done.out
    assert "heal the stack with `cuvee tune`" in done.out + done.err
    cuvee.stack(model(cellar), tmp_path / "called", depth_upscale=1)
    assert weights(tmp_path / "out") == weights(tmp_path / "called")
    told = call(capsys, "stack", str(model(cellar)), "--expand", "1", "-o", str(tmp_path / "more"), "--json").json
    assert told["layers"] == {"before": 4, "after": 5, "from": [0, 1, 2, 3, 3], "silent": [4]}
    assert told["parameters"]["after"] > told["parameters"]["before"]


def test_the_recipe_can_be_had_instead(cellar: Cellar, tmp_path: Path, capsys) -> None:
    asked = ("stack", str(model(cellar)), "--layers", "0-2, 2-1")
    shown = call(capsys, *asked, "--print-recipe")
    assert shown.code == 0, shown.err
    assert "layers: 0-2, 2-1" in shown.out
    file = tmp_path / "recipe.yml"
    assert call(capsys, *asked, "--recipe", str(file)).code == 0
    assert call(capsys, *asked, "--recipe", str(file)).code == 7
    cuvee.merge(file, tmp_path / "merged")
    cuvee.stack(model(cellar), tmp_path / "stacked", layers="0-2, 2-1")
    assert weights(tmp_path / "merged") == weights(tmp_path / "stacked")
    assert cuvee.load_recipe(file).slices == cuvee.recipe_from({**sole(model(cellar), "0-2, 2-1")}).slices


def sole(source: Path, layers: str) -> dict[str, Any]:
    return {"merge_method": "passthrough", "slices": [{"sources": [{"model": str(source), "layers": layers}]}]}


@pytest.mark.parametrize("more", [(), ("-o", "x", "--print-recipe")])
def test_one_kind_of_output_is_asked_for(more, cellar: Cellar, capsys) -> None:
    done = call(capsys, "stack", str(model(cellar)), "--drop", "1", *more)
    assert done.code == 2
    assert "one of --out, --recipe and --print-recipe" in done.err


# --- the page


PAGE = (Path(__file__).parents[2] / "docs" / "stack.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_does_what_it_says(cellar: Cellar, tmp_path: Path, monkeypatch, capsys) -> None:
    for seed, name in enumerate(("model", "base", "a", "b")):
        (tmp_path / name).symlink_to(cellar.model("llama", seed, 6))
    (tmp_path / "t5").symlink_to(model(cellar, "t5"))
    monkeypatch.chdir(tmp_path)
    for language, text in BLOCKS:
        if language == "sh":
            for line in text.splitlines():
                done = call(capsys, *shlex.split(line)[1:])
                assert done.code == 0, (line, done.err)
        elif language == "python":
            exec(text, {"cuvee": cuvee})
        else:
            Path("recipe.yml").write_text(text)
            cuvee.merge("recipe.yml", "merged")
    assert len(loaded("llama", Path("merged")).model.layers) == 8
    assert weights(Path("upscaled")) == weights(Path("deeper"))
    assert [language for language, _ in BLOCKS] == ["sh", "sh", "python", "yaml"]


# --- the layers that a text misses least


@pytest.fixture(scope="module")
def idle(cellar: Cellar) -> Path:
    """A model of six layers, of which 1 and 2 are silent, and 3 nearly is."""
    source, folder = cellar.model("llama", 1, 6), cellar.root / "idle"
    tensors = stored(source)
    for name in tensors:
        if "o_proj" in name or "down_proj" in name:
            tensors[name] = tensors[name] * {"1": 0.0, "2": 0.0, "3": 0.01}.get(name.split(".")[2], 1.0)
    return write_by_hand(source, tensors, folder)


@pytest.fixture(scope="module")
def rows(cellar: Cellar) -> Path:
    file = cellar.root / "rows.jsonl"
    file.write_text(
        "".join(json.dumps({"input_ids": [3 + (i * j) % 50 for j in range(1, 9)]}) + "\n" for i in range(12))
    )
    return file


@pytest.mark.parametrize(("block", "left"), [(1, [0, 2, 3, 4, 5]), (2, [0, 3, 4, 5]), (3, [0, 4, 5])])
def test_the_layers_that_change_least_are_dropped(block, left, idle: Path, rows: Path, tmp_path: Path) -> None:
    done = cuvee.stack(idle, tmp_path / "out", drop_least=block, text=rows)
    assert list(done.made.layers) == left
    assert f"the one from layer 1 on turns the last token least: 0.00{'' if block == 3 else '00'}" in done.notes[0]
    if block < 3:
        answers = [runs("llama", folder)[0] for folder in (tmp_path / "out", idle)]
        assert torch.equal(*answers)


def test_the_distance_is_that_of_the_paper(cellar: Cellar, rows: Path) -> None:
    found = block_distances(cellar.model("llama", 1, 6), rows, 6, 2)
    states = hand_states(loaded("llama", cellar.model("llama", 1, 6)), rows)
    for first, distance in enumerate(found):
        wanted = [angle(state[first], state[first + 2]) for state in states]
        assert distance == pytest.approx(sum(wanted) / len(wanted), abs=1e-6)
    assert len(found) == 4


def angle(one: list[float], other: list[float]) -> float:
    """arccos(x · y / |x| |y|) / π in plain floats."""
    dot = sum(x * y for x, y in zip(one, other, strict=True))
    return math.acos(dot / math.hypot(*one) / math.hypot(*other)) / math.pi


def hand_states(net: Any, rows: Path) -> list[list[list[float]]]:
    """What comes into every layer at the last token of every row, caught by hooks."""
    caught: list[list[list[float]]] = []
    for layer in net.model.layers:
        layer.register_forward_pre_hook(lambda _m, args: caught[-1].append(args[0][0, -1].tolist()))
    for line in rows.read_text().splitlines():
        caught.append([])
        with torch.inference_mode():
            net(input_ids=torch.tensor([json.loads(line)["input_ids"]]))
    return caught


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"drop_least": 1}, "should be given together"),
        ({"drop": "1", "text": "rows.jsonl"}, "should be given together"),
        ({"drop_least": 4, "text": "rows.jsonl"}, "from 1 to 3, since the last layer stays"),
        ({"drop_least": 1, "text": "rows.jsonl"}, "rows.jsonl"),
    ],
)
def test_dropping_the_least_needs_a_text_and_a_layer_that_stays(asked, message, cellar: Cellar, tmp_path: Path) -> None:
    assert message in str(refusal(tmp_path, model(cellar), **asked))


def test_a_text_that_is_not_there_is_no_matter_of_another_option(cellar: Cellar, tmp_path: Path) -> None:
    error = refusal(tmp_path, model(cellar), drop_least=1, text=tmp_path / "gone.txt")
    assert error.codes == ("data-missing",)
    assert "--data" not in str(error)
    assert "gone.txt" in str(error)


def test_only_causal_language_models_are_asked(cellar: Cellar, rows: Path, tmp_path: Path) -> None:
    error = refusal(tmp_path, model(cellar, "bert"), drop_least=1, text=rows)
    assert "should be a causal language model" in str(error)
