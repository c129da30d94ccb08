"""The parts of tuning: settings, filters, rows, losses, steps, low-rank changes, memory."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from cuvee.errors import CheckFailed, InputError, ResourceError, UsageError
from cuvee.families.inputs import padding_token
from cuvee.families.running import Home, Running, load
from cuvee.tuning import room
from cuvee.tuning.asked import Asked
from cuvee.tuning.chosen import chosen, first_names, places
from cuvee.tuning.learner import Whole
from cuvee.tuning.loop import descend, optimiser_of
from cuvee.tuning.lora import LowRank
from cuvee.tuning.losses import batch_loss, measured, padded, ratio_error, row_losses
from cuvee.tuning.output import on_disk
from cuvee.tuning.rows import Example, Split, batches, split
from cuvee.types import TensorSpec
from tests.support.calibration import make_model
from tests.support.tuning import counting

PATH = Path("rows.jsonl")
LM = [Example(tuple(ids), None, tuple(ids[1:])) for ids in counting(12)]
ASKED = Asked(steps=3, batch_size=4, learning_rate=1e-2, warm_up=1, holdout=0.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    cases = ("llama", "llama tied", "gpt2", "bert classifier")
    return {case: make_model(root / case.replace(" ", "-"), case, tokenizer=False) for case in cases}


def specs_of(folder: Path) -> dict[str, TensorSpec]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return {name: TensorSpec(name, "float32", shape) for name, shape in shapes.items()}


def all_of(running: Running, folder: Path, only: tuple[str, ...] = ()) -> dict[str, torch.dtype]:
    specs = specs_of(folder)
    return dict(places(running, specs, chosen(specs, only)).dtypes)


# --- settings


def test_the_rate_rises_and_falls_in_equal_parts_and_is_never_nought() -> None:
    asked = Asked(steps=10, warm_up=4, learning_rate=1.0)
    assert [asked.rate_at(i) for i in range(10)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    )


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ({"steps": 0}, "steps"),
        ({"batch_size": True}, "batch_size"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": 1e30}, "learning_rate"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"clip": math.inf}, "clip"),
        ({"holdout": 1.0}, "holdout"),
        ({"warm_up": 200}, "warm_up"),
        ({"lora": 0}, "lora"),
        ({"dtype": "float16"}, "dtype"),
        ({"max_length": 1}, "max_length"),
        ({"only": ("",)}, "only"),
    ],
)
def test_a_setting_out_of_range_is_named(given: dict[str, Any], subject: str) -> None:
    assert [fault.subject for fault in Asked(**given).faults()] == [subject]


def test_good_settings_have_no_fault() -> None:
    assert not list(Asked().faults())
    assert not list(Asked(steps=1, warm_up=0, lora=4, only=("layers:0",), holdout=0).faults())


# --- filters


def test_filters_choose_by_layer_part_and_pattern() -> None:
    names = ("a.layers.1.x", "a.layers.10.x", "a.layers.2.y", "a.norm")
    specs = {name: TensorSpec(name, "float32", (2,)) for name in names}
    specs["a.position_ids"] = TensorSpec("a.position_ids", "int64", (2,))
    assert chosen(specs, ()) == list(names)
    assert chosen(specs, ("layers:1",)) == ["a.layers.1.x"]
    assert chosen(specs, ("layers:2-10",)) == ["a.layers.10.x", "a.layers.2.y"]
    assert chosen(specs, ("layers.1",)) == ["a.layers.1.x", "a.layers.10.x"]
    assert chosen(specs, ("*.y", "norm")) == ["a.layers.2.y", "a.norm"]


@pytest.mark.parametrize("one", ["layers:3-9", "nrom", "x*", "position_ids"])
def test_a_filter_that_meets_nothing_is_an_error(one: str) -> None:
    specs = {"layers.2.norm": TensorSpec("layers.2.norm", "float32", (2,))}
    specs["position_ids"] = TensorSpec("position_ids", "int64", (2,))
    with pytest.raises(UsageError) as caught:
        chosen(specs, ("norm", one))
    assert f"`{one}`" in str(caught.value)
    assert ("layers 2 to 2" in str(caught.value)) == one.startswith("layers:")


# --- rows


def test_no_row_is_on_both_sides_and_copies_stay_together() -> None:
    rows = [LM[i % 6] for i in range(40)]
    parts = split(rows, 0.5, 3, PATH)
    assert len(parts.held) == 3
    assert not set(parts.held) & set(parts.training)
    assert set(parts.held) | set(parts.training) == set(LM[:6])
    assert parts == split(rows, 0.5, 3, PATH)
    assert parts != split(rows, 0.5, 4, PATH)


def test_a_holdout_has_two_rows_or_none() -> None:
    assert len(split(LM, 0.01, 0, PATH).held) == 2
    assert split(LM, 0.0, 0, PATH) == Split(tuple(LM), ())
    with pytest.raises(InputError, match="2 rows are held out and one or more trained on; 2 differ"):
        split([LM[0], LM[1], LM[0]], 0.1, 0, PATH)


def test_every_row_comes_once_in_a_round() -> None:
    feed = batches(LM, 5, 0)
    first, second = ([row for _ in range(3) for row in next(feed)] for _ in range(2))
    assert sorted(r.ids for r in first) == sorted(r.ids for r in second) == sorted(r.ids for r in LM)
    assert first != second


# --- losses


@pytest.mark.parametrize("case", ["llama", "gpt2", "bert classifier"])
@pytest.mark.parametrize("pad", [0, 7])
def test_a_padded_batch_has_the_losses_of_its_rows_alone(folders: dict[str, Path], case: str, pad: int) -> None:
    model = load(folders[case]).model
    rows = LM[:5] if "bert" not in case else [Example(row.ids, i % 3) for i, row in enumerate(LM[:5])]
    assert len({len(row.ids) for row in rows}) > 1
    with torch.no_grad():
        sums, counts = row_losses(model, padded(rows, pad))
        alone = [row_losses(model, padded([row], pad)) for row in rows]
    assert counts.tolist() == [int(n) for _, n in alone]
    torch.testing.assert_close(sums, torch.cat([s for s, _ in alone]), rtol=1e-5, atol=1e-5)
    assert counts.tolist() == [1 if "bert" in case else len(row.ids) - 1 for row in rows]


def test_a_configuration_whose_padding_is_no_token_pads_with_another() -> None:
    told = [padding_token(transformers.LlamaConfig(pad_token_id=one)) for one in (3, 0, None, -1)]
    assert told == [3, 0, None, None]


def test_the_loss_of_a_row_is_that_of_its_targets_by_hand(folders: dict[str, Path]) -> None:
    model = load(folders["llama"]).model
    row = Example((5, 6, 7, 8), None, (-100, 40, 8))
    with torch.no_grad():
        logs = model(input_ids=torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
        sums, counts = row_losses(model, padded([row, LM[0]], 0))
    assert int(counts[0]) == 2
    assert float(sums[0]) == pytest.approx(-float(logs[1, 40] + logs[2, 8]), rel=1e-5)


def test_transformers_own_loss_is_the_same(folders: dict[str, Path]) -> None:
    model = load(folders["llama"]).model
    row = LM[0]
    with torch.no_grad():
        ids = torch.tensor([row.ids])
        assert float(batch_loss(model, padded([row], 0))) == pytest.approx(
            float(model(input_ids=ids, labels=ids).loss), rel=1e-5
        )


def test_the_error_of_a_mean_over_rows() -> None:
    values = np.array([1.0, 4.0, 2.0, 9.0])
    assert ratio_error(list(values), [1] * 4) == pytest.approx(values.std(ddof=1) / 2)
    rng = np.random.default_rng(0)  # rows of several lengths, against rows drawn again with replacement
    counts = rng.integers(2, 9, 200)
    sums = counts * 1.5 + rng.normal(0, 1, 200) * counts
    picks = rng.integers(0, 200, (4000, 200))
    drawn = sums[picks].sum(1) / counts[picks].sum(1)
    assert ratio_error(sums.tolist(), counts.tolist()) == pytest.approx(drawn.std(), rel=0.06)


def test_measuring_is_in_order_of_rows_and_without_dropout(folders: dict[str, Path]) -> None:
    model = load(folders["gpt2"]).model.train()  # GPT-2 drops a tenth out
    how = {"pad": 0, "dtype": torch.float32, "device": "cpu"}
    found = measured(model, LM, size=5, **how)
    assert model.training
    assert found.counts == tuple(len(row.ids) - 1 for row in LM)
    assert found.sums == pytest.approx(measured(model, LM, size=1, **how).sums, rel=1e-5)


# --- steps


def test_the_steps_are_those_of_plain_torch(folders: dict[str, Path]) -> None:
    ours, model = load(folders["llama"]), load(folders["llama"]).model
    asked = Asked(steps=3, batch_size=4, learning_rate=1e-2, warm_up=1, weight_decay=0.1, clip=0.5, holdout=0.0)
    dtypes = all_of(ours, folders["llama"])
    course = descend(ours.model, Whole(ours.model, dtypes), Split(tuple(LM), ()), asked, dtypes)

    named = list(model.named_parameters())
    groups = [
        {"params": [p for _, p in named if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for _, p in named if p.dim() == 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)
    for rate, rows, told in zip((5e-3, 1e-2, 5e-3), batches(LM, 4, 0), course.losses, strict=False):
        for group in adam.param_groups:
            group["lr"] = rate
        adam.zero_grad()
        total, count = torch.zeros(()), 0
        for row in rows:  # one by one, without padding
            logs = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
            total = total - sum(logs[at, token] for at, token in enumerate(row.ids[1:]))
            count += len(row.ids) - 1
        assert told == pytest.approx(total.item() / count, rel=1e-4)
        torch.autograd.backward(total / count)
        norm = math.sqrt(sum(float((p.grad**2).sum()) for _, p in named if p.grad is not None))
        for _, p in named:
            p.grad = p.grad * min(1.0, 0.5 / norm)  # type: ignore[operator]
        adam.step()
    assert course.best is not None
    assert len(course.losses) == 3
    for name, parameter in named:
        torch.testing.assert_close(course.best[name], parameter.detach(), rtol=1e-3, atol=2e-5)


def test_decay_is_not_for_norms_and_biases(folders: dict[str, Path]) -> None:
    running = load(folders["gpt2"])
    adam = optimiser_of(Whole(running.model, all_of(running, folders["gpt2"])), Asked(weight_decay=0.5))
    assert [{p.dim() == 1 for p in g["params"]} for g in adam.param_groups] == [{False}, {True}]
    assert [g["weight_decay"] for g in adam.param_groups] == [0.5, 0.0]


def test_a_loss_that_is_no_number_names_its_step(folders: dict[str, Path]) -> None:
    running = load(folders["llama"])
    dtypes = all_of(running, folders["llama"])
    asked = Asked(steps=9, batch_size=4, learning_rate=9e29, warm_up=0, holdout=0.0)
    with pytest.raises(CheckFailed, match=r"of step 2 of 9 should be a finite number; it is (nan|inf)") as caught:
        descend(running.model, Whole(running.model, dtypes), Split(tuple(LM), ()), asked, dtypes)
    assert caught.value.code == "non-finite"


def test_it_stops_when_nothing_is_gained_and_keeps_the_best(folders: dict[str, Path]) -> None:
    running = load(folders["llama"])
    dtypes = all_of(running, folders["llama"])
    before = {name: p.detach().clone() for name, p in running.model.named_parameters()}
    wrong = [Example(row.ids, None, tuple(1 for _ in row.targets)) for row in LM[:6]]  # rows that teach nonsense
    asked = Asked(steps=50, batch_size=4, learning_rate=1e-2, warm_up=0, check_every=1, patience=3)
    course = descend(running.model, Whole(running.model, dtypes), Split(tuple(wrong), tuple(LM[6:])), asked, dtypes)
    losses = [check.loss for check in course.checks]
    assert course.stopped
    assert len(course.losses) == course.kept + 3 < 50
    assert course.after is not None
    assert course.after.loss == min(losses) == losses[course.kept]
    assert (course.best is None) == (course.kept == 0)
    assert before.keys() == dtypes.keys()


def test_a_tied_head_is_one_parameter(folders: dict[str, Path]) -> None:
    running = load(folders["llama tied"])
    names = first_names(running.model)
    assert names["lm_head.weight"] == names["model.embed_tokens.weight"] == "model.embed_tokens.weight"
    found = all_of(running, folders["llama tied"])
    assert "lm_head.weight" not in found
    learner = Whole(running.model, found)
    assert len(learner.leaves) == len(found) == len(list(running.model.parameters()))


def test_dropout_is_on_in_a_step(folders: dict[str, Path]) -> None:
    running = load(folders["gpt2"])  # drops a tenth out
    dtypes = all_of(running, folders["gpt2"])
    rows = Split(tuple(LM[:4]), ())
    plain = batch_loss(running.model, padded(next(batches(LM[:4], 4, 0)), 0)).item()
    course = descend(running.model, Whole(running.model, dtypes), rows, Asked(steps=1, batch_size=4, holdout=0), dtypes)
    assert course.losses[0] != pytest.approx(plain, rel=1e-4)
    assert not running.model.training


def test_tensors_that_are_rearranged_in_memory_go_back_to_their_places() -> None:
    memory = {"ab": torch.arange(6.0).reshape(2, 3), "c": torch.arange(10.0, 14.0)}
    homes = {
        "a": Home(("ab",), range(3)),
        "b": Home(("ab",), range(3, 6)),
        "d": Home(("ab", "c"), torch.tensor([9, 0, 6, 5])),
        "c": Home(("also c",)),
        "e": Home(("elsewhere",)),
    }
    names = {"ab": "ab", "c": "c", "also c": "c", "elsewhere": "elsewhere"}
    found = {name: value.tolist() for name, value in on_disk(memory, homes, names).items()}
    assert found == {"a": [0, 1, 2], "b": [3, 4, 5], "d": [13, 0, 10, 5], "c": [10, 11, 12, 13]}


# --- low rank


@pytest.mark.parametrize("case", ["llama", "gpt2"])
def test_low_rank_changes_are_added_as_peft_adds_them(folders: dict[str, Path], case: str) -> None:
    import peft

    running = load(folders[case])
    plain = copy.deepcopy(running.model)
    dtypes = all_of(running, folders[case])
    torch.manual_seed(0)
    learner = LowRank(running.model, dtypes, 2)
    with torch.no_grad():
        for leaf in learner.leaves:
            leaf.add_(0.1 * torch.randn(leaf.shape))
    names = [name.removesuffix(".weight") for name in learner.values()]
    assert names
    assert not any("head" in name or "embed" in name or "wte" in name for name in names)
    transposed = case == "gpt2"
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=names, fan_in_fan_out=transposed)
    theirs = peft.get_peft_model(plain, config)
    own = {name: p for name, p in running.model.named_parameters() if "lora_" in name}
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            if "lora_" in name:
                p.copy_(own.pop(name.removeprefix("base_model.model.")))
    assert not own
    merged = dict(theirs.merge_and_unload().named_parameters())
    for name, value in learner.values().items():
        assert torch.equal(value, merged[name].detach()), name


def test_a_model_with_the_sum_answers_as_one_with_low_rank_changes(folders: dict[str, Path]) -> None:
    running = load(folders["gpt2"])
    learner = LowRank(running.model, all_of(running, folders["gpt2"]), 2)
    with torch.no_grad():
        for leaf in learner.leaves:
            leaf.add_(0.1 * torch.randn(leaf.shape, generator=torch.Generator().manual_seed(1)))
        batch = padded(LM[:4], 0)
        through = batch_loss(running.model, batch)
        with learner.standing(learner.values()):
            summed = batch_loss(running.model, batch)
        again = batch_loss(running.model, batch)
    torch.testing.assert_close(summed, through, rtol=1e-5, atol=1e-6)
    assert torch.equal(again, through)
    assert all(leaf.requires_grad for leaf in learner.leaves)
    assert len(learner.leaves) == 2 * len(learner.values())


def test_without_a_linear_map_there_is_nothing_for_low_rank_changes(folders: dict[str, Path]) -> None:
    running = load(folders["llama"])
    with pytest.raises(InputError, match="LoRA changes linear maps"):
        LowRank(running.model, all_of(running, folders["llama"], ("norm", "embed", "lm_head")), 2)


# --- memory


def test_the_estimate_counts_weights_gradients_moments_and_states() -> None:
    specs = {
        "w": TensorSpec("w", "bfloat16", (10, 20)),
        "b": TensorSpec("b", "bfloat16", (20,)),
        "ids": TensorSpec("ids", "int64", (7,)),
    }
    states = 2 * 2 + 4
    assert room.memory_needed(specs, ["w", "b"], Asked()) == 220 * (4 + 12 + states)
    assert room.memory_needed(specs, ["b"], Asked()) == 220 * 4 + 20 * (12 + states)
    assert room.memory_needed(specs, ["w", "b"], Asked(lora=3)) == 220 * 4 + 16 * 3 * 30 + 200 * states


def test_what_does_not_fit_is_refused_with_both_figures() -> None:
    with pytest.raises(ResourceError, match=r"takes 2\.0 GB besides activations .* 1\.0 GB are free on cpu"):
        room.check_memory("m", 2_000_000_000, "cpu", free=1_000_000_000)
    room.check_memory("m", 2_000_000_000, "cpu", free=2_000_000_000)
