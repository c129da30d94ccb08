"""What the claims' models are made and asked of: the same from the same seed, and what the text says it is."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
import torch

from benchmarks.claims import glyph_clip, soups
from benchmarks.claims import strings as skills
from benchmarks.claims.glyphs import Hand, _pixels, distances, embeddings, glyphs, template
from cuvee.demo.skills import EOS, WIDTH, split_of

ANSWERS = {
    "reverse": ("abcd", "dcba"),
    "sort": ("cabd", "abcd"),
    "next": ("aijd", "bjae"),
    "swap": ("abcd", "badc"),
    "close": ("([])({", "})"),
    "double": ("abc", "aabbcc"),
    "rotate": ("abcd", "dabc"),
    "ends": ("abcd", "dbca"),
    "unrotate": ("abcd", "bcda"),
    "descend": ("bcad", "dcba"),
    "odd": ("abcde", "ace"),
    "previous": ("abcj", "jabi"),
}


@pytest.mark.parametrize("word", [*skills.HELD_IN, *skills.HELD_OUT])
def test_a_skill_does_what_it_should(word: str) -> None:
    asked, answer = ANSWERS[word]
    assert skills.SKILLS[word].answer(asked) == answer


def test_brackets_are_only_closed_from_the_inside_and_never_all() -> None:
    rng = random.Random(0)
    drawn = [skills.draw_brackets(rng) for _ in range(2000)]
    assert {len(text) for text in drawn} == {4, 5, 6}
    assert all(skills.closing(text) for text in drawn)
    counts = Counter("".join(drawn))
    assert all(counts[skills.CLOSES[one]] > 300 for one in skills.OPENING)


@pytest.mark.parametrize("word", skills.SKILLS)
def test_items_come_from_the_seed_and_fit(word: str) -> None:
    first, again, other = (skills.items(word, "test", 40, seed) for seed in (1, 1, 2))
    assert first == again
    assert set(first) != set(other)
    assert len(set(first)) == 40
    assert all(len(item.ids) <= WIDTH and item.ids[-1] == EOS for item in first)


def test_no_input_of_a_test_is_ever_trained_on() -> None:
    rng = random.Random(3)
    for word, skill in skills.SKILLS.items():
        assert {split_of(skills.draw_input(skill, "train", rng)) for _ in range(50)} == {"train"}
        assert {split_of(text) for text in skills.inputs(word, "test", 50, 0)} == {"test"}


def test_two_skills_are_not_asked_the_same_strings() -> None:
    assert set(skills.inputs("reverse", "test", 40, 0)) != set(skills.inputs("sort", "test", 40, 0))


def test_a_task_on_disk_is_what_the_models_are_asked(tmp_path: Path) -> None:
    skills.write_task("close", tmp_path / "close", {"train": 5, "validation": 4, "test": 30}, 7)
    rows = [json.loads(line) for line in (tmp_path / "close" / "test.jsonl").read_text("utf-8").splitlines()]
    ids = {token: i for i, token in enumerate(skills.VOCABULARY)}
    told = [tuple(ids[t] for t in ("<bos>", *r["prompt"].split(), *r["answer"].split(), "<eos>")) for r in rows]
    assert told == [item.ids for item in skills.items("close", "test", 30, 7)]
    assert len((tmp_path / "close" / "train.jsonl").read_text("utf-8").splitlines()) == 5


def test_a_tokenizer_on_disk_gives_the_ids_of_the_models(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    skills.write_tokenizer(tmp_path, 32)
    words = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    item = skills.instruction("close", "([]{")
    prompt = " ".join(skills.prompt_of("close", "([]{"))
    assert tuple(words.encode(prompt).ids) == item.ids[: item.start]


def test_pictures_come_from_the_seed() -> None:
    first, again, other = (glyphs([5, 6, 7], 30, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (30, 1, 16, 16)
    assert set(first[1].tolist()) == {0, 1, 2}


def slow_distance(x: float, y: float, strokes: list[list[list[float]]]) -> float:
    """From a point to the nearest of the segments, by looking at many points of each."""
    best = math.inf
    for stroke in strokes:
        for (ax, ay), (bx, by) in pairwise(stroke):
            for step in range(401):
                t = step / 400
                best = min(best, math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)))
    return best


def test_distances_are_those_to_the_nearest_stroke() -> None:
    points = template(11)
    found = distances(points[None])[0]
    for place in (0, 17, 100, 255):
        x, y = _pixels()[place].tolist()
        assert found[place].item() == pytest.approx(slow_distance(x, y, points.tolist()), abs=0.01)


def test_rows_go_down_and_columns_to_the_right() -> None:
    assert _pixels()[1].tolist()[0] > _pixels()[0].tolist()[0]
    assert _pixels()[16].tolist()[1] > _pixels()[0].tolist()[1]


def test_ink_is_near_one_and_ground_near_nothing() -> None:
    still = Hand(0, 0, 0, 0, 0, (0.1, 0.1), 0)
    picture = glyphs([3], 1, 0, still)[0][0, 0].flatten()
    away = distances(template(3)[None])[0]
    assert picture[away < 0.02].min() > 0.9
    assert picture[away > 0.25].max() < 0.01


def test_heads_have_length_one_and_depend_on_their_class_alone() -> None:
    some, more = embeddings([2000, 2001]), embeddings([2001, 1003, 2000])
    torch.testing.assert_close(some.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(some[0], more[2])
    assert (some[0] @ some[1]).abs() < 0.99


def test_distortions_are_what_they_are_called() -> None:
    pictures, _ = glyphs([1], 2, 0)
    draw = torch.Generator().manual_seed(0)
    seen = {task: glyph_clip.distorted(task, pictures, draw) for task in glyph_clip.TASKS}
    torch.testing.assert_close(seen["inversion"], 1 - pictures)
    torch.testing.assert_close(seen["stripes"][:, :, 4:6], pictures[:, :, 4:6] + 0.6)
    torch.testing.assert_close(seen["stripes"][:, :, 6:8], pictures[:, :, 6:8])
    assert [(one != pictures).flatten(1).sum(1).tolist() for one in [seen["occlusion"]]] == [[36, 36]]
    torch.testing.assert_close(seen["ramp"][..., 0] + 1, pictures[..., 0])
    torch.testing.assert_close(seen["rot90"][0, 0, 0], pictures[0, 0, :, -1])


def test_a_split_of_a_task_does_not_depend_on_the_others() -> None:
    alone = glyph_clip.task_data(4, glyph_clip.QUICK, ["test"], 1)["test"]
    among = glyph_clip.task_data(4, glyph_clip.QUICK, ["train", "validation", "test"], 1)
    assert torch.equal(alone[0], among["test"][0])
    assert not torch.equal(among["validation"][0][:5], among["test"][0][:5])


def test_a_sweep_comes_from_its_seed() -> None:
    first, again, other = (soups.drawn_runs(soups.FULL, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert len(first) == 14
    assert all(10**-3.7 <= run.rate <= 10**-2.4 and run.steps in (100, 200, 300) for run in first)


def test_a_greedy_soup_is_never_below_the_best_single() -> None:
    """By the score it was made with; the scores here are of a hill with its top between the models."""
    rng = random.Random(0)
    for _ in range(4):
        states = {str(i): {"w": torch.tensor([rng.gauss(0, 1)], dtype=torch.float64)} for i in range(5)}
        order = sorted(states, key=lambda name: states[name]["w"].abs().item())
        members = soups.greedy(states, lambda state: -state["w"].abs().item(), order)
        soup = fmean(states[name]["w"].item() for name in members)
        assert members[0] == order[0]
        assert abs(soup) <= states[order[0]]["w"].abs().item() + 1e-9


def test_a_greedy_soup_takes_what_helps_and_leaves_what_does_not() -> None:
    states = {name: {"w": torch.tensor([value])} for name, value in {"a": 1.0, "b": 5.0, "c": -1.0}.items()}
    assert soups.greedy(states, lambda state: -state["w"].abs().item(), ["a", "b", "c"]) == ["a", "c"]
