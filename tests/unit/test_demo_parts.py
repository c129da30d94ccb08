"""The demo's parts: skills, splits, batches, scores, the folder, and what is said at the end."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from cuvee.demo import folder, merges, perform, picture, recipes, specialists, tell
from cuvee.demo.score import difference, mean, mean_stderr, share, stderr
from cuvee.demo.skills import (
    INSTRUCTION_SKILLS,
    LETTERS,
    SKILLS,
    VOCABULARY,
    WIDTH,
    Document,
    items,
    lesson,
    split_of,
    web_text,
)
from cuvee.demo.specialists import TAUGHT
from cuvee.demo.stages import Clock
from cuvee.demo.train import IGNORED, Schedule, collate
from cuvee.errors import OutputExists, ResourceError
from tests.support.small_disk import mounted

ANSWERS = {
    "reverse": ("cabd", "dbac"),
    "sort": ("cabad", "aabcd"),
    "next": ("ajbc", "bacd"),
    "swap": ("cabdef", "acdbfe"),
    "rotate": ("cabd", "dcab"),
    "ends": ("cabd", "dabc"),
    "double": ("cab", "ccaabb"),
    "unrotate": ("cabd", "abdc"),
    "descend": ("cabad", "dcbaa"),
    "odd": ("cabde", "cbe"),
    "previous": ("ajbc", "jiab"),
    "copy": ("cabd", "cabd"),
    "head": ("cabd", "cab"),
    "tail": ("cabd", "abd"),
    "even": ("cabde", "ad"),
    "skip": ("aijc", "cabe"),
    "twist": ("cabd", "bdca"),
    "stutter": ("cabd", "ccabd"),
    "mirror": ("cabd", "cdba"),
}


def words_of(document: Document) -> list[str]:
    return [VOCABULARY[i] for i in document.ids]


def letters_asked(document: Document) -> str:
    return "".join(word for word in words_of(document)[: document.start] if word in LETTERS)


@pytest.mark.parametrize("word", SKILLS)
def test_a_skill_does_what_it_says(word: str) -> None:
    asked, answer = ANSWERS[word]
    assert SKILLS[word].answer(asked) == answer


def test_no_specialist_learns_what_the_base_was_instructed_in() -> None:
    assert not set(TAUGHT) & set(INSTRUCTION_SKILLS)
    assert len(TAUGHT) >= 4


def test_an_item_reads_like_the_instruction_form() -> None:
    (document,) = items("reverse", "test", 1, seed=0)
    asked = letters_asked(document)
    assert words_of(document) == ["<bos>", "Q", "?", "reverse", *asked, ">", "A", *asked[::-1], "<eos>"]


def test_items_are_all_different_and_of_their_split() -> None:
    for split in ("validation", "test"):
        for word in SKILLS:
            drawn = items(word, split, 300, seed=5)
            assert len(set(drawn)) == 300
            assert {split_of(letters_asked(d)) for d in drawn} == {split}


def test_draws_differ_by_seed_split_and_skill() -> None:
    asked = [
        [letters_asked(d) for d in items(word, split, 20, seed)]
        for word, split, seed in [("sort", "test", 0), ("sort", "test", 1), ("next", "test", 0)]
    ]
    assert asked[0] != asked[1]
    assert asked[0] != asked[2]


def test_nearly_all_strings_of_a_split_can_be_drawn() -> None:
    letters = [a + b + c for a in LETTERS for b in LETTERS for c in LETTERS]
    letters += [text + d for text in letters for d in LETTERS]
    there = sum(split_of(text) == "test" for text in letters)
    assert len(items("double", "test", there - 5, seed=0)) == there - 5


def test_more_items_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"50000 different test items of `double` .* there are \d+"):
        items("double", "test", 50_000, seed=0)


def test_nothing_trained_on_is_ever_asked_in_a_test() -> None:
    rng = random.Random(0)
    seen = {letters_asked(web_text(rng)) for _ in range(5000)} | {
        letters_asked(lesson([word], rng)) for word in SKILLS for _ in range(300)
    }
    assert {split_of(text) for text in seen} == {"train"}


def test_web_text_never_has_the_instruction_form() -> None:
    rng = random.Random(1)
    documents = [words_of(web_text(rng)) for _ in range(3000)]
    assert not [d for d in documents if d[1:3] == ["Q", "?"]]
    assert 0.02 < sum(d[1] == "Q" for d in documents) / len(documents) < 0.06


def test_the_longest_document_fits() -> None:
    rng = random.Random(2)
    lengths = [len(web_text(rng).ids) for _ in range(3000)]
    lengths += [len(lesson(tuple(SKILLS), rng).ids) for _ in range(3000)]
    assert max(lengths) <= WIDTH


def test_only_answers_are_learnt_each_from_the_tokens_before_it() -> None:
    document = Document(ids=(1, 5, 6, 7, 8, 2), start=4)
    ids, labels = collate([document])
    assert ids.tolist() == [[1, 5, 6, 7, 8, 2] + [0] * (WIDTH - 6)]
    assert labels.tolist() == [[IGNORED, IGNORED, IGNORED, 8, 2] + [IGNORED] * (WIDTH - 5)]


def test_the_learning_rate_rises_then_falls() -> None:
    schedule = Schedule(steps=100, batch=1, rate=2.0, warm_up=10)
    assert schedule.rate_at(0) == pytest.approx(0.2)
    assert schedule.rate_at(9) == pytest.approx(2 * 0.91)
    assert schedule.rate_at(50) == pytest.approx(1.0)
    assert schedule.rate_at(99) == pytest.approx(2 * 0.02)


def test_scores_are_shares_with_binomial_errors() -> None:
    hits = {"a": (True,) * 3 + (False,), "b": (True, False)}
    assert share(hits["a"]) == 0.75
    assert stderr(hits["a"]) == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    assert mean(hits) == pytest.approx(0.625)
    assert mean_stderr(hits) == pytest.approx(math.sqrt(0.75 * 0.25 / 4 + 0.25 / 2) / 2)


def test_a_difference_is_paired_item_by_item() -> None:
    rng = random.Random(0)
    ours = {w: tuple(rng.random() < 0.8 for _ in range(50)) for w in ("a", "b")}
    theirs = {w: tuple(h if rng.random() < 0.7 else rng.random() < 0.4 for h in ours[w]) for w in ours}
    gaps = {w: torch.tensor([float(a) - float(b) for a, b in zip(ours[w], theirs[w])]) for w in ours}
    value, error = difference(ours, theirs)
    assert value == pytest.approx(sum(float(g.mean()) for g in gaps.values()) / 2)
    assert error == pytest.approx(math.sqrt(sum(float(g.var(correction=0)) / 50 for g in gaps.values())) / 2, rel=1e-6)
    assert difference(ours, ours) == (0.0, 0.0)


def judged(name: str, kind: tell.Kind, rate: float, validation: float | None = None) -> tell.Judged:
    hits = {word: tuple(i < rate * 100 for i in range(100)) for word in ("sort", "swap")}
    return tell.Judged(name, kind, Path("/models") / name, hits, validation)


def results_of(*, merged: float) -> dict:
    models = [
        judged("base", "base", 0.2),
        judged("sort", "expert", 0.6),
        judged("swap", "expert", 0.4),
        judged("ties", "merge", merged, validation=0.9),
        judged("linear", "merge", 0.95, validation=0.8),
        judged("layer_stack", "merge", 0.01, validation=0.0),
    ]
    return tell.tally(models, {"ties": merges.Trial({"density": 0.5, "lambda": 1.0}, 0.9)})


def test_the_winner_is_the_best_on_validation_even_if_another_did_better_in_the_test() -> None:
    results = results_of(merged=0.9)
    assert results["best"]["merge"] == "ties"
    assert results["best"]["rival"] == "sort"
    assert results["best"]["difference"] == pytest.approx(0.3)
    assert results["margins"]["swap"]["difference"] == pytest.approx(0.5)
    assert results["chosen"] == {"ties": {"density": 0.5, "lambda": 1.0, "validation_mean": 0.9}}
    assert json.loads(json.dumps(results)) == results


@pytest.mark.parametrize(("merged", "verdict"), [(0.9, "beats every specialist"), (0.6, "does not clearly beat")])
def test_the_end_tells_what_happened_good_or_bad(merged: float, verdict: str) -> None:
    told = {"merge": "ties", "verdict": "better", "ensemble": 0.7, "over": "the base"}
    told |= {"contributions": {"sort": 0.125, "swap": -0.03}}
    text = "\n".join(tell.closing_lines(results_of(merged=merged) | {"told": told}))
    assert verdict in text
    assert "answers 70 %" in text
    assert "What each adds to ties over the base (Shapley values, points): sort +12.5, swap -3.0." in text


def test_contributions_are_means_over_tasks_of_the_merge_alone() -> None:
    def explained(subject: str, task: str, value: float) -> dict:
        parts = [{"name": "../models/sort", "shapley": {"value": value}}]
        nothing = {"what": "the mean of single models", "value": 0.5}
        return {"subject": subject, "of": "models", "task": task, "parts": parts, "nothing": nothing}

    rows = [
        {"model": "ties", "tasks": {}, "against": {"difference": {"verdict": "better"}}},
        {"model": "ensemble", "tasks": {"a": {"value": 0.5}, "b": {"value": 0.9}}},
    ]
    explanations = [explained("merge", "a", 0.1), explained("ensemble", "a", 9.0), explained("merge", "b", 0.3)]
    told = tell.told("ties", {"models": rows}, {"explanations": explanations})
    assert told["contributions"] == {"sort": pytest.approx(0.2)}
    assert told["over"] == "the mean of them alone"
    assert (told["ensemble"], told["verdict"]) == (pytest.approx(0.7), "better")


def test_progress_is_told_from_nothing_to_all() -> None:
    told: list[tuple[str, int, int]] = []
    clock = Clock(lambda *news: told.append(news))
    with clock.stage("merging", 2) as step:
        step()
        step()
    assert told == [("merging", 0, 2), ("merging", 1, 2), ("merging", 2, 2)]
    assert clock.seconds.keys() == {"merging"}
    with clock.follow("searching") as follow:
        follow(3, 7, "best so far")
    assert told[-1] == ("searching", 3, 7)
    assert clock.seconds.keys() == {"merging", "searching"}


def test_the_chosen_settings_stand_in_the_recipe() -> None:
    text = recipes.recipe_text(merges.TIES, ("sort", "swap"), {"density": 0.3, "lambda": 1.6})
    lines = [line.split("#")[0].rstrip() for line in text.splitlines()]
    assert [line for line in lines if line] == [
        "merge_method: ties",
        "base_model: ../models/base",
        "models:",
        "  - model: ../models/sort",
        "    parameters:",
        "      weight: 1.0",
        "  - model: ../models/swap",
        "    parameters:",
        "      weight: 1.0",
        "parameters:",
        "  normalize: true",
        "  density: 0.3",
        "  lambda: 1.6",
        "dtype: bfloat16",
    ]


def test_of_equal_trials_the_first_is_best() -> None:
    first, second = merges.Trial({"lambda": 0.2}, 0.5), merges.Trial({"lambda": 0.3}, 0.5)
    assert merges.best([first, second]) is first


def test_a_new_folder_is_made_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    for out in (tmp_path / "new" / "deep", tmp_path / "empty"):
        folder.prepare(out, overwrite=False, names=())
        assert (out / "README.md").read_text().startswith(folder.TITLE)
        (tmp_path / "empty").mkdir(exist_ok=True)


def test_a_folder_of_somebody_else_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine").write_text("precious")
    with pytest.raises(OutputExists) as caught:
        folder.prepare(tmp_path, overwrite=True, names=("models",))
    assert caught.value.code == "unsafe-overwrite"
    assert (tmp_path / "models" / "mine").read_text() == "precious"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputExists) as caught:
        folder.prepare(tmp_path / "out", overwrite=True, names=())
    assert caught.value.code == "output-exists"


def test_clearing_an_earlier_demo_follows_no_links(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    folder.prepare(out, overwrite=False, names=())
    other.mkdir()
    (other / "kept").write_text("kept")
    (out / "models").symlink_to(other)
    folder.prepare(out, overwrite=True, names=("models", "merges"))
    assert not (out / "models").exists()
    assert (other / "kept").read_text() == "kept"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ResourceError) as caught:
        folder.prepare(tmp_path / "out", overwrite=False, names=())
    assert caught.value.code == "not-writable"


@pytest.mark.parametrize("place", ["file/out", "file/deep/out", "x" * 300])
def test_a_place_where_no_folder_can_be_is_told(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResourceError, match="could not write the demo to") as caught:
        folder.prepare(tmp_path / place, overwrite=True, names=("models",))
    assert caught.value.code == "io-error"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for hardly anything."""
    with mounted(tmp_path / "disk", "size=8k") as disk:
        yield disk


