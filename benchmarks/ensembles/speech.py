"""Acoustic scores and a language model: what each way of putting them together makes of words.

Speech made here: each letter is a prototype that a speaker holds for a few frames, with noise, and letters come in
pairs that sound alike. A small convolutional network is trained by CTC on strings of random letters, so that it knows
sounds and no words; a word bigram is trained on text of its own. The weight of the language model and the bonus of a
word are chosen on a development set; word error rates are of a test set that nothing was chosen on. No text of the test
set stands in the development set or in what the bigram was trained on.

    python benchmarks/ensembles/speech.py [--seeds 1] [--first 0]

Bar: shallow fusion has at most half the word errors of greedy decoding, in every draw.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import log
from typing import Any, Final

import numpy as np

from cuvee.speech import Bigram, Tuned, ctc_decode, greedy_decode, rescore, tune, word_errors

Array = np.ndarray[Any, Any]

LETTERS: Final = "abcdefghijkl"
LABELS: Final = ("-", " ", *LETTERS)
"""The blank, the space between words, and the letters; `a` sounds like `b`, `c` like `d` …"""
WIDTH: Final = 10
"""Numbers in a frame."""
ALIKE: Final = 0.75
"""How far apart the two letters of a pair are, in units of the distance between pairs."""
NOISE: Final = 0.5
BEAM: Final = 16
LEAST: Final = log(1e-3)
"""Symbols that are less probable in a frame are passed over."""
HALF: Final = 0.5
GRID: Final = {"lm_weights": (0.0, 0.25, 0.5, 0.75, 1.0), "word_bonuses": (0.0, 1.0, 2.0, 3.0, 4.0)}


@dataclass(frozen=True)
class Language:
    """Words, and how probable each is after each: row 0 says how texts begin."""

    words: tuple[str, ...]
    after: Array

    @staticmethod
    def drawn(rng: np.random.Generator, words: int = 60) -> Language:
        """Short words of any letters, a few of which are likely after each."""
        found: dict[str, None] = {}
        while len(found) < words:
            found["".join(rng.choice(list(LETTERS), rng.integers(2, 5)))] = None
        return Language(tuple(found), rng.dirichlet(np.full(words, 0.05), words + 1))

    def texts(self, rng: np.random.Generator, count: int) -> list[str]:
        """Texts of three to seven words."""
        return [self._text(rng) for _ in range(count)]

    def new_texts(self, rng: np.random.Generator, count: int, known: set[str]) -> list[str]:
        """Texts that are not known yet, all different; they are known then."""
        made: list[str] = []
        while len(made) < count:
            text = self._text(rng)
            if text not in known:
                known.add(text)
                made.append(text)
        return made

    def _text(self, rng: np.random.Generator) -> str:
        last, text = 0, []
        for _ in range(rng.integers(3, 8)):
            last = int(rng.choice(len(self.words), p=self.after[last])) + 1
            text.append(self.words[last - 1])
        return " ".join(text)


@dataclass(frozen=True)
class Speaker:
    """What each symbol sounds like."""

    prototypes: dict[str, Array]

    @staticmethod
    def drawn(rng: np.random.Generator) -> Speaker:
        sounds = {" ": np.zeros(WIDTH)}
        for first, second in zip(LETTERS[::2], LETTERS[1::2]):
            middle, apart = rng.normal(size=(2, WIDTH))
            apart *= ALIKE / np.linalg.norm(apart)
            sounds[first], sounds[second] = middle + apart, middle - apart
        return Speaker(sounds)

    def said(self, text: str, rng: np.random.Generator) -> Array:
        """A text spoken: two to four frames of each symbol, `[T, WIDTH]` float32."""
        frames = [self.prototypes[symbol] for symbol in text for _ in range(rng.integers(2, 5))]
        return (np.stack(frames) + NOISE * rng.normal(size=(len(frames), WIDTH))).astype(np.float32)


def letters(rng: np.random.Generator, count: int) -> list[str]:
    """Strings of random letters and spaces, about as long as texts are."""
    lengths = [rng.integers(2, 5, rng.integers(3, 8)) for _ in range(count)]
    return [" ".join("".join(rng.choice(list(LETTERS), size)) for size in sizes) for sizes in lengths]


def trained(speaker: Speaker, rng: np.random.Generator, seed: int, *, utterances: int, epochs: int) -> Any:
    """A network from frames to logits, trained by CTC; three convolutions over time."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv1d(WIDTH, 48, 5, padding=2),
        nn.ReLU(),
        nn.Conv1d(48, 48, 5, padding=2),
        nn.ReLU(),
        nn.Conv1d(48, len(LABELS), 1),
    )
    texts = letters(rng, utterances)
    heard = [(speaker.said(text, rng), [LABELS.index(symbol) for symbol in text]) for text in texts]
    steps = torch.optim.Adam(net.parameters(), 3e-3)
    loss_of = nn.CTCLoss(blank=0)
    for _ in range(epochs):
        for batch in batches(heard, rng):
            frames, targets, sizes, lengths = batch
            said = net(frames).log_softmax(dim=1).permute(2, 0, 1)
            steps.zero_grad()
            loss_of(said, targets, sizes, lengths).backward()
            steps.step()
    return net.eval()


def batches(heard: Sequence[tuple[Array, list[int]]], rng: np.random.Generator, size: int = 16) -> Iterator[Any]:
    """Utterances padded to the same length, in an order of their own each time."""
    import torch

    order = rng.permutation(len(heard))
    for start in range(0, len(order), size):
        some = [heard[at] for at in order[start : start + size]]
        frames = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(one) for one, _ in some], batch_first=True)
        targets = torch.tensor([symbol for _, text in some for symbol in text])
        sizes = torch.tensor([len(one) for one, _ in some])
        yield frames.transpose(1, 2), targets, sizes, torch.tensor([len(text) for _, text in some])


