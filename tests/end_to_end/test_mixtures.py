"""Mixtures of experts made of dense models: laws, classes in transformers, names on disk, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from torch import Tensor

import cuvee
from cuvee.api import build_mixture, lora_apply, plan_mixture, upcycled
from cuvee.errors import CuveeError, InputError, OutputExists, RecipeError, UsageError
from cuvee.layers.mixtures import LAYOUTS
from cuvee.mixtures.reading import parse_mixture
from cuvee.mixtures.schema import ExpertItem, MixtureItem
from tests.support.adapters import write_adapter
from tests.support.command_line import call
from tests.support.interrupted import stopping_after
from tests.support.mixtures import LAYERS, loaded, logits, write
from tests.support.zoo import stored

PAGE = Path(__file__).parents[2] / "docs" / "mixtures.md"
WAYS = {
    "llama": "mixtral",
    "mistral": "mixtral",
    "qwen2": "qwen2_moe",
    "qwen3": "qwen3_moe",
    "deepseek_v2": "deepseek_v2",
    "deepseek_v3": "deepseek_v3",
}
"""The layout that is chosen for every kind of member."""
NAMES = {
    "mixtral": ("block_sparse_moe.gate.weight", "block_sparse_moe.experts.{}.w1.weight"),
    "qwen2_moe": ("mlp.gate.weight", "mlp.experts.{}.gate_proj.weight"),
    "qwen3_moe": ("mlp.gate.weight", "mlp.experts.{}.gate_proj.weight"),
    "deepseek_v2": ("mlp.gate.weight", "mlp.experts.{}.gate_proj.weight"),
    "deepseek_v3": ("mlp.gate.weight", "mlp.experts.{}.gate_proj.weight"),
}
"""The router and the first matrix of an expert, as the hub has them."""


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("members")
    for kind in WAYS:
        for seed in range(3):
            write(kind, seed, root / f"{kind}{seed}")
    return root


def described(cellar: Path, kind: str = "llama", **more: Any) -> dict[str, Any]:
    """A mixture of two models over a third, with random routers."""
    experts = [{"source_model": str(cellar / f"{kind}{seed}")} for seed in (1, 2)]
    return {"base_model": str(cellar / f"{kind}0"), "gate_mode": "random", "experts": experts, **more}


def codes(error: CuveeError) -> list[str]:
    return [fault.code for fault in error.faults]


def tensors(folder: Path) -> dict[str, Tensor]:
    return stored(folder)


@pytest.mark.parametrize("kind", WAYS)
def test_copies_of_one_model_answer_as_it_does(cellar: Path, tmp_path: Path, kind: str) -> None:
    """Equal experts with weights that sum to 1 are the dense MLP, whatever the routers say."""
    layout = LAYOUTS[WAYS[kind]]
    per_token = 2 if layout.renormalises else 4
    made = build_mixture(upcycled(cellar / f"{kind}0", 4, experts_per_token=per_token), tmp_path / "out")
    assert (made.outline.layout, made.outline.layers) == (WAYS[kind], LAYERS)
    torch.testing.assert_close(logits(loaded(made.path)), logits(loaded(cellar / f"{kind}0")), rtol=0, atol=1e-5)
    assert cuvee.verify(made.path).ok


@pytest.mark.parametrize("kind", WAYS)
def test_names_on_disk_are_the_hubs(cellar: Path, tmp_path: Path, kind: str) -> None:
    made = build_mixture(described(cellar, kind), tmp_path / "out")
    found = tensors(made.path)
    router, matrix = NAMES[WAYS[kind]]
    for layer in range(LAYERS):
        assert found[f"model.layers.{layer}.{router}"].shape == (2, 16)
        for expert in range(2):
            own = tensors(cellar / f"{kind}{expert + 1}")[f"model.layers.{layer}.mlp.gate_proj.weight"]
            assert torch.equal(found[f"model.layers.{layer}.{matrix.format(expert)}"], own)
    model = loaded(made.path)
    assert logits(model).isfinite().all()
    model.save_pretrained(tmp_path / "again")  # as transformers writes for the hub
    again = tensors(tmp_path / "again")
    assert found.keys() == again.keys()
    assert all(torch.equal(found[name], again[name]) for name in found)


def changed_config(folder: Path, without: Sequence[str], **said: Any) -> Path:
    """A model whose configuration leaves values to its class, or says them as older versions did."""
    file = folder / "config.json"
    kept = {key: value for key, value in json.loads(file.read_text()).items() if key not in without}
    file.write_text(json.dumps({**kept, **said}))
    return folder


OLD = ("rope_parameters", "head_dim", "attention_bias", "mlp_bias", "rms_norm_eps", "num_key_value_heads")
SCALED = {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}
WINDOW = {"use_sliding_window": True, "sliding_window": 3}


@pytest.mark.parametrize(
    ("kind", "settings", "without", "layout"),
    [
        ("llama", {"num_key_value_heads": 4}, OLD, None),
        ("llama", {"num_key_value_heads": 4}, (*OLD, "max_position_embeddings", "bos_token_id"), "qwen2_moe"),
        ("llama", {"rope_parameters": SCALED}, (), None),
        ("mistral", {"sliding_window": None}, (), None),
        ("mistral", {"sliding_window": 3}, (), "qwen2_moe"),
        ("qwen2", {**WINDOW, "max_window_layers": 1}, (), None),
        ("qwen3", {**WINDOW, "max_window_layers": 0}, (), None),
        ("qwen3", {"attention_bias": True, "tie_word_embeddings": True}, (), None),
        ("deepseek_v3", {"q_lora_rank": None, "routed_scaling_factor": 2.5, "n_group": 2}, (), None),
    ],
)
def test_what_a_dense_class_takes_for_granted_is_said(
    tmp_path: Path, kind: str, settings: dict[str, Any], without: Sequence[str], layout: str | None
) -> None:
    """The mixture's class has other defaults; the copies would answer otherwise."""
    old = {"rope_theta": 700.0} if without else {}
    dense = changed_config(write(kind, 0, tmp_path / "dense", **settings), without, **old)
    made = build_mixture(upcycled(dense, 3, architecture=layout), tmp_path / "out")
    torch.testing.assert_close(logits(loaded(made.path)), logits(loaded(dense)), rtol=0, atol=1e-5)


