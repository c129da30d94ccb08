"""Differences that need models of their own, each shown with both tools and named in the page's table.

All merges of mergekit run in one process; a test asks for its own by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import cuvee
from tests.peers import page
from tests.peers.jobs import deltas_of, mean_of, slerp_of, stack_of
from tests.peers.models import CONFIG, LAYERS, draw, tune
from tests.peers.rival import Job, Outcome, Rival
from tests.peers.shown import shown, shows
from tests.peers.sides import Room, Sides, off
from tests.support.zoo import Cellar

pytestmark = pytest.mark.peers


def on_a_grid(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiples of 1/64, so that many deltas have equal magnitudes."""
    return {k: (t * 64).round() / 64 for k, t in tensors.items()}


def with_biases(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = {"q": 32, "k": 16, "v": 16, "o": 32}
    biases = {
        f"model.layers.{i}.self_attn.{p}_proj.bias": torch.randn(n, generator=generator)
        for i in range(LAYERS)
        for p, n in widths.items()
    }
    return draw(seed) | biases


def only_mlp(tensors: Mapping[str, Tensor], change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {k: change(t) if "mlp" in k else t for k, t in tensors.items()}


SIDE_FILES = {
    "generation_config.json": '{"temperature": 0.5}',
    "preprocessor_config.json": '{"size": 16}',
    "modeling_own.py": "raise SystemExit('this must never run')",
    "merges.txt": "#version: 0.2",
    "special_tokens_map.json": "{}",
    "added_tokens.json": "{}",
}
"""Files that a checkpoint may have beside its weights."""


def weighted(a: str, b: str, *weights: float) -> dict[str, Any]:
    listed = [{"model": m, "parameters": {"weight": w}} for m, w in zip((a, b), weights)]
    return {"merge_method": "linear", "models": listed}


def make_models(room: Room) -> None:
    """Every model that a job below names."""
    base = draw(1)
    tunes = [tune(base, 2), tune(base, 3)]
    for name, tensors in zip(("base", "a", "b"), (base, *tunes)):
        room.model(name, tensors)
        room.model(f"{name}-bf16", {k: t.bfloat16() for k, t in tensors.items()}, dtype="bfloat16")
        room.model(f"{name}-grid", on_a_grid(tensors))
    room.model(
        "nan", base | {"model.norm.weight": base["model.norm.weight"].index_fill(0, torch.tensor([3]), torch.nan)}
    )
    room.model("large", {k: t * 1e6 for k, t in base.items()})
    room.model("biases", with_biases(4), attention_bias=True)
    room.model("extra", base | {"model.extra.weight": torch.ones(3), "model.position_ids": torch.arange(5)})
    room.model("tied", {k: t for k, t in base.items() if k != "lm_head.weight"}, tie_word_embeddings=True)
    room.model("empty-mlp", only_mlp(base, torch.zeros_like))
    room.model("faint-mlp", only_mlp(base, lambda t: t * 1e-12))
    room.model("faint-two", only_mlp(tunes[0], lambda t: t * 1e-12))
    dressed = Path(room.model("dressed", base))
    for name, text in SIDE_FILES.items():
        (dressed / name).write_text(text, "utf-8")
    _write_older_config(room)
    _write_layer_types(room)


def _write_older_config(room: Room) -> None:
    """A configuration as transformers 4 wrote it."""
    config = {k: v for k, v in CONFIG.items() if k not in ("rope_parameters", "dtype", "head_dim")}
    config |= {"torch_dtype": "float32", "rope_theta": 50000.0}
    _write_with(room.root / "older", json.dumps(config, indent=4), draw(5))


def _write_layer_types(room: Room) -> None:
    """A Qwen2, whose configuration has a list with one entry per layer."""
    left_out = ("head_dim", "attention_bias", "mlp_bias", "pretraining_tp")
    config = {k: v for k, v in CONFIG.items() if k not in left_out} | {
        "architectures": ["Qwen2ForCausalLM"],
        "layer_types": ["full_attention"] * LAYERS,
        "max_window_layers": LAYERS,
        "model_type": "qwen2",
        "sliding_window": None,
        "use_sliding_window": False,
    }
    tensors = {k: t for k, t in with_biases(6).items() if not k.endswith("o_proj.bias")}
    _write_with(room.root / "qwen2", json.dumps(config, indent=2), tensors)


def _write_with(folder: Path, config: str, tensors: Mapping[str, Tensor]) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(config, "utf-8")
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def all_jobs(room: Room, cellar: Cellar) -> list[Job]:
    m = room.model
    half = {"weight": 0.5, "density": 0.4}
    in_bfloat16 = {m("a-bf16"): {"weight": 0.57, "density": 0.5}, m("b-bf16"): {"weight": 0.31, "density": 0.5}}
    opposed = {m("a"): {"weight": 1}, m("b"): {"weight": -1}}
    dare = deltas_of("dare_linear", m("base"), {m("a"): {"weight": 1, "density": 0.4}}, dtype="float32")
    return [
        Job("non-finite", mean_of(m("nan"), m("a"))),
        Job("overflow", mean_of(m("large"), out_dtype="float16")),
        Job("biases", mean_of(m("biases"))),
        Job("extra", mean_of(m("extra"))),
        Job("mixtral", mean_of(str(cellar.model("mixtral", 1)))),
        Job("bert", mean_of(str(cellar.model("bert", 1)))),
        Job("vit", mean_of(str(cellar.model("vit", 1)))),
        Job("older", mean_of(m("older"))),
        Job("qwen2", stack_of(m("qwen2"))),
        Job("tied", deltas_of("task_arithmetic", m("tied"), {m("a"): {"weight": 1}})),
        Job("two-dtypes", deltas_of("task_arithmetic", m("base-bf16"), {m("a"): {"weight": 1}})),
        Job("cast", mean_of(m("a"), m("b"), dtype="bfloat16")),
        Job("bf16-ties", deltas_of("ties", m("base-bf16"), in_bfloat16, dtype="bfloat16")),
        Job("bf16-linear", mean_of(m("a-bf16"), m("b-bf16"), dtype="bfloat16")),
        Job("grid", deltas_of("ties", m("base-grid"), {m("a-grid"): half, m("b-grid"): half})),
        Job(
            "faint-rescale",
            deltas_of("ties", m("empty-mlp"), {m("faint-mlp"): half}, parameters={"rescale": True, "normalize": False}),
        ),
        Job("faint-slerp", slerp_of(m("faint-mlp"), m("faint-two"), t=0.5)),
        Job("dare-unseeded-1", dare, seed=None),  # type: ignore[arg-type]
        Job("dare-unseeded-2", dare, seed=None),  # type: ignore[arg-type]
        Job("zero-linear", weighted(m("a"), m("b"), 1, -1)),
        Job("zero-sum", deltas_of("task_arithmetic", m("base"), opposed, parameters={"normalize": True})),
        Job("dropped", deltas_of("ties", m("base"), {m("a"): half, m("b"): {"weight": 1, "density": 0}})),
        Job("beyond", deltas_of("ties", m("base"), {m("a"): half, m("b"): {"weight": 1, "density": 1.5}})),
        Job("side-files", mean_of(m("dressed")), options={"copy_tokenizer": True}),
        Job("shards", mean_of(m("a")), options={"out_shard_size": 50_000}),
        Job("again", mean_of(m("a"))),
        Job("card", mean_of(m("a")), options={"write_model_card": True}),
    ]


@pytest.fixture(scope="module")
def answered(
    rival: Rival, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Room, Mapping[str, Job], Mapping[str, Outcome]]:
    room = Room(tmp_path_factory.mktemp("room"))
    make_models(room)
    jobs = all_jobs(room, Cellar(tmp_path_factory.mktemp("zoo")))
    beside = rival.root / "again"
    beside.mkdir()
    (beside / "model-00001-of-00002.safetensors").write_bytes(b"of an earlier merge")
    return room, {job.name: job for job in jobs}, rival.merge(jobs)


@pytest.fixture
def sides(answered: Any, tmp_path: Path) -> Sides:
    return Sides(*answered, tmp_path)


@shows("non-finite-input")
def test_nan_in_an_input(sides: Sides) -> None:
    sides.check("non-finite-input", "non-finite")
    assert bool(sides.answers["non-finite"].tensors["model.norm.weight"].isnan().any())


@shows("float16-overflow")
def test_values_beyond_float16(sides: Sides) -> None:
    sides.check("float16-overflow", "overflow")
    assert any(bool(t.isinf().any()) for t in sides.answers["overflow"].tensors.values())


@shows("dropped-tensors")
@pytest.mark.parametrize(("name", "lost"), [("biases", 4 * LAYERS), ("extra", 2), ("vit", 32)])
def test_tensors_that_mergekit_does_not_know(name: str, lost: int, sides: Sides) -> None:
    mine, their = sides.both(name)
    source = Outcome(Path(sides.jobs[name].recipe["models"][0]["model"])).tensors
    assert mine.tensors.keys() == source.keys()
    assert len(source.keys() - their.tensors.keys()) == lost


@shows("names-on-disk")
def test_names_of_experts(sides: Sides) -> None:
    mine, their = sides.both("mixtral")
    source = Outcome(Path(sides.jobs["mixtral"].recipe["models"][0]["model"])).tensors
    assert mine.tensors.keys() == source.keys()
    assert any("gate_up_proj" in name for name in their.tensors.keys() - source.keys())


@shows("unlisted-architecture")
def test_an_architecture_that_mergekit_fails_on(sides: Sides) -> None:
    sides.check("unlisted-architecture", "bert")


@shows("layer-lists")
def test_stacks_of_models_with_layer_types(sides: Sides) -> None:
    sides.check("layer-lists", "qwen2")
    mine, their = sides.both("qwen2", dtype="float32")
    assert mine.config["layer_types"] == ["full_attention"] * (2 * LAYERS - 2)
    assert "layer_types" in (their.error or "")


@shows("config-rewritten")
def test_configurations_of_older_libraries(sides: Sides) -> None:
    mine, their = sides.both("older")
    source = sides.room.root / "older" / "config.json"
    assert (mine.folder / "config.json").read_bytes() == source.read_bytes()
    assert {"rope_theta", "torch_dtype"} <= json.loads(source.read_text("utf-8")).keys() - their.config.keys()


@shows("config-dtype")
def test_the_dtype_in_the_configuration(sides: Sides) -> None:
    mine, their = sides.both("two-dtypes")
    written = {str(t.dtype).removeprefix("torch.") for t in mine.tensors.values()}
    assert written == {"float32"} == {str(t.dtype).removeprefix("torch.") for t in their.tensors.values()}
    assert (mine.config["dtype"], their.config["dtype"]) == ("float32", "bfloat16")


@shows("tied-head")
def test_a_tied_and_an_untied_model(sides: Sides) -> None:
    mine, their = sides.both("tied")
    for outcome in (mine, their):
        assert not outcome.tensors["lm_head.weight"].equal(outcome.tensors["model.embed_tokens.weight"])
    assert (mine.config["tie_word_embeddings"], their.config["tie_word_embeddings"]) == (False, True)


@shows("inputs-cast-first")
def test_inputs_wider_than_the_dtype(sides: Sides) -> None:
    mine, their = sides.both("cast")
    truth = sides.both("cast", dtype="float64")[0].tensors
    rounded = {k: t.bfloat16() for k, t in truth.items()}
    assert off(mine.tensors, truth) <= 1.001 * off(rounded, truth)
    assert off(their.tensors, truth) > 1.1 * off(rounded, truth)
    first = [{k: t.bfloat16() for k, t in sides.room.wrote(m).items()} for m in ("a", "b")]
    cast = {k: ((first[0][k].float() + first[1][k].float()) / 2).bfloat16() for k in truth}
    assert off(their.tensors, cast) < 1e-4


@shows("bfloat16-arithmetic")
def test_arithmetic_of_ties_in_bfloat16(sides: Sides) -> None:
    mine, their = sides.both("bf16-ties")
    truth = sides.both("bf16-ties", dtype="float32")[0].tensors
    rounded = off({k: t.bfloat16() for k, t in truth.items()}, truth)
    assert off(mine.tensors, truth) == pytest.approx(rounded)
    assert off(their.tensors, truth) > 2 * rounded


def test_linear_in_bfloat16_is_sound_on_both_sides(sides: Sides) -> None:
    mine, their = sides.both("bf16-linear")
    assert off(their.tensors, mine.tensors) < 1e-4


@shows("equal-magnitudes-at-the-cut")
def test_equal_magnitudes_at_the_cut(sides: Sides) -> None:
    mine, their = (outcome.tensors for outcome in sides.both("grid"))
    base, a, b = (sides.room.wrote(f"{n}-grid") for n in ("base", "a", "b"))
    differing = 0
    for name in base:
        apart = mine[name] != their[name]
        differing += int(apart.sum())
        assert bool(_at_the_cut(base[name], (a[name], b[name]), 0.4)[apart].all()), name
    assert differing > 0


def _at_the_cut(base: Tensor, models: tuple[Tensor, ...], density: float) -> Tensor:
    """Entries where some delta is exactly as large as the last one kept."""
    found = torch.zeros_like(base, dtype=torch.bool)
    for model in models:
        magnitude = (model - base).abs()
        last = magnitude.flatten().sort(descending=True).values[int(density * base.numel()) - 1]
        found |= magnitude == last
    return found


@shows("faint-deltas-rescaled")
def test_rescaling_of_faint_deltas(sides: Sides) -> None:
    mine, their = (outcome.tensors for outcome in sides.both("faint-rescale"))
    name = "model.layers.0.mlp.up_proj.weight"
    whole = sides.room.wrote("faint-mlp")[name]
    assert mine[name].abs().sum().item() == pytest.approx(0.5 * whole.abs().sum().item(), rel=1e-5)
    kept = whole.flatten().abs().sort(descending=True).values[: int(0.4 * whole.numel())].sum().item()
    assert their[name].abs().sum().item() == pytest.approx(0.5 * kept, rel=1e-5)


@shows("faint-tensors-slerp")
def test_slerp_of_faint_tensors(sides: Sides) -> None:
    mine, their = (outcome.tensors for outcome in sides.both("faint-slerp"))
    name = "model.layers.0.mlp.up_proj.weight"
    a, b = (sides.room.wrote(n)[name] * 1e12 for n in ("faint-mlp", "faint-two"))
    of_large = cuvee.methods.get("slerp")([b], base=a, t=0.5)
    assert torch.allclose(mine[name] * 1e12, of_large, rtol=1e-5)
    assert torch.allclose(their[name] * 1e12, (a + b) * 0.5**0.5, rtol=1e-5), "a right angle, whatever the angle"


def test_what_mergekit_does_with_weights_that_sum_to_zero(sides: Sides) -> None:
    written = sides.answers["zero-linear"].tensors
    assert all(not bool(t.isfinite().any()) for t in written.values())
    mine, their = sides.both("zero-sum", parameters={"normalize": False})
    assert off(their.tensors, mine.tensors) < 1e-6


def test_what_mergekit_does_with_densities_outside(sides: Sides) -> None:
    a, b = (entry["model"] for entry in sides.jobs["dropped"].recipe["models"])
    half = {"weight": 0.5, "density": 0.4}
    for name, models in {"dropped": {a: half}, "beyond": {a: half, b: {"weight": 1, "density": 1}}}.items():
        mine, their = sides.both(name, models=deltas_of("ties", "", models)["models"])
        assert off(their.tensors, mine.tensors) < 1e-6, name


@shows("seed")
def test_random_masks_without_a_seed(sides: Sides) -> None:
    first, second = (sides.both(f"dare-unseeded-{i}")[1].tensors for i in (1, 2))
    assert off(first, second) > 1e-3
    recipe = sides.jobs["dare-unseeded-1"].recipe
    for name in ("one", "two"):
        cuvee.merge(recipe, sides.out / name)
    assert off(Outcome(sides.out / "one").tensors, Outcome(sides.out / "two").tensors) == 0


@shows("shard-size")
def test_shard_sizes_are_bytes(sides: Sides) -> None:
    """mergekit's help speaks of parameters; its writer counts bytes too."""
    recipe = sides.jobs["shards"].recipe
    result = cuvee.merge(recipe, sides.out / "ours", shard_size=50_000)
    sizes = [p.stat().st_size for p in result.path.glob("*.safetensors")]
    theirs = [p.stat().st_size for p in sides.answers["shards"].folder.glob("*.safetensors")]
    assert sum(t.numel() for t in Outcome(result.path).tensors.values()) < 50_000 < sum(sizes)
    assert len(sizes) == len(theirs) == 3


@shows("output-exists")
def test_an_output_that_is_there(sides: Sides) -> None:
    mine, their = sides.both("again")
    assert mine.error is None
    again, _ = sides.both("again")
    assert page.explains(page.rows()["output-exists"], their.error, again.error), again.error
    left = {p.name for p in their.folder.glob("*.safetensors")}
    assert left == {"model.safetensors", "model-00001-of-00002.safetensors"}, "the old shard stays beside the new file"
    cuvee.merge(sides.jobs["again"].recipe, mine.folder, overwrite=True)
    assert {p.name for p in mine.folder.glob("*.safetensors")} == {"model.safetensors"}


@shows("side-files")
def test_files_beside_the_weights(sides: Sides) -> None:
    mine, their = sides.both("side-files")
    copied = {p.name for p in mine.folder.iterdir() if p.name in SIDE_FILES}
    assert copied == set(SIDE_FILES)
    assert {p.name for p in their.folder.iterdir() if p.name in SIDE_FILES} < copied
    for name, text in SIDE_FILES.items():
        assert (mine.folder / name).read_text("utf-8") == text


@shows("record")
def test_what_is_written_beside_the_model(sides: Sides) -> None:
    mine, their = sides.both("card")
    assert {p.name for p in their.folder.iterdir()} >= {"README.md", "mergekit_config.yml"}
    names = {p.name for p in mine.folder.iterdir()}
    assert names == {"model.safetensors", "config.json", "cuvee.json", "cuvee_recipe.yml"}


def test_every_row_said_to_be_shown_here_is_shown() -> None:
    said = {row.id for row in page.rows().values() if row.shown == "peers"}
    assert said == shown()
