"""Routers found from prompts: trained specialists, classes of transformers, and where held-out texts are sent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file

import cuvee
from cuvee.errors import CuveeError, InputError, OutputExists, RecipeError, UsageError
from tests.support.command_line import call
from tests.support.specialists import (
    LENGTH,
    SIZES,
    SPECIALITIES,
    Specialists,
    loss,
    texts,
    tokenizer,
    write_specialists,
)
from tests.support.tokenizers import save
from tests.support.zoo import seeded

KINDS = {"llama": "block_sparse_moe.gate.weight", "qwen2": "mlp.gate.weight"}
HELD_OUT = {name: texts(name, 30, 999) for name in SPECIALITIES}


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Specialists]:
    kind: str = request.param
    return kind, write_specialists(tmp_path_factory.mktemp(kind), kind)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Specialists:
    """Models whose training hardly matters: what routers are made of is told by any model."""
    return write_specialists(tmp_path_factory.mktemp("any"), base_steps=1, steps=1)


def test_texts_of_every_speciality_go_mainly_to_its_expert(made: tuple[str, Specialists], tmp_path: Path) -> None:
    kind, models = made
    steps: list[cuvee.Progress] = []
    config = models.config(12, gate_mode="least_squares")
    result = cuvee.build_mixture(config, tmp_path / "out", progress=steps.append)
    loaded, account = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(account.values())
    assert cuvee.verify(tmp_path / "out").ok
    assert result.record["recipe"]["gate_mode"] == "least_squares"
    assert [step.tensor for step in steps[:36]] == [f"prompt {i + 1} of 36" for i in range(36)]
    assert steps[-1].done == steps[0].total
    routed = cuvee.route_prompts(tmp_path / "out", HELD_OUT)
    for number, group in enumerate(routed.groups):
        assert group.overall[number] == max(group.overall), group
        assert group.overall[number] > 0.6, group  # by chance a third
        assert sum(group.overall) == pytest.approx(1)
    base = models.load("base")
    for name, lines in HELD_OUT.items():  # near the specialist by how much: benchmarks/mixture.py
        assert loss(loaded.eval(), lines) < loss(base, lines), name
    routers = [name for name in load_file(tmp_path / "out/model.safetensors") if name.endswith(KINDS[kind])]
    assert len(routers) == loaded.config.num_hidden_layers


def states(model: Any, prompt: str) -> list[torch.Tensor]:
    """What enters every layer, `[tokens, width]`, as transformers gives it."""
    ids = torch.tensor([tokenizer().encode(prompt).ids])
    with torch.inference_mode():
        return [one[0].double() for one in model(input_ids=ids, output_hidden_states=True).hidden_states]


def unit(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm()


@pytest.mark.parametrize("mode", ["hidden", "hidden_last", "hidden_avg", "cheap_embed"])
def test_rows_are_mean_states_of_prompts_of_length_one(llama: Specialists, tmp_path: Path, mode: str) -> None:
    config = llama.config(3, gate_mode=mode)
    config["experts"][0]["negative_prompts"] = texts("law", 2, 5)
    cuvee.build_mixture(config, tmp_path / "out")
    found = load_file(tmp_path / "out/model.safetensors")
    base = llama.load("base")

    def vector(prompt: str, layer: int) -> torch.Tensor:
        if mode == "cheap_embed":
            rows = base.model.embed_tokens.weight.detach().double()
            return sum(rows[number] for number in tokenizer().encode(prompt).ids)
        found = states(base, prompt)[layer]
        return found.mean(0) if mode == "hidden_avg" else found[-1]

    for layer in range(base.config.num_hidden_layers):
        rows = found[f"model.layers.{layer}.block_sparse_moe.gate.weight"]
        for number, expert in enumerate(config["experts"]):
            wanted = sum(vector(one, layer) for one in expert["positive_prompts"]) / len(expert["positive_prompts"])
            against = expert.get("negative_prompts", [])
            if against:
                unwanted = sum(vector(one, layer) for one in against) / len(against)
                wanted = unit(wanted) - unit(unwanted) if mode == "cheap_embed" else wanted - unwanted
            torch.testing.assert_close(rows[number].double(), unit(wanted), rtol=0, atol=2e-6)


def test_what_begins_a_text_begins_a_prompt_and_is_not_counted(llama: Specialists, tmp_path: Path) -> None:
    config = llama.config(2, gate_mode="hidden_avg")
    shutil.copytree(llama.base, tmp_path / "base")
    save(tmp_path / "base", tokenizer(), eos_token="<|end|>", bos_token="<|end|>")
    cuvee.build_mixture({**config, "base_model": str(tmp_path / "base")}, tmp_path / "out")
    base, begin = llama.load("base"), tokenizer().token_to_id("<|end|>")
    means = []
    for prompt in config["experts"][0]["positive_prompts"]:
        ids = torch.tensor([[begin, *tokenizer().encode(prompt).ids]])
        with torch.inference_mode():
            means.append(base(input_ids=ids, output_hidden_states=True).hidden_states[1][0].double().mean(0))
    row = load_file(tmp_path / "out/model.safetensors")["model.layers.1.block_sparse_moe.gate.weight"][0]
    torch.testing.assert_close(row.double(), unit((means[0] + means[1]) / 2), rtol=0, atol=2e-6)
    routed = cuvee.route_prompts(tmp_path / "out", {"law": texts("law", 3, 1)})
    assert routed.groups[0].tokens == 3 * LENGTH
    assert sum(routed.groups[0].overall) == pytest.approx(1)


def test_least_squares_rows_are_fitted_to_what_enters_the_mlp(llama: Specialists, tmp_path: Path) -> None:
    config = llama.config(2, gate_mode="least_squares")
    cuvee.build_mixture(config, tmp_path / "out")
    found, base = load_file(tmp_path / "out/model.safetensors"), llama.load("base")
    seen: list[torch.Tensor] = []
    base.model.layers[1].mlp.register_forward_hook(lambda _, given, __: seen.append(given[0][0].double()))
    stacked, wanted = [], []
    for number, expert in enumerate(config["experts"]):
        seen.clear()
        for prompt in expert["positive_prompts"]:
            states(base, prompt)
        rows = torch.cat(seen)
        stacked.append(rows / len(rows) ** 0.5)
        wanted.append((torch.eye(3)[number].double() - 1 / 3).expand(len(rows), 3) / len(rows) ** 0.5)
    x, y = torch.cat(stacked), torch.cat(wanted)
    ridge = 0.03 * x.square().sum() / x.shape[1]
    rows = torch.linalg.inv(x.T @ x + ridge * torch.eye(x.shape[1])) @ x.T @ y
    router = found["model.layers.1.block_sparse_moe.gate.weight"]
    torch.testing.assert_close(router.double(), rows.T, rtol=0, atol=2e-6)


def test_what_routers_came_from_is_looked_at_before_nothing_is_done(llama: Specialists, tmp_path: Path) -> None:
    """The base's MLPs are in no expert, and the states that its routers come from depend on them."""
    shutil.copytree(llama.base, tmp_path / "base")
    config = llama.config(2, gate_mode="hidden") | {"base_model": str(tmp_path / "base")}
    cuvee.build_mixture(config, tmp_path / "out")
    assert cuvee.build_mixture(config, tmp_path / "out", resume=True).was_complete
    weights = load_file(tmp_path / "base/model.safetensors")
    weights["model.layers.0.mlp.down_proj.weight"] *= 2
    save_file(weights, tmp_path / "base/model.safetensors", {"format": "pt"})
    with pytest.raises(OutputExists):
        cuvee.build_mixture(config, tmp_path / "out", resume=True)


