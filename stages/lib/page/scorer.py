"""The model as a page carries it, so that the page scores a text without a network.

    scorer = scorer_of(model, words, tokeniser, Limits(ngrams, vocabulary), test)
    pack(scorer.arrays)     the content of the element with the id "scorer"
    scorer.facts            what was left out, which the page states as well

`words` are the words of the vocabulary without the two reserved rows, `tokeniser` is the text of
data/tokeniser.json, and `test` returns the test documents and their labels: it is called only if something
was left out. A page that contains the scorer needs the scripts SCRIPTS, the style scorer.css and the fragment
scorer.jinja, and calls

    scorerOf(document.getElementById("scorer-box"), document.getElementById("scorer"));

array          shape          meaning
config         text (1,)      JSON: the choices of the model, and the facts
labels         text (L,)
words          text (V - 2,)  the vocabulary, from row 2 on; long words are shortened
weight         (V, O)         the weights of a `WordModel`, and its other arrays idf, vectors and layer
ngrams_*                      the keys of the n-grams of words as a trie (see `trie_of`)
ngrams_weight  (F, O)         in the order of the trie's nodes
alphabet       (A,)           the other arrays of a `CharModel`: word_weight, word_count
letters_*                     the n-grams of letters, as those of words
pieces, merges                byte-pair encoding: text (P,) and (K, 2)

Weights are stored as 16-bit integers with a scale for each column. The bytes of all integers are stored by
their significance, first all low bytes, then the higher ones, which compresses better.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from stages.lib.arrays import Int32
from stages.lib.model import Model
from stages.lib.page.pack import pack_strings
from stages.lib.reviews import Documents

SCRIPTS = ("scorer_text.js", "scorer_model.js", "scorer.js")  # after unpack.js

Test = Callable[[], tuple[Documents, Int32]]


class Limits(NamedTuple):
    """How much of a model a page carries."""

    ngrams: int  # at most so many n-grams of words and of letters
    vocabulary: int  # at most so many of the most frequent words


class Scorer(NamedTuple):
    """The content of a page."""

    arrays: dict[str, Any]
    facts: dict[str, Any]


def scorer_of(model: Model, words: Sequence[str], tokeniser: str, limits: Limits, test: Test) -> Scorer:
    """The arrays of a model."""
    facts: dict[str, Any] = {"words": [len(words), len(words)]}
    return Scorer({**pack_strings([json.dumps(facts)], "config")}, facts)
