"""The vocabulary seen through the model: the strongest words and n-grams of each label.

The weight of a word is what it adds to the log-odds of a label if a text has no other word: as a word of the
classifier, as an n-gram of one word, and by the n-grams of its letters. That of an n-gram of several words is
what this n-gram alone adds. Both are divided by the temperature, as logits are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stages import UNK_TOKEN
from stages.lib.arrays import Float64, Int64
from stages.lib.charts.words import Word
from stages.lib.model import Model
from stages.lib.page.pack import unpack_strings

MAP_WORDS = 250  # points of the map
COUNT_POWER = 0.25  # a word of the map is chosen by |weight| * count ** COUNT_POWER: frequent and decisive
CANDIDATES = 20  # n-grams looked at for each that is listed
RARE = 3  # occurrences up to which the weight of a word is mostly chance


class Entry(NamedTuple):
    """A word or n-gram and its weight for a label."""

    text: str
    weight: float
    occurrences: int | None = None  # in the text that the vocabulary was made from


class Lexicon(NamedTuple):
    """The words of data/explorer.safetensors, the most frequent first."""

    words: list[str]
    counts: Int64  # (V,)
    weights: Float64  # (V, O)
    coords: Float64  # (V, C)
    explained: Float64  # (C,)

    @classmethod
    def of_space(cls, space: Mapping[str, Any]) -> "Lexicon":
        """The lexicon in the arrays that `stages.lib.page.space` describes."""
        return cls(
            unpack_strings(space, "words"),
            space["count"].astype(np.int64),
            space["weights"] * space["weights_scale"].astype(np.float64),
            space["coords"] * space["coords_scale"].astype(np.float64),
            space["explained"].astype(np.float64),
        )


def towards(weights: Float64, label: int, labels: int) -> Float64:
    """Weights (F, O) as evidence for one label, (F,). Two labels share one column."""
    column: Float64 = weights[:, 0] * (2 * label - 1) if labels == 2 else weights[:, label]
    return column


def strongest(weights: Float64, count: int) -> list[int]:
    """The positions of the highest positive weights (F,), the highest first.

    >>> strongest(np.array([0.5, -1.0, 2.0]), 5)
    [2, 0]
    """
    order = np.argsort(-np.round(weights, 6), kind="stable")[:count]
    return [int(number) for number in order if weights[number] > 0]


def strongest_words(lexicon: Lexicon, label: int, labels: int, count: int) -> list[Entry]:
    """The words that are the strongest evidence for a label, without very rare ones if others remain."""
    evidence = towards(lexicon.weights, label, labels)
    common = lexicon.counts > RARE
    if common.sum() >= count:
        evidence = np.where(common, evidence, 0)
    return [
        Entry(lexicon.words[number], float(evidence[number]), int(lexicon.counts[number]))
        for number in strongest(evidence, count)
    ]


def strongest_ngrams(model: Model, words: Sequence[str], label: int, count: int) -> list[Entry]:
    """The n-grams of several words that are the strongest evidence for a label, without those that contain a
    punctuation mark. `words` (V,) are the vocabulary.

    Hashed n-grams have no text: then there are none.
    """
    ngrams = model.ngrams
    if ngrams is None or ngrams.config.buckets or not len(ngrams.keys):
        return []
    several = np.flatnonzero(ngrams.keys >= ngrams.config.words)  # a key of one word is below V
    evidence = towards(ngrams.weight[several].astype(np.float64), label, len(model.labels))
    evidence /= model.config.temperature
    entries: list[Entry] = []
    for number in strongest(evidence, CANDIDATES * count):
        tokens = tokens_of(int(ngrams.keys[several[number]]), words, ngrams.config.words)
        if all(map(is_word, tokens)) and len(entries) < count:
            entries.append(Entry(" ".join(tokens), float(evidence[number])))
    return entries


class Entries(NamedTuple):
    """The strongest evidence for a label, the strongest first."""

    words: list[Entry]
    ngrams: list[Entry]


def label_entries(
    lexicon: Lexicon, model: Model, tokens: Sequence[str], count: int
) -> list[tuple[str, Entries]]:
    """The strongest words and n-grams of each label. `tokens` (V,) are the vocabulary."""
    labels = model.labels
    return [
        (
            label,
            Entries(
                strongest_words(lexicon, number, len(labels), count),
                strongest_ngrams(model, tokens, number, count),
            ),
        )
        for number, label in enumerate(labels)
    ]


def tokens_of(key: int, words: Sequence[str], base: int) -> list[str]:
    """The words of an n-gram, from its key: the row numbers are digits in base V (`stages.lib.ngram.keys`).

    >>> tokens_of(12, ["<pad>", "not", "good"], 10)
    ['not', 'good']
    """
    parts: list[str] = []
    while key:
        key, row = divmod(key, base)
        parts.append(words[row])
    return parts[::-1]


def is_word(token: str) -> bool:
    """Whether a token has a letter or digit, and is neither a punctuation mark nor the unknown word.

    >>> is_word("9"), is_word("!")
    (True, False)
    """
    return token != UNK_TOKEN and any(letter.isalnum() for letter in token)


def map_words(lexicon: Lexicon, labels: int, ordered: bool) -> list[Word]:
    """The words of the map, the most decisive first: frequent ones with strong weights.

    With two labels or an order of labels, the sign of a weight is that of the last label against the first.
    """
    weights = lexicon.weights
    if weights.shape[1] == 1:
        weight = weights[:, 0]
    elif ordered:
        weight = weights[:, -1] - weights[:, 0]
    else:
        weight = weights.max(1)
    score = np.round(np.abs(weight) * lexicon.counts**COUNT_POWER, 6)
    score *= [is_word(word) for word in lexicon.words]
    flat = lexicon.coords if lexicon.coords.shape[1] > 1 else np.repeat(lexicon.coords, 2, 1)
    return [
        Word(lexicon.words[n], float(flat[n, 0]), float(flat[n, 1]), float(weight[n]))
        for n in np.argsort(-score, kind="stable")[:MAP_WORDS]
    ]