def test_experts_that_nothing_tells_apart_are_noted(llama: Specialists) -> None:
    config = llama.config(2, gate_mode="hidden")
    config["experts"][2]["positive_prompts"] = config["experts"][0]["positive_prompts"][::-1]
    told = [note for note in cuvee.plan_mixture(config).notes if "tells them apart" in note]
    assert told == ["experts 0, 2 have the same prompts and so the same rows in the routers: nothing tells them apart"]
    assert not [note for note in cuvee.plan_mixture(llama.config(2)).notes if "apart" in note]


def test_a_shared_expert_has_a_direction_of_its_own(tmp_path: Path) -> None:
    models = write_specialists(tmp_path / "qwen2", "qwen2", base_steps=1, steps=1)
    config = models.config(2, gate_mode="least_squares")
    config["shared_experts"] = [config["experts"].pop()]
    cuvee.build_mixture(config, tmp_path / "out")
    found = load_file(tmp_path / "out/model.safetensors")
    assert found["model.layers.0.mlp.gate.weight"].shape[0] == 2
    assert float(found["model.layers.0.mlp.shared_expert_gate.weight"].norm()) == pytest.approx(1)


def test_all_prompts_that_cannot_be_run_are_told_with_their_places(llama: Specialists, tmp_path: Path) -> None:
    config = llama.config(2, gate_mode="hidden")
    config["experts"][0]["positive_prompts"] = [" maths", " law" * 200]
    config["experts"][2]["negative_prompts"] = [" law", " code" * 300]
    (tmp_path / "mixture.yml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    for ask in (
        lambda: cuvee.build_mixture(tmp_path / "mixture.yml", tmp_path / "out"),
        lambda: cuvee.plan_mixture(tmp_path / "mixture.yml"),
    ):
        with pytest.raises(InputError) as caught:
            ask()
        lines = (tmp_path / "mixture.yml").read_text("utf-8").splitlines()
        told = [(fault.code, fault.place and lines[fault.place.line - 1].strip()[:5]) for fault in caught.value.faults]
        assert told == [("bad-data", "- ' l"), ("bad-data", "- ' c")]
        assert "200" in caught.value.faults[0].message or "at most 64 tokens" in caught.value.faults[0].message
    assert not (tmp_path / "out").exists()