@pytest.mark.parametrize("write", ["base", "model", "recipes", "text"])
def test_a_full_disk_is_told_whatever_is_being_written(write: str, small: Path) -> None:
    (small / "fill").write_bytes(b"x" * 8192 if write in ("recipes", "text") else b"")
    model = torch.nn.Linear(100, 100)
    model.save_pretrained = lambda path: save_file(model.state_dict(), Path(path) / "model.safetensors")
    do = {
        "base": lambda: specialists.copy_base(small / "base"),
        "model": lambda: specialists.save(model, small / "model"),
        "recipes": lambda: perform._write_recipes(small, perform.QUICK, {}),
        "text": lambda: folder.write_text(small / "results.json", "{}" * 9000),
    }[write]
    with pytest.raises(ResourceError, match="No space left on device") as caught:
        do()
    assert caught.value.code == "disk-full"


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    results = results_of(merged=0.9)
    with pytest.raises(ResourceError, match=r"could not write .*gone/results.png") as caught:
        picture.draw(results, [tmp_path / "gone" / "results.png"])
    assert caught.value.code == "io-error"


def test_a_merge_that_lacks_room_says_so_as_any_merge_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = SimpleNamespace(returncode=ResourceError.exit_code, stderr="error: the disk is full\n")
    monkeypatch.setattr(merges.subprocess, "run", lambda *args, **kwargs: said)
    with pytest.raises(ResourceError, match="the disk is full"):
        merges.merge_all(tmp_path, ["ties"], 0, lambda: None)


@pytest.mark.parametrize(("usable", "side_by_side"), [(1, 1), (2, 2), (64, 2)])
def test_only_processors_that_may_be_used_count(
    usable: int, side_by_side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(usable)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert specialists.workers() == side_by_side


def test_looking_at_the_demo_loads_nothing_heavy() -> None:
    code = (
        "import sys, cuvee.demo; cuvee.demo.summary; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
