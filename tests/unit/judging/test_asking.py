"""A batch gives the answers of one row at a time; what models cannot be asked is refused by name."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from cuvee.errors import InputError, ResourceError, UsageError
from cuvee.families import pretrained
from cuvee.judging.answering import answers, answers_of
from cuvee.judging.asking.batching import run_batched, tokens_for
from cuvee.judging.asking.classes import Encoded, _logits
from cuvee.judging.asking.classes import prepare as prepare_classes
from cuvee.judging.asking.encoding import context_of, padded, start_of
from cuvee.judging.asking.matching import ended, judged, normalised
from cuvee.judging.asking.matching import prepare as prepare_matching
from cuvee.judging.asking.retrieval import rank_of, vectors
from cuvee.judging.asking.subject import Subject, subject_in
from cuvee.judging.tasks.model import MatchOptions
from tests.support.judging import QUESTIONS, WORDS, one_by_one, subject, task, write_task

LABELLED = [{"text": text, "label": i % 3} for i, text in enumerate(WORDS)]
TEXTS = [{"text": text} for text in WORDS]
PROMPTS = [{"prompt": text, "answer": "oak"} for text in WORDS]
PAIRS = [{"a": WORDS[i - 1], "text": text, "label": i % 3} for i, text in enumerate(WORDS)]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Any:
    home, kept = tmp_path_factory.mktemp("models"), {}

    def get(case: str) -> Subject:
        if case not in kept:
            kept[case] = subject(home / case.replace(" ", "-"), case)
        return kept[case]

    return get


@pytest.fixture(scope="module")
def eyes(tmp_path_factory) -> Subject:
    """A small image classifier with its processor."""
    folder = tmp_path_factory.mktemp("eyes")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=16, patch_size=8,
        id2label={0: "cask", 1: "vine"}, label2id={"cask": 0, "vine": 1},
    )  # fmt: skip
    pretrained.save(transformers.ViTForImageClassification(config), folder)
    with pretrained.quiet(transformers):
        transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(str(folder))
        model = transformers.ViTForImageClassification.from_pretrained(str(folder)).eval()
    return subject_in(folder, model)


CASES = [
    ("llama", "perplexity", TEXTS, {}),
    ("gpt2", "perplexity", TEXTS, {}),
    ("bert masked", "perplexity", TEXTS, {}),
    ("llama", "multiple-choice", QUESTIONS, {}),
    ("bert classifier", "classification", LABELLED, {}),
    ("bert classifier", "classification", PAIRS, {"columns": {"text": "a", "pair": "text"}}),
]


@pytest.mark.parametrize(("case", "kind", "rows", "more"), CASES)
def test_a_batch_answers_as_one_row_at_a_time(models, tmp_path: Path, case: str, kind: str, rows, more) -> None:
    asked, about = models(case), task(tmp_path, rows, kind=kind, **more)
    alone, together = one_by_one(asked, about), answers_of(asked, about, batch_size=4)
    for name, column in alone.columns.items():
        np.testing.assert_allclose(together.columns[name], column, rtol=1e-4, atol=1e-5)
        some = answers_of(asked, about, [2, 0]).columns[name]
        np.testing.assert_allclose(some, column[[2, 0]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["llama", "gpt2"])
def test_what_is_written_does_not_depend_on_the_batch(models, tmp_path: Path, case: str) -> None:
    from cuvee.judging.asking.matching import prepare

    asked = models(case)
    about = task(tmp_path, PROMPTS, kind="exact-match", max_new_tokens=6)
    ready = prepare(about, asked)
    prompts = [own[0] for own in ready.questions]
    with torch.inference_mode():
        together = ready.forward(asked.model, prompts)
        alone = [ready.forward(asked.model, [prompt])[0] for prompt in prompts]
        by_hand = [greedily(asked, prompt.ids, 6) for prompt in prompts]
    assert together == alone == by_hand
    assert len(set(together)) > 1


def greedily(asked: Subject, ids: Any, most: int) -> str:
    """What the model writes, a token at a time, the whole text read anew for each."""
    row = list(ids)
    for _ in range(most):
        row.append(int(asked.model(input_ids=torch.tensor([row])).logits[0, -1].argmax()))
    new = row[len(ids) :]
    end = asked.model.config.eos_token_id
    return asked.tokenizer.decode(new[: new.index(end)] if end in new else new, skip_special_tokens=True)


def test_penalties_of_a_folder_change_nothing_that_is_written(models, tmp_path: Path) -> None:
    from cuvee.judging.asking.matching import prepare

    asked, about = models("gpt2"), task(tmp_path, PROMPTS, kind="exact-match", max_new_tokens=6)
    ready, settings = prepare(about, asked), asked.model.generation_config
    prompts = [own[0] for own in ready.questions]
    ids = torch.tensor([prompts[2].ids])
    with torch.inference_mode():
        before = ready.forward(asked.model, prompts)
        free = asked.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, pad_token_id=0)
        settings.repetition_penalty = 50.0
        try:
            bound = asked.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, pad_token_id=0)
            after = ready.forward(asked.model, prompts)
        finally:
            settings.repetition_penalty = None
    assert free.tolist() != bound.tolist()  # it would matter
    assert after == before
    assert asked.model.generation_config is settings


def test_right_answers_and_their_form(models, tmp_path: Path) -> None:
    from cuvee.judging.asking.matching import prepare

    asked, options = models("llama"), {"kind": "exact-match", "max_new_tokens": 4}
    ready = prepare(task(tmp_path, PROMPTS, **options), asked)
    with torch.inference_mode():
        said = ready.forward(asked.model, [own[0] for own in ready.questions])
    rows = [{"prompt": word, "answer": [text or "nothing", "else"]} for word, text in zip(WORDS, said)]
    found = answers_of(asked, task(tmp_path / "right", rows, **options)).columns
    assert found["correct"].tolist() == [float(text != "") for text in said]
    assert found["correct"].sum() > 0
    assert "parsed" not in found
    found = answers_of(asked, task(tmp_path / "form", rows, parse="^zzz$", **options)).columns
    assert found["parsed"].tolist() == [0.0] * len(rows)
    assert found["correct"].tolist() == [0.0] * len(rows)


def test_an_answer_ends_where_the_task_says() -> None:
    assert ended("a b; c\nd", ("\n", ";")) == ("a b", True)
    assert ended("a b", ("\n",)) == ("a b", False)
    assert ended("a b", ()) == ("a b", False)


@pytest.mark.parametrize(
    ("forms", "text", "wanted"),
    [
        ((), " A ", " A "),
        (("strip", "lower"), " A ", "a"),
        (("spaces",), "a \n b", "a b"),
        (("punctuation",), "«a», b.", "a b"),
        (("articles",), "The a theory", "theory"),
    ],
)
def test_forms_of_answers(forms, text: str, wanted: str) -> None:
    assert normalised(text, forms) == wanted


def test_a_group_of_the_pattern_is_what_is_compared() -> None:
    options = MatchOptions(parse=r"= (\d+)(!)?")
    assert judged("x = 12", ("12",), options) == (True, True)
    assert judged("x = 13", ("12",), options) == (False, True)
    assert judged("12", ("12",), options) == (False, False)
    assert judged("12", ("12",), MatchOptions(parse=r"\d")) == (True, True)


def test_classes_are_found_by_name_by_number_and_by_the_numbers_of_a_table(models, tmp_path: Path) -> None:
    asked = models("bert classifier")
    names = ["LABEL_0", "LABEL_1", "LABEL_2"]
    for labels in ([0, 1, 2], names, ["0", "1", "2"]):
        rows = [{"text": "oak", "label": label} for label in labels]
        assert answers_of(asked, task(tmp_path, rows, kind="classification")).columns["truth"].tolist() == [0, 1, 2]
    named = task(tmp_path, [{"text": "oak", "label": "dry"}], kind="classification", labels=["sweet", "dry", "pale"])
    found = answers_of(asked, named)
    assert found.columns["truth"].tolist() == [1]
    assert found.classes == ("sweet", "dry", "pale")


def test_probabilities_are_those_of_the_model(models, tmp_path: Path) -> None:
    asked = models("bert classifier")
    found = answers_of(asked, task(tmp_path, LABELLED, kind="classification"))
    with torch.no_grad():
        for i, row in enumerate(LABELLED):
            logits = asked.model(**asked.tokenizer(row["text"], return_tensors="pt")).logits[0].double()
            np.testing.assert_allclose(found.columns["probabilities"][i], logits.softmax(0).numpy(), rtol=1e-4)


def test_labels_that_the_model_has_no_class_for_are_all_told(models, tmp_path: Path) -> None:
    rows = [{"text": "oak", "label": label} for label in (0, "vintage", 7)]
    with pytest.raises(InputError) as caught:
        answers_of(models("bert classifier"), task(tmp_path, rows, kind="classification"))
    assert caught.value.codes == ("bad-data", "bad-data")
    assert [fault.place.line for fault in caught.value.faults] == [2, 3]
    assert "'vintage'" in str(caught.value)
    assert "LABEL_2" in str(caught.value)


@pytest.mark.parametrize(
    ("case", "kind", "rows"),
    [
        ("bert classifier", "perplexity", TEXTS),
        ("bert masked", "multiple-choice", QUESTIONS),
        ("llama", "classification", LABELLED),
        ("bert masked", "exact-match", PROMPTS),
    ],
)
def test_models_of_another_kind_are_refused_by_name(models, tmp_path: Path, case: str, kind: str, rows: Any) -> None:
    with pytest.raises(InputError) as caught:
        answers_of(models(case), task(tmp_path, rows, kind=kind))
    assert caught.value.codes == ("wrong-model",)
    assert type(models(case).model).__name__ in str(caught.value)


def test_a_number_is_asked_of_models_with_one_output(models, tmp_path: Path) -> None:
    rows = [{"text": text, "label": 0.5 * i} for i, text in enumerate(WORDS)]
    about = task(tmp_path, rows, kind="regression")
    with pytest.raises(InputError) as caught:
        answers_of(models("bert classifier"), about)
    assert caught.value.codes == ("wrong-model",)
    torch.manual_seed(0)
    config = transformers.BertConfig(**{**models("bert classifier").config.to_dict(), "num_labels": 1})
    model = transformers.BertForSequenceClassification(config).eval()
    found = answers(model, about, tokenizer=models("bert classifier").tokenizer).columns
    assert found["truth"].tolist() == [0.5 * i for i in range(len(WORDS))]
    with torch.no_grad():
        inputs = models("bert classifier").tokenizer(WORDS[2], return_tensors="pt")
        assert found["predicted"][2] == pytest.approx(float(model(**inputs).logits), rel=1e-4)


def test_texts_without_a_tokenizer_are_refused(models, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        answers(models("llama").model, task(tmp_path, TEXTS, kind="perplexity"))
    assert caught.value.codes == ("no-tokenizer",)


CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}{% if add_generation_prompt %}> {% endif %}"


def test_prompts_are_told_by_the_chat_template(models, tmp_path: Path) -> None:
    llama = models("llama")
    talking = copy.deepcopy(llama.tokenizer)
    talking.chat_template = CHAT
    asked = replace(llama, tokenizer=talking)
    how = {"kind": "exact-match", "max_new_tokens": 1}
    plain = prepare_matching(task(tmp_path / "a", PROMPTS[:2], **how), asked)
    chat = prepare_matching(task(tmp_path / "b", PROMPTS[:2], **how, chat=True, system="be dry"), asked)
    for (prompt,), (spoken,), text in zip(plain.questions, chat.questions, WORDS):
        told = talking(f"[system] be dry [user] {text} > ", add_special_tokens=False)["input_ids"]
        assert spoken.ids == tuple(told)
        assert prompt.ids != spoken.ids
        assert prompt.ids[0] == start_of(talking)[0]


def test_a_tokenizer_without_a_chat_template_is_told(models, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        prepare_matching(task(tmp_path, PROMPTS, kind="exact-match", chat=True), models("llama"))
    assert caught.value.codes == ("no-tokenizer",)
    assert "chat template" in str(caught.value)


def test_a_system_without_a_chat_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        task(tmp_path, PROMPTS, kind="exact-match", system="be dry")
    assert caught.value.codes == ("wrong-value",)
    assert "`system` goes with `chat: true`" in str(caught.value)


def test_rows_that_are_cut_are_noted(models, tmp_path: Path) -> None:
    ready = prepare_classes(task(tmp_path, LABELLED, kind="classification", max_length=6), models("bert classifier"))
    assert ready.notes
    assert "cut to 6 tokens" in ready.notes[0]
    assert all(len(own[0].ids) <= 6 for own in ready.questions)


def test_documents_are_found_by_their_vectors(models, tmp_path: Path) -> None:
    documents = [{"id": f"d{i}", "text": text} for i, text in enumerate(WORDS)]
    rows = [{"query": text, "relevant": f"d{i}"} for i, text in enumerate(WORDS)]
    rows.append({"query": WORDS[0], "relevant": ["d1", "d0"]})
    write_task(tmp_path, documents, kind="perplexity", name="documents")
    for pooling in ("mean", "cls"):
        about = task(tmp_path, rows, kind="embedding-retrieval", documents="documents.jsonl", pooling=pooling)
        found = answers_of(models("bert bare"), about, batch_size=3)
        assert found.columns["rank"].tolist() == [1] * len(rows)  # each text is nearest to itself
    about = task(
        tmp_path, [{"query": WORDS[0], "relevant": "d3"}], kind="embedding-retrieval", documents="documents.jsonl"
    )
    assert answers_of(models("bert bare"), about).columns["rank"][0] > 1


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_what_fills_up_a_text_is_no_part_of_its_vector(models, pooling: str) -> None:
    asked = models("bert bare")
    texts = [tuple(asked.tokenizer(text)["input_ids"]) for text in WORDS]
    with torch.inference_mode():
        together = vectors(asked.model, texts, pooling=pooling, fill=0)
        for ids, found in zip(texts, together):
            states = asked.model(input_ids=torch.tensor([ids])).last_hidden_state[0].double()
            np.testing.assert_allclose(found, (states[0] if pooling == "cls" else states.mean(0)).numpy(), atol=1e-5)


def test_the_second_of_two_texts_is_marked_as_such(models) -> None:
    asked = models("bert classifier")
    pair = Encoded((1, 7, 2, 9, 2), (0, 0, 0, 1, 1))
    with torch.inference_mode():
        _, found = _logits(asked.model, [Encoded((1, 7, 2)), pair], fill=0)
        wanted = asked.model(torch.tensor([pair.ids]), token_type_ids=torch.tensor([pair.types])).logits[0]
        without = asked.model(torch.tensor([pair.ids])).logits[0]
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    assert not np.allclose(found, without.numpy(), atol=1e-3)


def test_wrong_documents_that_are_as_near_come_first() -> None:
    assert rank_of(np.zeros(5), [3]) == 5
    assert rank_of(np.array([0.1, 0.9, 0.5]), [1, 2]) == 1
    assert rank_of(np.array([0.1, 0.9, 0.5]), [0, 2]) == 2


def test_pictures_are_put_into_classes(eyes, tmp_path: Path) -> None:
    for i, name in enumerate(("cask/a.png", "cask/b.png", "vine/c.png")):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16), (80 * i, 40, 255 - 80 * i)).save(tmp_path / "pictures" / name)
    about = task(tmp_path, kind="image-classification", data="pictures")
    found = answers_of(eyes, about, batch_size=2)
    assert found.classes == ("cask", "vine")
    assert found.columns["truth"].tolist() == [0, 0, 1]
    alone = one_by_one(eyes, about)
    np.testing.assert_allclose(found.columns["probabilities"], alone.columns["probabilities"], rtol=1e-5)
    pixels = eyes.pictures([Image.open(tmp_path / "pictures/vine/c.png")], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        wanted = eyes.model(pixel_values=pixels).logits[0].double().softmax(0)
    np.testing.assert_allclose(found.columns["probabilities"][2], wanted.numpy(), rtol=1e-5)


def test_a_damaged_picture_is_told_by_name(eyes, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "cask").mkdir(parents=True)
    (tmp_path / "pictures" / "cask" / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError) as caught:
        answers_of(eyes, task(tmp_path, kind="image-classification", data="pictures"))
    assert caught.value.codes == ("bad-data",)
    assert "a.png" in str(caught.value)


def test_a_vocabulary_that_the_model_does_not_have(models, tmp_path: Path) -> None:
    config = transformers.LlamaConfig(**{**models("llama").config.to_dict(), "vocab_size": 20})
    model = transformers.LlamaForCausalLM(config).eval()
    with pytest.raises(InputError) as caught:
        answers(model, task(tmp_path, TEXTS, kind="perplexity"), tokenizer=models("llama").tokenizer)
    assert caught.value.codes == ("vocabulary-mismatch",)


def test_rows_that_are_not_there(models, tmp_path: Path) -> None:
    about = task(tmp_path, TEXTS, kind="perplexity")
    for rows in ([], [6], [-1]):
        with pytest.raises(UsageError):
            answers_of(models("llama"), about, rows)


def test_what_stands_before_a_text(models) -> None:
    tokenizer = models("llama").tokenizer
    assert start_of(tokenizer) == (1,)  # the tests' tokenizer puts [CLS] before and [SEP] behind

    def made(alone: list[int], bos: int | None) -> Any:
        class Made:
            bos_token_id, eos_token_id = bos, 9

            def __call__(self, text, verbose):
                return {"input_ids": alone}

        return Made()

    assert start_of(made([], None)) == ()
    assert start_of(made([9], None)) == ()  # T5's, which stands behind
    assert start_of(made([9], 9)) == (9,)
    assert context_of(made([], 4)) == (4,)
    assert context_of(made([], None)) == (9,)


def test_padding_on_either_side() -> None:
    ids, mask = padded([[5, 6], [7]], 0, torch.device("cpu"))
    assert ids.tolist() == [[5, 6], [7, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]
    ids, mask = padded([[5, 6], [7]], 0, torch.device("cpu"), left=True)
    assert ids.tolist() == [[5, 6], [0, 7]]
    assert mask.tolist() == [[1, 1], [0, 1]]


class Crowded:
    """Runs batches, and is out of memory from some number of tokens on."""

    def __init__(self, room: int) -> None:
        self.room, self.batches = room, []

    def __call__(self, batch: list[int]) -> list[int]:
        self.batches.append(list(batch))
        if len(batch) * max(batch) > self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return [10 * width for width in batch]


def test_batches_are_halved_until_they_fit() -> None:
    run, widths, said = Crowded(8), [1, 5, 2, 8, 3, 3], []
    found = run_batched(widths, int, run, tokens=64, follow=lambda done, total: said.append((done, total)))
    assert found == [10 * width for width in widths]
    assert [len(batch) for batch in run.batches] == [6, 3, 1, 2, 1, 1, 1, 2]  # as many as the tokens allow come first
    assert said[-1] == (6, 6)
    assert [width for batch in run.batches for width in batch if len(batch) * max(batch) <= 8] == [8, 5, 3, 3, 2, 1]


def test_one_row_that_does_not_fit() -> None:
    with pytest.raises(ResourceError) as caught:
        run_batched([9], int, Crowded(8), tokens=64)
    assert caught.value.codes == ("memory",)


def test_other_errors_of_a_model_are_not_swallowed() -> None:
    def forward(batch: list[int]) -> list[int]:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        run_batched([1], int, forward, tokens=8)


def test_rows_of_a_batch_may_be_given() -> None:
    run = Crowded(100)
    run_batched([4, 3, 2, 1, 1], int, run, tokens=1, rows=2)
    assert [len(batch) for batch in run.batches] == [2, 2, 1]


def test_large_vocabularies_make_small_batches() -> None:
    assert tokens_for("cpu", 1) == 2048
    assert tokens_for("cpu", 1 << 18) == 512
    assert tokens_for("cuda", 1 << 30) == 1