def test_the_command_tells_where_prompts_go(
    llama: Specialists, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cuvee.build_mixture(llama.config(2, gate_mode="hidden_avg"), tmp_path / "out")
    for name in ("maths", "law"):
        (tmp_path / f"{name}.txt").write_text("\n".join([*texts(name, 4, 3), ""]), "utf-8")
    files = ["--prompts", *(str(tmp_path / f"{name}.txt") for name in ("maths", "law"))]
    ran = call(capsys, "moe", "route", str(tmp_path / "out"), *files)
    assert ran.code == 0, ran.err
    for word in ("maths", "law", "0: maths", "2: law", "model.layers.0"):
        assert word in ran.out
    (tmp_path / "more").mkdir()
    (tmp_path / "more/law.txt").write_text(" law\n", "utf-8")
    twice = [*files, "--prompts", str(tmp_path / "more/law.txt"), "--json"]
    groups = json.loads(call(capsys, "moe", "route", str(tmp_path / "out"), *twice).out)["groups"]
    assert set(groups) == {"maths", str(tmp_path / "law.txt"), str(tmp_path / "more/law.txt")}
    told = json.loads(call(capsys, "moe", "route", str(tmp_path / "out"), *files, "--json").out)
    assert set(told["groups"]) == {"maths", "law"}
    for group in told["groups"].values():
        for share, weight in zip(group["share_by_layer"], group["weight_by_layer"], strict=True):
            assert sum(share) == pytest.approx(1)
            assert sum(weight) == pytest.approx(1)


def test_all_prompts_that_a_mixture_cannot_run_are_told_before_any_is(llama: Specialists, tmp_path: Path) -> None:
    """A tokenizer may have more tokens than there are embeddings."""
    small = transformers.AutoModelForCausalLM.from_pretrained(llama.base)
    small.resize_token_embeddings(280)
    small.save_pretrained(tmp_path / "small")
    save(tmp_path / "small", tokenizer(), eos_token="<|end|>")
    cuvee.build_mixture(cuvee.upcycled(tmp_path / "small", 2), tmp_path / "out")
    told: list[int] = []
    groups = {"long": ["b", "b" * 200], "beyond": texts("law", 1, 1)}
    with pytest.raises(InputError) as caught:
        cuvee.route_prompts(tmp_path / "out", groups, progress=lambda done, _: told.append(done))
    assert [(one.code, one.subject) for one in caught.value.faults] == [
        ("bad-data", "long[1]"),
        ("embedding-too-small", "beyond[0]"),
    ]
    assert not told


WIDTHS: dict[str, Any] = {key: value for key, value in SIZES.items() if key != "initializer_range"}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "GptOss": ("mlp.router", {"num_local_experts": 4, "head_dim": 8}),
    "Olmoe": ("mlp.gate", {"num_experts": 4}),
    "GraniteMoe": ("block_sparse_moe.router", {"num_local_experts": 4}),
    "Phimoe": ("mlp.router", {"num_local_experts": 4}),
}
"""Mixtures of others: where a router of theirs is, and what they have more."""