def scores_of(net: Any, frames: Array) -> Array:
    """Logarithms of the probabilities of the symbols, `[T, V]`."""
    import torch

    with torch.no_grad():
        return net(torch.from_numpy(frames).T[None])[0].log_softmax(dim=0).T.double().numpy()


@dataclass(frozen=True)
class Spoken:
    """Utterances: their acoustic scores and what was really said."""

    scores: tuple[Array, ...]
    texts: tuple[str, ...]

    def wer(self, decode: Callable[[Array], str]) -> float:
        return word_errors([decode(one) for one in self.scores], self.texts).rate


@dataclass
class Found:
    """Of one draw: way → word error rate on the test set; what was chosen on the development set; seconds."""

    wer: dict[str, float] = field(default_factory=dict)
    fusion: Tuned | None = None
    rescoring: Tuned | None = None
    seed: int = 0
    seconds: float = 0.0


def best(one: Array, **settings: Any) -> str:
    return ctc_decode(one, LABELS, beam=BEAM, least=LEAST, **settings)[0].text


def measured(
    seed: int, *, utterances: int = 400, epochs: int = 12, texts: int = 2000, dev: int = 40, test: int = 150
) -> Found:
    """Train, tune on the development set, and measure on the test set."""
    began, rng = time.perf_counter(), np.random.default_rng(seed)
    language, speaker = Language.drawn(rng), Speaker.drawn(rng)
    net = trained(speaker, rng, seed, utterances=utterances, epochs=epochs)
    read, *kept_apart = parted(language, rng, texts, dev, test)
    held, new = (spoken(net, speaker, some, rng) for some in kept_apart)
    found = compared(held, new, Bigram.trained(read))
    found.seed = seed
    found.seconds = time.perf_counter() - began
    return found


def parted(
    language: Language, rng: np.random.Generator, texts: int, dev: int, test: int
) -> tuple[list[str], list[str], list[str]]:
    """Texts for the bigram, the development set and the test set; none stands in two of them."""
    read = language.texts(rng, texts)
    known = set(read)
    return read, language.new_texts(rng, dev, known), language.new_texts(rng, test, known)


def spoken(net: Any, speaker: Speaker, texts: Sequence[str], rng: np.random.Generator) -> Spoken:
    return Spoken(tuple(scores_of(net, speaker.said(text, rng)) for text in texts), tuple(texts))


def compared(held: Spoken, new: Spoken, lm: Bigram) -> Found:
    """Every way, its weights chosen on `held`, measured on `new`."""
    found = Found()
    found.wer["greedy"] = new.wer(partial(greedy_decode, labels=LABELS))
    found.wer[f"beam {BEAM}, no language model"] = new.wer(best)
    fusion = found.fusion = tune(
        lambda weight, bonus: [best(one, lm=lm, lm_weight=weight, word_bonus=bonus) for one in held.scores],
        held.texts,
        **GRID,
    )
    chosen = {"lm": lm, "lm_weight": fusion.lm_weight}
    found.wer["shallow fusion, no word bonus"] = new.wer(partial(best, **chosen))
    found.wer["shallow fusion"] = new.wer(partial(best, **chosen, word_bonus=fusion.word_bonus))
    lists = [ctc_decode(one, LABELS, beam=BEAM, least=LEAST, nbest=BEAM) for one in held.scores]
    again = found.rescoring = tune(
        lambda weight, bonus: [rescore(one, lm, lm_weight=weight, word_bonus=bonus)[0].text for one in lists],
        held.texts,
        **GRID,
    )
    for nbest in (4, BEAM):
        found.wer[f"{nbest}-best rescored"] = new.wer(partial(rescored, nbest, lm, again))
    return found


def rescored(nbest: int, lm: Bigram, tuned: Tuned, one: Array) -> str:
    listed = ctc_decode(one, LABELS, beam=BEAM, least=LEAST, nbest=nbest)
    return rescore(listed, lm, lm_weight=tuned.lm_weight, word_bonus=tuned.word_bonus)[0].text


def table(found: Sequence[Found]) -> str:
    """Word error rates on the test sets, a column for each draw."""
    lines = [f"{'WER, test set':34}" + "".join(f"{f'seed {one.seed}':>9}" for one in found)]
    lines += [f"{way:34}" + "".join(f"{one.wer[way]:9.3f}" for one in found) for way in found[0].wer]
    lines.append(f"{'fusion ÷ greedy':34}" + "".join(f"{ratio(one):9.3f}" for one in found))
    lines.append(f"{'seconds':34}" + "".join(f"{one.seconds:9.1f}" for one in found))
    return "\n".join(lines)


def ratio(found: Found) -> float:
    return found.wer["shallow fusion"] / found.wer["greedy"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="how many draws")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    told = parser.parse_args(argv)
    found = []
    for seed in range(told.first, told.first + told.seeds):
        found.append(measured(seed))
        for what, tuned in (("fusion", found[-1].fusion), ("rescoring", found[-1].rescoring)):
            print(f"seed {seed}: {what} on the development set, WER\n{tuned.grid() if tuned else ''}\n", flush=True)
    print(table(found))
    kept = all(ratio(one) <= HALF for one in found)
    print(f"bar (fusion ≤ {HALF} of greedy): {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
