"""Speech: acoustic scores (CTC) and a language model decoded together.

acoustic   what acoustic scores must be
greedy     the best symbol of each frame
prefixes   prefixes of transcripts as a tree, with what a language model says of them
beam       prefix beam search, the language model asked at the end of each word (shallow fusion)
rescoring  the n best transcripts ordered anew by a language model
scorer     what a language model must be able to do
bigram     a small one, trained from text
error_rate word error rate
tuning     weights chosen on a development set
"""

from cuvee.speech.beam import Hypothesis, ctc_decode
from cuvee.speech.bigram import Bigram
from cuvee.speech.error_rate import Errors, word_errors
from cuvee.speech.greedy import greedy_decode
from cuvee.speech.rescoring import rescore
from cuvee.speech.scorer import Scorer, score_of_words
from cuvee.speech.tuning import Trial, Tuned, tune

__all__ = [
    "Bigram",
    "Errors",
    "Hypothesis",
    "Scorer",
    "Trial",
    "Tuned",
    "ctc_decode",
    "greedy_decode",
    "rescore",
    "score_of_words",
    "tune",
    "word_errors",
]