def test_windows_in_some_layers_only_have_no_place(tmp_path: Path) -> None:
    dense = write("qwen3", 0, tmp_path / "dense", **WINDOW, max_window_layers=1)
    with pytest.raises(InputError, match="windows in some of them"):
        build_mixture(upcycled(dense, 2), tmp_path / "out")


def test_a_mixture_of_mixtures_is_refused(tmp_path: Path) -> None:
    dense = write("deepseek_v3", 0, tmp_path / "dense", first_k_dense_replace=1)
    with pytest.raises(InputError, match="have experts already") as caught:
        build_mixture(upcycled(dense, 2), tmp_path / "out")
    assert set(codes(caught.value)) == {"missing-tensor", "no-layout"}


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_a_llama_becomes_a_qwen_mixture_if_that_is_asked_for(cellar: Path, tmp_path: Path, kind: str) -> None:
    made = build_mixture(upcycled(cellar / f"{kind}0", 3, architecture="qwen2_moe"), tmp_path / "out")
    dense = loaded(cellar / f"{kind}0")
    torch.testing.assert_close(logits(loaded(made.path)), logits(dense), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["qwen2", "deepseek_v3"])
def test_a_shared_expert_may_be_a_model_of_its_own(cellar: Path, tmp_path: Path, kind: str) -> None:
    """mergekit-moe crashes unless it is also the base or an expert."""
    whole = described(cellar, kind, shared_experts=[{"source_model": str(cellar / f"{kind}0")}])
    whole["base_model"] = whole["experts"][0]["source_model"]
    made = build_mixture(whole, tmp_path / "out")
    name = "shared_expert" if kind == "qwen2" else "shared_experts"
    own = tensors(cellar / f"{kind}0")["model.layers.1.mlp.down_proj.weight"]
    assert torch.equal(tensors(made.path)[f"model.layers.1.mlp.{name}.down_proj.weight"], own)
    assert logits(loaded(made.path)).isfinite().all()