def of_others(kind: str, folder: Path, **settings: Any) -> Any:
    config = getattr(transformers, f"{kind}Config")(**WIDTHS, **settings, num_experts_per_tok=2, pad_token_id=0)
    model = seeded(lambda: getattr(transformers, f"{kind}ForCausalLM")(config), 0)
    model.save_pretrained(folder)
    save(folder, tokenizer(), eos_token="<|end|>")
    return model


@pytest.mark.parametrize("kind", OTHERS)
def test_mixtures_of_others_are_looked_at_too(kind: str, tmp_path: Path) -> None:
    router, settings = OTHERS[kind]
    model = of_others(kind, tmp_path / "out", **settings)
    seen: list[torch.Tensor] = []
    model.get_submodule(f"model.layers.1.{router}").register_forward_hook(lambda *given: seen.append(given[2][0]))
    states(model, HELD_OUT["law"][0])
    routed = cuvee.route_prompts(tmp_path / "out", {"law": HELD_OUT["law"][:1]})
    assert routed.layers == tuple(f"model.layers.{layer}.{router}" for layer in range(3))
    share = torch.bincount(seen[0].argmax(1), minlength=4) / LENGTH
    assert routed.groups[0].first[1] == pytest.approx(tuple(share.tolist()))


def test_routers_that_tell_less_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of Llama 4 give scores and logits, those of older classes logits alone."""
    model = of_others("Olmoe", tmp_path / "out", num_experts=4)
    cls = type(model.model.layers[0].mlp.gate)
    full = cls.forward
    monkeypatch.setattr(cls, "forward", lambda self, states: full(self, states)[:2])
    with pytest.raises(
        InputError, match=r"model\.layers\.0\.mlp\.gate should give logits, weights and numbers"
    ) as caught:
        cuvee.route_prompts(tmp_path / "out", HELD_OUT)
    assert caught.value.code == "no-layout"


def test_prompts_that_say_nothing_and_models_without_routers_are_told(llama: Specialists, tmp_path: Path) -> None:
    def told(config: Any) -> CuveeError:
        with pytest.raises(CuveeError) as caught:
            cuvee.build_mixture(config, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return caught.value

    same = llama.config(2, gate_mode="least_squares")
    for expert in same["experts"]:
        expert["positive_prompts"] = [" maths"]
    assert told(same).code == "bad-mixture"
    endless = llama.config(1, gate_mode="hidden")
    endless["experts"][1]["positive_prompts"] = [" law" * 200]
    assert told(endless).code == "bad-data"
    silent = llama.config(1, gate_mode="hidden")
    del silent["experts"][2]["positive_prompts"]
    assert isinstance(told(silent), RecipeError)
    with pytest.raises(InputError) as caught:
        cuvee.route_prompts(llama.base, HELD_OUT)
    assert caught.value.code == "no-layout"
    with pytest.raises(UsageError, match="group `a`"):
        cuvee.route_prompts(llama.base, {"a": []})
    with pytest.raises(InputError) as caught:
        cuvee.route_prompts(tmp_path / "nothing", HELD_OUT)
    assert caught.value.code == "model-missing"
