"""Classifiers of transformers as members: their own answers, whatever stands in the batch, in every modality."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from cuvee.errors import InputError, UsageError
from cuvee.families import pretrained
from cuvee.predict import Member, measure, rows_of, word_rows
from cuvee.predict.answers import ask, ask_all
from cuvee.predict.noting import noted
from tests.support import classifiers as made

CLASSES = tuple(made.NAMES.values())
TOKENIZER = made.tokenizer()


@pytest.fixture(scope="module")
def bert():
    return made.bert()


@pytest.fixture(scope="module")
def texts(bert):
    return Member.transformers(bert, TOKENIZER, name="bert", embed=True)


def logits(model, **inputs):
    """What the model says of one row, called as its page says."""
    with torch.no_grad():
        return model(**inputs).logits[0].double().numpy()


def one_by_one(function, things):
    return np.concatenate([function([thing]) for thing in things])


def test_texts_are_answered_as_the_model_does(bert, texts) -> None:
    found = ask(texts, rows_of(list(made.TEXTS)), CLASSES, "classification").P
    for row, text in zip(found, made.TEXTS):
        alone = logits(bert, **TOKENIZER(text, return_tensors="pt", return_token_type_ids=False))
        np.testing.assert_allclose(row, np.exp(alone) / np.exp(alone).sum(), atol=1e-6)


@pytest.mark.parametrize(
    ("model", "batch_size"),
    [(made.bert, None), (made.bert, 3), (made.llama, None), (lambda: made.llama(pad_token_id=None), None)],
    ids=["bert", "bert by threes", "llama", "llama that names no padding"],
)
def test_no_answer_depends_on_its_neighbours(model, batch_size) -> None:
    """The trap: padding without a mask moves logits by 0.64."""
    member = Member.transformers(model(), TOKENIZER, embed=True, batch_size=batch_size)
    together = member.ask(made.LONG)
    assert together.std(axis=0).min() > 1e-3, "texts differ, so that a neighbour's answer would be seen"
    np.testing.assert_allclose(together, one_by_one(member.ask, made.LONG), atol=2e-6)
    assert member.embed is not None
    np.testing.assert_allclose(member.embed(made.LONG), one_by_one(member.embed, made.LONG), atol=2e-6)


def test_texts_that_are_cut_are_noted(texts) -> None:
    made_of = ask_all([texts], rows_of(list(made.LONG)), CLASSES, "classification")
    assert made_of.notes == ("'bert': 1 of 7 texts were cut to 32 tokens",)
    short = Member.transformers(texts.thing.model, TOKENIZER, max_length=4)
    with noted() as notes:
        short.ask(["oak", "a blend of three wines"])
    assert notes == ["'bertforsequenceclassification': 1 of 2 texts were cut to 4 tokens"]


def test_embeddings_are_the_mean_of_the_last_states(bert, texts) -> None:
    encoded = TOKENIZER(made.TEXTS[0], return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        states = bert.bert(**encoded).last_hidden_state[0]
    assert texts.embed is not None
    np.testing.assert_allclose(texts.embed(made.TEXTS[:1])[0], states.mean(0).numpy(), atol=1e-6)


def test_pairs_of_columns_say_which_text_is_which() -> None:
    pairs = made.tokenizer()
    pairs.backend_tokenizer.post_processor = pairs_processor()
    pairs.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    model = made.bert()
    member = Member.transformers(model, pairs, reads=("first", "second"))
    rows = rows_of({"first": ["oak", "wine", None], "second": ["cold wine of the north", "dry", "x"], "other": "abc"})
    answered = ask(member, rows, CLASSES, "classification")
    assert answered.mask.tolist() == [True, True, False], "a pair of which one is lacking is none"
    given = pairs("wine", "dry", return_tensors="pt")
    assert given["token_type_ids"].tolist() == [[0, 0, 0, 1, 1]]
    alone = logits(model, **given)
    np.testing.assert_allclose(answered.P[1], np.exp(alone) / np.exp(alone).sum(), atol=1e-6)


def pairs_processor():
    from tokenizers import processors

    special = [("[CLS]", 1), ("[SEP]", 2)]
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )


def test_a_folder_answers_as_the_model_that_was_saved(tmp_path, bert, texts) -> None:
    pretrained.save(bert, tmp_path / "wines")
    TOKENIZER.save_pretrained(str(tmp_path / "wines"))
    member = Member.transformers(tmp_path / "wines")
    assert (member.name, member.classes, member.thing) == ("wines", CLASSES, tmp_path / "wines")
    np.testing.assert_array_equal(member.ask(made.TEXTS), texts.ask(made.TEXTS))
    cost = measure(member, list(made.TEXTS), batch=2).cost
    assert cost is not None
    assert cost.nbytes == sum(path.stat().st_size for path in (tmp_path / "wines").iterdir())
    assert cost.memory is not None
    assert measure(texts, list(made.TEXTS)).cost.memory is None, "of what was in memory before, nobody knows"


def test_a_regression_gives_values() -> None:
    model = made.bert(num_labels=1)
    member = Member.transformers(model, TOKENIZER)
    assert (member.output, member.classes, member.task) == ("values", (), "regression")
    found = ask(member, rows_of(["oak"]), (), "regression").P
    alone = logits(model, **TOKENIZER("oak", return_tensors="pt", return_token_type_ids=False))
    np.testing.assert_allclose(found[0], alone, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, "gives a row several labels"),
        ({"num_labels": 2, "problem_type": "regression"}, "gives a row 2 values"),
    ],
)
def test_several_labels_or_values_are_refused_by_name(settings, words) -> None:
    with pytest.raises(InputError, match=f"'m' {words}") as caught:
        Member.transformers(made.bert(**settings), TOKENIZER, name="m")
    assert caught.value.code == "wrong-member"


def test_classes_that_nobody_named_are_hinted_at() -> None:
    model = made.bert(num_labels=2)
    with pytest.raises(InputError, match="transformers calls classes so that nobody named") as caught:
        ask(Member.transformers(model, TOKENIZER), rows_of(["oak"]), ("no", "yes"), "classification")
    assert caught.value.code == "class-mismatch"
    named = Member.transformers(model, TOKENIZER, classes=("no", "yes"))
    assert ask(named, rows_of(["oak"]), ("no", "yes"), "classification").mask.all()
    with pytest.raises(UsageError, match="has 2 classes, 'LABEL_0', 'LABEL_1'; `classes` names 3"):
        Member.transformers(model, TOKENIZER, classes=("a", "b", "c"))
    with pytest.raises(UsageError, match="in the order 'LABEL_0', 'LABEL_1'; `classes` has them in another"):
        Member.transformers(model, TOKENIZER, classes=("LABEL_1", "LABEL_0"))


def test_a_model_in_training_mode_is_put_in_evaluation_mode_and_kept_there() -> None:
    model = made.bert(hidden_dropout_prob=0.5).train()
    member = Member.transformers(model, TOKENIZER, name="m")
    assert "was in training mode" in member.notes[0]
    np.testing.assert_array_equal(member.ask(["oak"]), member.ask(["oak"]))
    model.bert.embeddings.dropout.train()
    with pytest.raises(InputError, match="'m' is in training mode, so that dropout is on") as caught:
        ask(member, rows_of(["oak"]), CLASSES, "classification")
    assert caught.value.code == "bad-output"


@pytest.mark.parametrize(
    ("rows", "reads", "words"),
    [
        ([3], None, "reads texts; found 3 of type int"),
        ({"a": ["x"], "b": ["x"], "c": ["x"]}, None, "one column of texts, or two for pairs; found 3 columns"),
        ({"a": ["x"]}, "b", "have a column 'b'; they have 'a'"),
    ],
)
def test_rows_that_are_no_texts(bert, rows, reads, words) -> None:
    with pytest.raises(InputError, match=words) as caught:
        ask(Member.transformers(bert, TOKENIZER, reads=reads), rows_of(rows), CLASSES, "classification")
    assert caught.value.code == "bad-data"


def test_a_tokenizer_of_another_model(bert) -> None:
    class Foreign:
        model_max_length = 32

        def __call__(self, texts, **_):
            return {"input_ids": [[1, 4000, 2] for _ in texts]}

    with pytest.raises(InputError, match="writes the token 4000, and its model knows 96") as caught:
        ask(Member.transformers(bert, Foreign()), rows_of(["oak"]), CLASSES, "classification")
    assert caught.value.code == "vocabulary-mismatch"


def test_what_is_no_classifier(tmp_path, bert) -> None:
    causal = made.seeded(lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**made.LLAMA)), 0)
    for reader, model, code, words in (
        (TOKENIZER, causal, "wrong-member", "LlamaForCausalLM is no classifier"),
        (None, bert, "no-tokenizer", "needs a tokenizer, and there is none"),
        (None, made.vit()[0], "wrong-member", "needs an image processor"),
        (None, made.ast()[0], "wrong-member", "needs a feature extractor"),
        (None, tmp_path / "none", "model-missing", "there is no folder"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            Member.transformers(model, reader, name="m")
        assert caught.value.code == code


def test_a_tokenizer_that_cannot_be_loaded(tmp_path, bert) -> None:
    pretrained.save(bert, tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="its tokenizer cannot be used") as caught:
        Member.transformers(tmp_path)
    assert caught.value.code == "no-tokenizer"


def test_texts_from_many_threads_at_once(texts) -> None:
    """A fast tokenizer is told to cut and is asked by others meanwhile."""
    expected, wrong = texts.ask(made.LONG), []

    def run() -> None:
        for _ in range(5):
            try:
                np.testing.assert_allclose(texts.ask(made.LONG), expected, atol=2e-6)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_words_are_rows() -> None:
    model = made.tagger()
    member = Member.transformers(model, TOKENIZER, name="m")
    sentences = [["the", "cellar", "is", "cold"], ["oak"], ["a", "blend", "of", "three", "northern", "wines"]]
    rows = word_rows(sentences)
    assert rows.ids[:5] == ("0:0", "0:1", "0:2", "0:3", "1:0")
    found = ask(member, rows, CLASSES, "classification")
    assert len(rows) == found.mask.sum() == 11
    for number, sentence in enumerate(sentences):
        encoded = TOKENIZER(sentence, is_split_into_words=True, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            alone = model(**encoded).logits[0].double().numpy()
        owners = encoded.word_ids()
        for word in range(len(sentence)):
            z = alone[owners.index(word)]
            row = found.P[rows.ids.index(f"{number}:{word}")]
            np.testing.assert_allclose(row, np.exp(z) / np.exp(z).sum(), atol=1e-6)
    assert len(owners) > len(sentences[2]) + 2, "some words come to several tokens"
    some = ask(member, rows.take([7, 0]), CLASSES, "classification").P
    np.testing.assert_allclose(some, found.P[[7, 0]], atol=2e-6)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["the cellar"], "its rows are a list of words and the number of one of them"),
        ({"words": ["the cellar"], "at": [0]}, "a list of words, and the number of one; found 'the cellar'"),
        ({"words": [["oak"]], "at": [1]}, "found .* and 1"),
        ({"words": [["oak"] * 60], "at": [1]}, "should come to 32 tokens at most"),
        ({"words": [["oak", " "]], "at": [0]}, "makes no token of the word ' '"),
    ],
)
def test_rows_that_are_no_words(rows, words) -> None:
    reads = ("words", "at") if isinstance(rows, dict) else None
    member = Member.transformers(made.tagger(), TOKENIZER, name="m", reads=reads)
    with pytest.raises(InputError) as caught:
        member.ask(rows if isinstance(rows, dict) else list(rows))
    assert caught.value.code == "bad-data"
    caught.match(words)


def test_pictures(tmp_path) -> None:
    model, processor = made.vit()
    member = Member.transformers(model, processor, reads="picture", embed=True)
    some = made.pictures(11)
    grey = Image.fromarray(some[0]).convert("L")
    Image.fromarray(some[1]).save(tmp_path / "one.png")
    things = [*some, grey, np.asarray(grey), str(tmp_path / "one.png"), (tmp_path / "one.png").read_bytes(), None]
    answered = ask(member, rows_of({"picture": things}), CLASSES, "classification", embed=True)
    assert answered.mask.tolist() == [True] * 15 + [False]
    np.testing.assert_array_equal(answered.P[11], answered.P[12])
    np.testing.assert_allclose(answered.P[13:15], answered.P[[1, 1]], atol=2e-6)
    alone = logits(model, **processor(Image.fromarray(some[3]), return_tensors="pt"))
    np.testing.assert_allclose(answered.P[3], np.exp(alone) / np.exp(alone).sum(), atol=2e-6)
    np.testing.assert_allclose(member.ask(some), one_by_one(member.ask, some), atol=2e-6)
    assert answered.embeddings is not None
    assert answered.embeddings.shape == (16, 32)
    assert np.isnan(answered.embeddings[15]).all()
    model.save_pretrained(tmp_path / "vit")
    processor.save_pretrained(tmp_path / "vit")
    np.testing.assert_array_equal(Member.transformers(tmp_path / "vit").ask(some), member.ask(some))


@pytest.mark.parametrize(
    "kind", [made.wav2vec2, lambda: made.wav2vec2("layer"), made.ast], ids=["group", "layer", "ast"]
)
def test_sounds_of_several_lengths_do_not_change_each_other(tmp_path, kind) -> None:
    """Wav2Vec2 with group norms has no mask, and zeros behind a sound change its answer: nothing is padded."""
    model, extractor = kind()
    member = Member.transformers(model, extractor, embed=True)
    some = made.sounds(400, 700, 400, 900)
    found = member.ask(some)
    np.testing.assert_allclose(found, one_by_one(member.ask, some), atol=2e-6)
    alone = logits(model, **extractor(some[1], sampling_rate=16000, return_tensors="pt"))
    np.testing.assert_allclose(found[1], alone, atol=2e-6)
    assert member.embed is not None
    np.testing.assert_allclose(member.embed(some), one_by_one(member.embed, some), atol=2e-6)
    model.save_pretrained(tmp_path / "m")
    extractor.save_pretrained(tmp_path / "m")
    np.testing.assert_array_equal(Member.transformers(tmp_path / "m").ask(some), found)


@pytest.mark.parametrize(
    ("sound", "more", "words"),
    [
        (np.zeros((2, 400)), {}, r"found the shape \[2, 400\]"),
        (np.zeros(0), {}, r"found the shape \[0\]"),
        ({"array": np.zeros(400), "sampling_rate": 8000}, {}, "at 16000 a second; found 8000 samples a second"),
        (np.zeros(400), {"sampling_rate": 44100}, "found 44100 samples a second"),
    ],
)
def test_sounds_that_the_model_cannot_hear(sound, more, words) -> None:
    member = Member.transformers(*made.ast(), name="m", **more)
    with pytest.raises(InputError, match=words) as caught:
        member.ask([sound])
    assert caught.value.code == "bad-data"


def test_sounds_that_say_their_rate() -> None:
    member = Member.transformers(*made.ast(), reads="sound")
    (some,) = made.sounds(400)
    said = {"array": some, "sampling_rate": 16000}
    rows = rows_of([{"sound": said}, {"sound": some}, {"sound": None}])
    answered = ask(member, rows, CLASSES, "classification")
    np.testing.assert_array_equal(answered.P[0], answered.P[1])
    assert answered.mask.tolist() == [True, True, False]