def test_noise_and_scale(cellar: Path, tmp_path: Path) -> None:
    """down = residual_scale (W + noise_scale z); gate = W + noise_scale z."""
    whole = described(cellar)
    whole["experts"][0] |= {"noise_scale": 0.01}
    whole["experts"][1] |= {"residual_scale": 0.5}
    found = tensors(build_mixture(whole, tmp_path / "out").path)
    again = tensors(build_mixture({**whole, "seed": 7}, tmp_path / "again").path)
    start = "model.layers.0.block_sparse_moe.experts."
    own = [tensors(cellar / f"llama{seed}") for seed in (1, 2)]
    drawn = found[f"{start}0.w1.weight"] - own[0]["model.layers.0.mlp.gate_proj.weight"]
    assert 0.007 < drawn.std() < 0.013
    assert abs(drawn.mean()) < 0.003
    assert torch.equal(found[f"{start}1.w1.weight"], own[1]["model.layers.0.mlp.gate_proj.weight"])
    assert torch.equal(found[f"{start}1.w2.weight"], own[1]["model.layers.0.mlp.down_proj.weight"] * 0.5)
    assert not torch.equal(found[f"{start}0.w1.weight"], again[f"{start}0.w1.weight"])


def test_others_are_the_bases_or_the_experts_mean(cellar: Path, tmp_path: Path) -> None:
    name = "model.layers.1.self_attn.q_proj.weight"
    base = tensors(build_mixture(described(cellar), tmp_path / "base").path)
    mean = tensors(build_mixture(described(cellar, others="average"), tmp_path / "mean").path)
    own = [tensors(cellar / f"llama{seed}")[name] for seed in range(3)]
    assert torch.equal(base[name], own[0])
    torch.testing.assert_close(mean[name], (own[1] + own[2]) / 2)


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_mean_loses_no_head_of_an_expert(cellar: Path, tmp_path: Path, is_stored: bool) -> None:
    """A tied base has no place for heads, even where it stores one: its class answers with the embeddings."""
    base = write("llama", 0, tmp_path / "base", tie_word_embeddings=not is_stored)
    changed_config(base, (), tie_word_embeddings=True)
    whole = described(cellar, others="average") | {"base_model": str(base)}
    with pytest.raises(InputError, match=r"llama1 has lm_head\.weight, for which .*base has no place") as caught:
        build_mixture(whole, tmp_path / "out")
    assert codes(caught.value) == ["expert-mismatch"] * 2
    build_mixture({**whole, "others": "base"}, tmp_path / "out")


def test_a_mean_over_tied_models_is_tied(tmp_path: Path) -> None:
    own = [write("llama", seed, tmp_path / str(seed), tie_word_embeddings=True) for seed in range(3)]
    experts = [{"source_model": str(model)} for model in own[1:]]
    whole = {"base_model": str(own[0]), "gate_mode": "random", "others": "average", "experts": experts}
    made = tensors(build_mixture(whole, tmp_path / "out").path)
    assert "lm_head.weight" not in made
    name = "model.embed_tokens.weight"
    torch.testing.assert_close(made[name], (tensors(own[1])[name] + tensors(own[2])[name]) / 2)


def test_it_is_told_that_only_mlps_are_taken_of_experts(cellar: Path) -> None:
    told = [note for note in plan_mixture(described(cellar)).notes if "MLPs" in note]
    assert told == [
        "of the experts only the MLPs are taken: 30 other tensors are not; `others: average` takes their mean"
    ]
    assert not [note for note in plan_mixture(described(cellar, others="average")).notes if "MLPs" in note]
    assert not [note for note in plan_mixture(upcycled(cellar / "llama0", 2)).notes if "MLPs" in note]


