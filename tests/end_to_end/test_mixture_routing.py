"""Routers found from prompts: trained specialists, classes of transformers, and where held-out texts are sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

import cuvee
from cuvee.errors import CuveeError, InputError, RecipeError, UsageError
from tests.support.command_line import call
from tests.support.specialists import SPECIALITIES, Specialists, loss, texts, tokenizer, write_specialists

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
    result = cuvee.build_mixture(models.config(gate_mode="centred"), tmp_path / "out")
    loaded, account = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(account.values())
    assert cuvee.verify(tmp_path / "out").ok
    assert result.record["recipe"]["gate_mode"] == "centred"
    routed = cuvee.route_prompts(tmp_path / "out", HELD_OUT)
    for number, group in enumerate(routed.groups):
        assert group.overall[number] == max(group.overall), group
        assert group.overall[number] > 0.5, group  # by chance a third
        assert sum(group.overall) == pytest.approx(1)
    base = models.load("base")
    better = sum(loss(base, lines) - loss(loaded.eval(), lines) for lines in HELD_OUT.values())
    assert better > 0  # over all three; every single one by how much: benchmarks/mixture.py
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
                wanted = wanted - sum(vector(one, layer) for one in against) / len(against)
            torch.testing.assert_close(rows[number].double(), unit(wanted), rtol=0, atol=2e-6)


def test_centred_rows_are_what_enters_the_mlp_without_what_all_have(llama: Specialists, tmp_path: Path) -> None:
    config = llama.config(2, gate_mode="centred")
    cuvee.build_mixture(config, tmp_path / "out")
    found, base = load_file(tmp_path / "out/model.safetensors"), llama.load("base")
    seen: list[torch.Tensor] = []
    base.model.layers[1].mlp.register_forward_hook(lambda _, given, __: seen.append(given[0][0].double()))
    means = []
    for expert in config["experts"]:
        seen.clear()
        for prompt in expert["positive_prompts"]:
            states(base, prompt)
        means.append(sum(one.mean(0) for one in seen) / len(seen))
    middle = sum(means) / len(means)
    for row, mean in zip(found["model.layers.1.block_sparse_moe.gate.weight"], means, strict=True):
        torch.testing.assert_close(row.double(), unit(mean - middle), rtol=0, atol=2e-6)


def test_the_command_tells_where_prompts_go(
    llama: Specialists, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cuvee.build_mixture(llama.config(2, gate_mode="hidden_avg"), tmp_path / "out")
    for name in ("maths", "law"):
        (tmp_path / f"{name}.txt").write_text("\n".join([*texts(name, 4, 3), ""]), "utf-8")
    files = [word for name in ("maths", "law") for word in ("--prompts", str(tmp_path / f"{name}.txt"))]
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


def test_prompts_that_say_nothing_and_models_without_routers_are_told(llama: Specialists, tmp_path: Path) -> None:
    def told(config: Any) -> CuveeError:
        with pytest.raises(CuveeError) as caught:
            cuvee.build_mixture(config, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return caught.value

    same = llama.config(2, gate_mode="centred")
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
