"""The record tells the truth, a merge can be done again from it, and `verify` notices what no longer fits it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import xxhash
from safetensors.torch import load_file, save_file
from torch import Tensor

import cuvee
from cuvee import methods
from cuvee.checkpoint.equality import SAMPLE
from cuvee.errors import InputError
from cuvee.recipe import from_data, recipe_hash
from tests.support.checkpoints import raw_bytes
from tests.support.merging import METHODS, SIDE_FILES, Tensors, cast, decoder, linear, read, recipe, write
from tests.support.yard import EMBEDDING, HEAD, Q, Yard, command
from tests.support.zoo import ZOO, Cellar, save, write_by_hand

DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.int64: "int64"}


def digest(data: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def content(tensors: Tensors) -> str:
    """The hash of a whole model, written from its description: one line of JSON per tensor, sorted by name."""
    lines = []
    for name in sorted(tensors):
        tensor = tensors[name]
        line = [name, DTYPES[tensor.dtype], list(tensor.shape), digest(raw_bytes(tensor))]
        lines.append(json.dumps(line, separators=(",", ":")) + "\n")
    return digest("".join(lines).encode())


def record_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "cuvee.json").read_text("utf-8"))
    return found


# --- what the record says


def test_the_record_holds_what_it_should_and_no_more(yard: Yard) -> None:
    cuvee.merge(yard.file(recipe("ties", "base", "a", "b")), yard.out, seed=4)
    record = record_of(yard.out)
    assert list(record) == [
        "format",
        "recipe",
        "recipe_sha256",
        "seed",
        "arithmetic",
        "inputs",
        "counts",
        "copied",
        "tied",
        "config_changes",
        "output",
        "citations",
        "notes",
        "versions",
    ]
    assert (record["format"], record["seed"], record["arithmetic"]) == (1, 4, ["float32"])
    assert set(record["versions"]) == {"cuvee", "torch", "python"}
    assert str(yard.root) not in (yard.out / "cuvee.json").read_text()


def test_the_result_carries_the_record(yard: Yard) -> None:
    result = cuvee.merge(yard.file(linear("a", "b")), yard.out)
    assert json.loads(json.dumps(result.record)) == record_of(yard.out)
    assert (result.path, result.lost, result.left_out) == (yard.out, 0, 0)


def test_hashes_of_every_tensor_read_and_written(yard: Yard) -> None:
    cuvee.merge(yard.file(linear("a", "b", out_dtype="bfloat16")), yard.out, shard_size=1000, threads=3)
    record, written = record_of(yard.out), read(yard.out)
    assert {n: t["xxh3_128"] for n, t in record["output"]["tensors"].items()} == {
        name: digest(raw_bytes(tensor)) for name, tensor in written.items()
    }
    assert {n: (t["dtype"], t["shape"]) for n, t in record["output"]["tensors"].items()} == {
        name: ("bfloat16", list(tensor.shape)) for name, tensor in written.items()
    }
    assert record["output"]["content"] == content(written)
    assert [(i["model"], i["content"]) for i in record["inputs"]] == [
        (name, content(read(yard.root / name))) for name in ("a", "b")
    ]


def test_hashes_of_every_other_file(yard: Yard) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    others = {p.name: digest(p.read_bytes()) for p in yard.out.iterdir() if p.suffix != ".safetensors"}
    del others["cuvee.json"]
    assert record_of(yard.out)["output"]["files"] == others
    assert others.keys() == {"config.json", "cuvee_recipe.yml", *SIDE_FILES}


def test_the_hash_of_a_model_does_not_depend_on_its_files(yard: Yard) -> None:
    tensors = read(yard.root / "a")
    yard.model("shards", tensors, shards=3)
    (yard.root / "pickle").mkdir()
    torch.save(tensors, yard.root / "pickle" / "pytorch_model.bin")
    seen = set()
    for name in ("a", "shards", "pickle", "a/model.safetensors"):
        out = yard.root / "out" / name.replace("/", " ")
        seen |= {i["content"] for i in cuvee.merge(linear(yard.root / name), out).record["inputs"]}
    assert seen == {content(tensors)}


def test_what_was_not_read_is_not_in_the_hash(yard: Yard) -> None:
    sources = [{"sources": [{"model": "a", "layer_range": [1, 2]}]}]
    cuvee.merge(yard.file({"merge_method": "passthrough", "slices": sources}), yard.out)
    taken = {name: tensor for name, tensor in read(yard.root / "a").items() if ".layers.0." not in name}
    (told,) = record_of(yard.out)["inputs"]
    assert (told["content"], told["tensors_read"], told["tensors"]) == (content(taken), len(taken), len(decoder(0)))
    assert record_of(yard.out)["counts"]["left_out"] == len(decoder(0)) - len(taken)


def test_what_is_said_of_the_inputs(yard: Yard) -> None:
    cuvee.merge(yard.file(recipe("ties", "./base", "a", "b")), yard.out)
    told = [(i["model"], i["base"], i["tensors"], i["parameters"]) for i in record_of(yard.out)["inputs"]]
    entries = sum(tensor.numel() for tensor in decoder(0).values())
    assert told == [("./base", True, 9, entries), ("a", False, 9, entries), ("b", False, 9, entries)]


def test_counts(yard: Yard) -> None:
    steps = {"steps": torch.tensor([3])}
    config = {"model_type": "small", "num_hidden_layers": 2, "tie_word_embeddings": True}
    for seed, name in enumerate(("x", "y")):
        tensors = decoder(seed) | steps
        tensors[HEAD] = tensors[EMBEDDING].clone()
        yard.model(name, tensors, config=config)
    result = cuvee.merge(yard.file(linear("x", "y")), yard.out)
    record = record_of(yard.out)
    assert record["counts"] == {"merged": 8, "copied": 1, "tied": 1, "lost": 0, "left_out": 0}
    assert (result.merged, result.copied, result.tied) == (8, 1, 1)
    assert (record["copied"], record["tied"]) == ({"steps": "int64 cannot be merged"}, {HEAD: EMBEDDING})
    assert HEAD not in read(yard.out)


@pytest.mark.parametrize("method", METHODS)
def test_the_papers_of_the_method_are_cited(yard: Yard, method: str) -> None:
    cuvee.merge(yard.file(recipe(method, "base", "a", "b")), yard.out)
    cited = methods.get(method).spec.cite
    assert [(c["text"], c.get("arxiv"), c.get("url")) for c in record_of(yard.out)["citations"]] == [
        (c.text, c.arxiv, c.url) for c in cited
    ]


def test_changes_of_the_configuration(yard: Yard) -> None:
    sources = [{"sources": [{"model": "a", "layer_range": [i, i + 1]}]} for i in (0, 1, 1)]
    data = {"merge_method": "passthrough", "slices": sources, "out_dtype": "bfloat16"}
    cuvee.merge(yard.file(data), yard.out)
    assert record_of(yard.out)["config_changes"] == {"num_hidden_layers": 3, "dtype": "bfloat16"}
    written = json.loads((yard.out / "config.json").read_text())
    assert (written["num_hidden_layers"], written["dtype"]) == (3, "bfloat16")


def test_sha256_on_request(yard: Yard) -> None:
    path = yard.file(linear("a", "b"))
    cuvee.merge(path, yard.out, shard_size=1500, sha256=True)
    expected = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in yard.out.glob("*.safetensors")}
    assert len(expected) > 1
    assert record_of(yard.out)["output"]["sha256"] == expected
    assert "sha256" not in cuvee.merge(path, yard.root / "without").record["output"]


def test_sha256_from_the_names_of_a_hub_cache(yard: Yard) -> None:
    """Large files of the cache are named by their SHA-256, so that it costs nothing to know."""
    snapshot = yard.root / "hub" / "models--me--a" / "snapshots" / "0123"
    blobs = snapshot.parent.parent / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    expected = {}
    for file in (yard.root / "a").iterdir():
        sha = hashlib.sha256(file.read_bytes()).hexdigest()
        blob = blobs / (sha if file.suffix == ".safetensors" else sha[:40])
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
        expected |= {file.name: sha} if file.suffix == ".safetensors" else {}
    told, other = cuvee.merge(linear(snapshot, yard.root / "b"), yard.out).record["inputs"]
    assert told["sha256"] == expected
    assert "sha256" not in other


# --- a merge done again from its record


@pytest.mark.parametrize("method", METHODS)
def test_a_merge_can_be_done_again_from_its_record(yard: Yard, method: str) -> None:
    cuvee.merge(yard.file(recipe(method, "base", "a", "./b", out_dtype="bfloat16")), yard.out, seed=77)
    record = record_of(yard.out)
    again = cuvee.recipe_from(record["recipe"], root=yard.root)
    assert recipe_hash(again) == record["recipe_sha256"]
    second = cuvee.merge(again, yard.root / "again", seed=record["seed"]).record
    assert second == record


def test_gradients_filters_and_slices_survive_the_record(yard: Yard) -> None:
    weight = [{"filter": "mlp", "value": [0.1, 0.9]}, {"filter": "*", "value": 0.3}]
    sources = [{"model": m, "layer_range": [0, 2], "parameters": {"weight": weight}} for m in ("a", "b")]
    data = {"merge_method": "ties", "base_model": "base", "slices": [{"sources": sources}], "name": "a blend"}
    cuvee.merge(yard.file({**data, "parameters": {"density": [0.2, 0.8]}}), yard.out)
    record = record_of(yard.out)
    again = from_data(record["recipe"], methods.specs(), root=yard.root)
    assert cuvee.merge(again, yard.root / "again").record["output"] == record["output"]


def test_the_recipe_beside_the_weights_is_the_one_recorded(yard: Yard) -> None:
    cuvee.merge(yard.file(recipe("ties", "base", "a", "b")), yard.out)
    shutil.copy(yard.out / "cuvee_recipe.yml", yard.root / "copy.yml")
    assert recipe_hash(cuvee.load_recipe(yard.root / "copy.yml")) == record_of(yard.out)["recipe_sha256"]
    again = cuvee.merge(yard.root / "copy.yml", yard.root / "again")
    assert again.record == record_of(yard.out)


def test_the_recipe_beside_the_weights_says_where_its_paths_start(yard: Yard) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    first = (yard.out / "cuvee_recipe.yml").read_text().splitlines()[0]
    assert first.startswith("# Model paths are relative to")


# --- verify


def outcomes(folder: Path) -> dict[str, str]:
    return {check.name: check.outcome for check in cuvee.verify(folder).checks}


@pytest.mark.parametrize("method", METHODS)
def test_a_good_output_is_found_good(yard: Yard, method: str) -> None:
    cuvee.merge(yard.file(recipe(method, "base", "a", "b")), yard.out, shard_size=1500)
    assert outcomes(yard.out) == {
        "readable": "ok",
        "finite": "ok",
        "tied": "ok",
        "index": "ok",
        "hashes": "ok",
        "record": "ok",
        "files": "ok",
        "extra": "ok",
        "loads": "skipped",
    }


def test_a_good_output_of_a_known_class_loads(tmp_path: Path) -> None:
    cellar = Cellar(tmp_path)
    cuvee.merge(linear(cellar.model("qwen2", 1), cellar.model("qwen2", 2)), tmp_path / "out")
    assert set(outcomes(tmp_path / "out").values()) == {"ok"}


def flip(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-9] ^= 1
    path.write_bytes(raw)


def change(**tensors: Tensor | None) -> Callable[[Path], None]:
    """Write the weights anew with some tensors changed, added, or (`None`) left out."""

    def apply(folder: Path) -> None:
        found: dict[str, Any] = load_file(folder / "model.safetensors") | tensors
        save_file({n: t for n, t in found.items() if t is not None}, folder / "model.safetensors", {"format": "pt"})

    return apply


def edit(name: str, before: str, after: str) -> Callable[[Path], None]:
    """Replace a piece of text."""

    def apply(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert before in text
        (folder / name).write_text(text.replace(before, after, 1), "utf-8")

    return apply


def record_change(*path: str | int, value: Any) -> Callable[[Path], None]:
    """Set one value of the record."""

    def apply(folder: Path) -> None:
        record = record_of(folder)
        at: Any = record
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        (folder / "cuvee.json").write_text(json.dumps(record))

    return apply


DAMAGE: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "a flipped bit": (flip, "hashes", "not as recorded: "),
    "a changed value": (change(**{Q: torch.ones(8, 8)}), "hashes", Q),
    "another dtype": (change(**{Q: torch.ones(8, 8).half()}), "hashes", Q),
    "another shape": (change(**{"model.norm.weight": torch.ones(4, 2)}), "hashes", "model.norm.weight"),
    "a tensor lost": (change(**{Q: None}), "hashes", Q),
    "a tensor too many": (change(extra=torch.ones(2)), "hashes", "extra"),
    "a NaN": (change(**{Q: torch.full((8, 8), float("nan"))}), "finite", f"NaN or infinity in {Q}"),
    "an infinity": (change(**{Q: torch.full((8, 8), float("-inf"))}), "finite", Q),
    "an edited config.json": (edit("config.json", '"hidden_size": 8', '"hidden_size": 9'), "files", "config.json"),
    "a blank in config.json": (edit("config.json", "\n}", "\n }"), "files", "config.json"),
    "an edited tokenizer": (edit("tokenizer.json", "1.0", "1.1"), "files", "tokenizer.json"),
    "an edited recipe": (edit("cuvee_recipe.yml", "0.25", "0.26"), "files", "cuvee_recipe.yml"),
    "a side file lost": (lambda folder: (folder / "tokenizer.json").unlink(), "files", "tokenizer.json"),
    "config.json lost": (lambda folder: (folder / "config.json").unlink(), "files", "config.json"),
    "weights cut short": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-4]),
        "readable",
        "model.safetensors",
    ),
    "weights lost": (lambda folder: (folder / "model.safetensors").unlink(), "readable", "no weights"),
    "config.json that is none": (lambda folder: (folder / "config.json").write_text("{"), "readable", "config.json"),
    "a record that is none": (lambda folder: (folder / "cuvee.json").write_text("{"), "hashes", "cannot be read"),
    "a record of nothing": (lambda folder: (folder / "cuvee.json").write_text("[]"), "hashes", "cannot be read"),
    "a record that lies of a tensor": (
        record_change("output", "tensors", Q, "xxh3_128", value="0" * 32),
        "hashes",
        Q,
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_named(yard: Yard, damage: str) -> None:
    do, check, words = DAMAGE[damage]
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    assert cuvee.verify(yard.out).ok
    do(yard.out)
    found = cuvee.verify(yard.out)
    assert not found.ok
    (failed,) = (c for c in found.checks if c.name == check)
    assert failed.outcome == "failed"
    assert words in failed.found


def test_a_missing_shard_is_found(yard: Yard) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out, shard_size=1500)
    lost = sorted(yard.out.glob("*.safetensors"))[1]
    lost.unlink()
    (check,) = cuvee.verify(yard.out).checks
    assert (check.name, check.outcome, lost.name in check.found) == ("readable", "failed", True)


def test_shards_that_changed_places_are_found(yard: Yard) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out, shard_size=1500)
    first, second, *_ = sorted(yard.out.glob("*.safetensors"))
    first.rename(yard.out / "x")
    second.rename(first)
    (yard.out / "x").rename(second)
    assert outcomes(yard.out) == {"readable": "failed"}


@pytest.mark.parametrize("found", ["several", "one"])
def test_all_that_is_bad_is_told_in_short(yard: Yard, found: str) -> None:
    names = [f"t{i}" for i in range(8 if found == "several" else 1)]
    folder = yard.model("bad", {n: torch.tensor([float("nan")]) for n in names})
    (check,) = (c for c in cuvee.verify(folder).checks if c.name == "finite")
    assert check.found.endswith("t0, t1, t2, t3, t4 and 3 more" if found == "several" else "in t0")


BROKEN_RECORDS = {
    "a tensor as text": record_change("output", "tensors", Q, value="x"),
    "a tensor as nothing": record_change("output", "tensors", Q, value=None),
    "nesting without end": lambda folder: (folder / "cuvee.json").write_text("[" * 100_000),
}


@pytest.mark.parametrize("case", BROKEN_RECORDS)
def test_a_record_of_the_wrong_form_is_a_failed_check(yard: Yard, case: str) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    BROKEN_RECORDS[case](yard.out)
    assert outcomes(yard.out)["hashes"] == "failed"


LIES = {
    "another recipe": record_change("recipe", "models", 0, "parameters", "weight", value=9),
    "another content": record_change("output", "content", value="0" * 32),
}


@pytest.mark.parametrize("case", LIES)
def test_a_record_that_contradicts_itself_is_found(yard: Yard, case: str) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    LIES[case](yard.out)
    assert not cuvee.verify(yard.out).ok


# --- verify on folders that others made


def test_a_folder_not_made_by_cuvee(yard: Yard) -> None:
    found = outcomes(yard.root / "a")
    assert found == {"readable": "ok", "finite": "ok", "tied": "ok", "hashes": "skipped", "loads": "skipped"}
    assert cuvee.verify(yard.root / "a").ok


def test_a_model_of_transformers(tmp_path: Path) -> None:
    folder = save(ZOO["llama"], 1, tmp_path / "llama")
    assert outcomes(folder) == {"readable": "ok", "finite": "ok", "tied": "ok", "hashes": "skipped", "loads": "ok"}


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_a_model_that_transformers_would_not_load_whole(tmp_path: Path, change: str) -> None:
    folder = save(ZOO["llama"], 1, tmp_path / "llama")
    tensors = read(folder)
    name = "model.layers.1.mlp.up_proj.weight"
    tensors = {
        "missing": {n: t for n, t in tensors.items() if n != name},
        "unexpected": tensors | {"model.layers.1.extra.weight": torch.ones(2)},
        "shape": tensors | {name: torch.ones(3, 32)},
    }[change]
    write_by_hand(folder, tensors, tmp_path / "changed")
    found = cuvee.verify(tmp_path / "changed")
    (check,) = (c for c in found.checks if c.name == "loads")
    words = {"missing": f"{name} (missing)", "unexpected": "extra.weight (unexpected)", "shape": f"{name} ([3, 32]"}
    assert check.outcome == "failed"
    assert words[change] in check.found


def test_a_stored_head_that_is_a_damaged_copy_of_what_it_is_tied_to(tmp_path: Path) -> None:
    ZOO["qwen2"].write(ZOO["qwen2"].build(1, vocab_size=SAMPLE), tmp_path / "qwen2")
    tensors = read(tmp_path / "qwen2")
    head = tensors[EMBEDDING].clone()
    good = tensors | {HEAD: head.clone()}
    head[-1] += 1
    bad = tensors | {HEAD: head}
    assert outcomes(write_by_hand(tmp_path / "qwen2", good, tmp_path / "good"))["tied"] == "ok"
    found = cuvee.verify(write_by_hand(tmp_path / "qwen2", bad, tmp_path / "bad"))
    (check,) = (c for c in found.checks if c.name == "tied")
    assert (check.outcome, HEAD in check.found) == ("failed", True)


def test_a_single_file(yard: Yard) -> None:
    assert outcomes(yard.root / "a" / "model.safetensors")["finite"] == "ok"


def test_a_legacy_file(yard: Yard) -> None:
    torch.save(cast(decoder(1), torch.bfloat16), yard.root / "model.bin")
    assert cuvee.verify(yard.root / "model.bin").ok


def test_nothing_to_verify(yard: Yard) -> None:
    with pytest.raises(InputError, match="no such file or folder") as caught:
        cuvee.verify(yard.root / "none")
    assert caught.value.code == "model-missing"


def test_progress_of_verify(yard: Yard) -> None:
    told: list[tuple[int, int]] = []
    cuvee.verify(yard.root / "a", progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 9) for i in range(9)]


# --- the command


def test_the_command_says_what_it_found(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    code, answer = command(capsys, "verify", yard.out)
    assert (code, answer["ok"]) == (0, True)
    flip(yard.out)
    code, answer = command(capsys, "verify", yard.out)
    assert (code, answer["ok"]) == (6, False)


def test_a_wide_model_is_looked_at_in_pieces(tmp_path: Path) -> None:
    wide = torch.zeros((1 << 22) + 5, dtype=torch.bfloat16)
    wide[-1] = float("inf")
    assert outcomes(write(tmp_path / "wide", {"w": wide}))["finite"] == "failed"