def test_the_same_description_gives_the_same_bytes(cellar: Path, tmp_path: Path) -> None:
    whole = described(cellar, dtype="bfloat16")
    whole["experts"][0]["noise_scale"] = 0.1
    many = build_mixture(whole, tmp_path / "many", threads=2).record
    one = build_mixture(whole, tmp_path / "one", threads=1).record
    assert many == one
    assert {spec["dtype"] for spec in many["output"]["tensors"].values()} == {"bfloat16"}
    assert next(loaded(tmp_path / "many").parameters()).dtype == torch.bfloat16


def test_what_was_made_is_made_again_from_its_own_description(cellar: Path, tmp_path: Path) -> None:
    made = build_mixture(described(cellar, seed=3), tmp_path / "out")
    again = build_mixture(made.path / "cuvee_recipe.yml", tmp_path / "again")
    assert again.record["output"]["content"] == made.record["output"]["content"]
    assert [one["model"] for one in made.record["inputs"]] == [str(cellar / f"llama{seed}") for seed in range(3)]


def test_a_plan_tells_what_is_written(cellar: Path, tmp_path: Path) -> None:
    outline = plan_mixture(described(cellar, experts_per_token=1))
    made = build_mixture(described(cellar, experts_per_token=1), tmp_path / "out")
    assert outline == made.outline
    assert outline.parameters == sum(tensor.numel() for tensor in tensors(made.path).values())
    assert outline.parameters - outline.active == 3 * 16 * 24 * LAYERS


def test_an_output_that_is_there_stays(cellar: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(OutputExists):
        build_mixture(described(cellar), tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine"]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_an_interrupted_run_is_gone_on_with(cellar: Path, tmp_path: Path) -> None:
    whole = described(cellar)
    whole["experts"][0]["noise_scale"] = 0.1
    made = build_mixture(whole, tmp_path / "made")
    with stopping_after(5), pytest.raises(KeyboardInterrupt, match="--resume"):
        build_mixture(whole, tmp_path / "out", resume=True, threads=1)
    assert not (tmp_path / "out").exists()
    done = build_mixture(whole, tmp_path / "out", resume=True)
    assert done.resumed_bytes > 0
    assert done.record == made.record
    assert cuvee.verify(done.path).ok


def test_resuming_what_is_complete_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dense = str(write("llama", 0, tmp_path / "dense"))
    asked = ("moe", "--upcycle", "2", dense, "-o", str(tmp_path / "out"), "--resume")
    assert call(capsys, *asked).code == 0
    before = (tmp_path / "out" / "model.safetensors").stat()
    ran = call(capsys, *asked)
    assert (ran.code, ran.out.strip()) == (0, f"nothing to do: {tmp_path / 'out'} was made by the same mixture")
    assert call(capsys, *asked, "--json").json["resumed"] == {"bytes": 0, "was_complete": True}
    assert (tmp_path / "out" / "model.safetensors").stat() == before
    assert call(capsys, *asked, "--seed", "1").code == 7
    write("llama", 1, tmp_path / "dense")  # another model under the same name
    assert call(capsys, *asked).code == 7


def test_an_expert_may_be_a_base_with_an_adapter(tmp_path: Path) -> None:
    base, adapter = write_adapter("lora", tmp_path)
    experts = [{"source_model": str(base)}, {"source_model": f"{base}+{adapter}"}]
    made = build_mixture({"base_model": str(base), "gate_mode": "random", "experts": experts}, tmp_path / "out")
    lora_apply(base, adapter, tmp_path / "applied")
    name = "model.layers.0.mlp.up_proj.weight"
    own = tensors(tmp_path / "applied")[name]
    assert torch.equal(tensors(made.path)["model.layers.0.block_sparse_moe.experts.1.w3.weight"], own)
    assert not torch.equal(own, tensors(base)[name])


@pytest.mark.parametrize(
    ("kind", "changes", "code", "words"),
    [
        ("llama", {"hidden_size": 32}, "expert-mismatch", "instead of"),
        ("llama", {"intermediate_size": 32}, "expert-mismatch", "instead of"),
        ("llama", {"num_hidden_layers": 3}, "expert-mismatch", "3 layers"),
        ("llama", {"vocab_size": 41}, "expert-mismatch", "cuvee tokens transplant"),
        ("llama", {"hidden_act": "gelu"}, "expert-mismatch", "activation"),
        ("qwen3", {}, "expert-mismatch", "found qwen3"),
        ("biased llama", {}, "expert-mismatch", "no place for"),
    ],
)
def test_an_expert_that_does_not_fit_is_refused(
    cellar: Path, tmp_path: Path, kind: str, changes: dict[str, Any], code: str, words: str
) -> None:
    whole = described(cellar)
    whole["experts"][1]["source_model"] = str(write(kind, 5, tmp_path / "other", **changes))
    with pytest.raises(InputError, match=words) as caught:
        build_mixture(whole, tmp_path / "out")
    assert codes(caught.value) == [code]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("gpt2", {}, "found gpt2"),
        ("biased llama", {}, "biases cannot be left out"),
        ("llama", {"architecture": "qwen3"}, "llama becomes mixtral or qwen2_moe"),
        ("llama", {"architecture": "deepseek"}, "no class in transformers"),
        ("llama", {"architecture": "mixtral", "shared_experts": 0}, "has no place for one"),
    ],
)
def test_a_layout_that_is_not_there_is_refused(tmp_path: Path, kind: str, more: dict[str, Any], words: str) -> None:
    path = str(write(kind, 0, tmp_path / "dense"))
    whole = {"base_model": path, "experts": [{"source_model": path}] * 2, "gate_mode": "random", **more}
    if "shared_experts" in whole:
        whole["shared_experts"] = [{"source_model": path}]
    with pytest.raises(InputError, match=words) as caught:
        build_mixture(whole, tmp_path / "out")
    assert codes(caught.value) == ["no-layout"]


def test_the_third_deepseek_routes_among_two_experts_or_more(cellar: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2 experts") as caught:
        build_mixture(upcycled(cellar / "deepseek_v30", 1, experts_per_token=1), tmp_path / "out")
    assert codes(caught.value) == ["bad-mixture"]


def test_prompts_need_a_tokenizer(cellar: Path, tmp_path: Path) -> None:
    whole = described(cellar, gate_mode="hidden")
    for expert in whole["experts"]:
        expert["positive_prompts"] = ["one", "two"]
    with pytest.raises(InputError) as caught:
        build_mixture(whole, tmp_path / "out")
    assert codes(caught.value) == ["tokenizer-missing"]


def test_all_that_stands_against_it_is_told_at_once(cellar: Path, tmp_path: Path) -> None:
    whole = described(cellar, gate_mode="hidden")
    for number, changes in enumerate([{"vocab_size": 41}, {"num_hidden_layers": 3}]):
        path = write("llama", 5, tmp_path / f"other{number}", **changes)
        whole["experts"][number] = {"source_model": str(path), "positive_prompts": ["one"]}
    with pytest.raises(InputError) as caught:
        build_mixture(whole, tmp_path / "out")
    assert sorted(codes(caught.value)) == ["expert-mismatch", "expert-mismatch", "tokenizer-missing"]


def test_a_file_is_read_as_mergekit_moe_reads_it(cellar: Path, tmp_path: Path, capsys: Any) -> None:
    (cellar / "mixture.yml").write_text(
        "base_model: llama0\n"
        "gate_mode: random\n"
        "dtype: bfloat16\n"
        "experts_per_token: 1\n"
        "experts:\n"
        "  - source_model: llama1\n"
        "    positive_prompts:\n"
        "      - one\n"
        "  - source_model: llama2\n"
        "    positive_prompts: [two]\n"
        "    negative_prompts: [three]\n"
        "    noise_scale: 0.0\n"
        "    residual_scale: 1.0\n"
    )
    given = str(cellar / "mixture.yml"), "-o", str(tmp_path / "out")
    dry = call(capsys, "moe", *given, "--dry-run", "--json").json
    assert not (tmp_path / "out").exists()
    done = call(capsys, "moe", *given, "--json").json
    assert (done["layout"], done["tensors"]) == ("mixtral", dry["tensors"])
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_experts_per_tok"] == 1


def test_a_dry_run_needs_no_output(cellar: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("moe", "--upcycle", "2", str(cellar / "llama0"))
    assert call(capsys, *asked, "--dry-run", "--json").json["path"] is None
    ran = call(capsys, *asked)
    assert (ran.code, "--out should be given" in ran.err) == (2, True)


def test_options_of_copies_do_not_go_with_a_file(cellar: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most the number of experts"):
        upcycled(cellar / "llama0", 2, experts_per_token=3)
    with pytest.raises(RecipeError):
        build_mixture({"base_model": "a"}, tmp_path / "out")


def test_its_card_tells_experts_and_how_to_make_it_again(
    cellar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = described(cellar, seed=7)
    whole["experts"][1]["positive_prompts"] = ["one", "two"]
    made = build_mixture(whole, tmp_path / "out")
    text = cuvee.card(made.path).text
    front = ModelCard(text).data.to_dict()
    assert front["tags"] == ["merge", "cuvee", "moe"]
    assert "`unknown`" not in text
    assert "A mixture of 2 experts on `" in text
    for words in ("llama1` | none", "llama2` | 2 prompts, positive", "| layout | mixtral", "| routers | random"):
        assert words in text
    command = re.search(r"cuvee (moe cuvee_recipe.yml .*)", text)
    assert command is not None
    monkeypatch.chdir(made.path)
    assert call(capsys, *shlex.split(command[1])).code == 0
    assert cuvee.verify(made.path / "mixed").ok


def test_the_card_of_copies_names_their_model(tmp_path: Path) -> None:
    model = write("llama", 0, tmp_path / "dense")
    (model / "README.md").write_text("---\nlicense: mit\nbase_model: org/dense\n---\n", "utf-8")
    text = cuvee.card(build_mixture(upcycled(model, 4), tmp_path / "out").path).text
    front = ModelCard(text).data.to_dict()
    assert (front["base_model"], front["license"]) == (["org/dense"], "mit")
    assert "A mixture of 4 experts on" in text


def test_its_report_tells_layout_routers_and_prompts(cellar: Path, tmp_path: Path) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    whole = described(cellar)
    whole["experts"][1]["positive_prompts"] = ["one", "two"]
    made = build_mixture(whole, tmp_path / "out")
    cuvee.report(made.path, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "should have" not in page
    for words in (
        "moe of 2 experts over",
        "out was made by moe",
        "mixtral",
        "2 prompts, positive",
        "a mixture has none",
    ):
        assert words in page


def page_blocks() -> dict[str, str]:
    found = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return dict(found)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With random routers: what prompts give is looked at where routers are."""
    blocks = page_blocks()
    assert parse_mixture(blocks["yaml"]).gate_mode == "hidden"
    for seed, name in enumerate(("base", "maths", "code")):
        write("llama", seed, tmp_path / name)
    (tmp_path / "mixture.yml").write_text(blocks["yaml"].replace("hidden", "random"))
    monkeypatch.chdir(tmp_path)
    for line in blocks["sh"].splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "cuvee"
        assert call(capsys, *words[1:]).code == 0, line
    exec(blocks["python"], {"cuvee": cuvee})
    assert cuvee.verify("noisy").ok


def test_every_layout_stands_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    assert all(f"`{name}`" in text for name in LAYOUTS)
    assert all(f"`{key}`" in text for key in [*MixtureItem.model_fields, *ExpertItem.model_fields])
