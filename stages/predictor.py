"""Predictor: the one way from any text to probabilities, and to what each word contributes.

    text -> clean -> tokens -> row numbers -> cut -> logits -> probabilities

Each step is the function of the stage that prepared the training data, so a new text is treated as those
were. Not a stage: robustness, report and tools.predict import it.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.ids import encode, row_numbers
from stages.lib.arrays import Float64, Int32, Int64
from stages.lib.command import Refusal
from stages.lib.files import sha256
from stages.lib.model import Model
from stages.lib.parallel import map_ahead
from stages.lib.reviews import Documents, logits_for
from stages.lib.text import clean
from stages.tensors import truncate
from stages.tokens import WORD_START, Tokeniser, read_tokeniser

KEPT = 100_000  # contributions of a text that are listed: those of about 25,000 words
TEXTS = 2048  # scored at a time: few enough that two cores finish together


class Contribution(NamedTuple):
    """What a word or n-gram at one position adds to a logit."""

    text: str
    start: int  # its first token
    end: int  # the token after its last
    value: float


class Explanation(NamedTuple):
    """How the logit of a label is made up: the bias and all contributions sum to it."""

    label: str
    logit: float
    bias: float
    contributions: list[Contribution] | None  # strongest first; None if the pool takes a maximum
    tokens: list[str]  # that the model scored
    known: int  # tokens that are in the vocabulary
    dropped: int  # tokens of a longer text that were cut off
    others: float = 0.0  # the sum of all contributions but the KEPT strongest

    def strongest(self, count: int) -> tuple[list[tuple[str, float]], float]:
        """The `count` strongest words and n-grams, each with the sum over its positions, and the sum of
        all others."""
        sums: dict[str, float] = defaultdict(float)
        for contribution in self.contributions or []:
            sums[contribution.text] += contribution.value
        # Values that differ in their last bits only are ordered by their text.
        ordered = sorted(sums.items(), key=lambda item: (-round(abs(item[1]), 6), item[0]))
        return ordered[:count], sum((value for _, value in ordered[count:]), self.others)


class Encoded(NamedTuple):
    """Texts as lists of codes, (N,), before they are cut. See `stages.lib.reviews.Documents`."""

    lists: pa.ListArray
    unknown: list[str]


class Predictor:
    """A tokeniser, a vocabulary and a model of one run."""

    def __init__(self, tokeniser: Tokeniser, numbers: dict[str, int], model: Model) -> None:
        """`numbers` are the row numbers of the vocabulary's words."""
        self.tokeniser, self.numbers, self.model, self.labels = tokeniser, numbers, model, model.labels

    @classmethod
    def load(cls, tokeniser: Path, vocabulary: Path, ensemble: Path) -> "Predictor":
        """Reads the outputs of a run. Raises Refusal if they are of different runs."""
        model = Model.load(ensemble)
        if sha256(vocabulary) != model.config.vocabulary:
            raise Refusal(f"{ensemble}: trained with another vocabulary than {vocabulary}; run `dvc repro`")
        if model.config.tokeniser not in (None, sha256(tokeniser)):
            raise Refusal(f"{ensemble}: trained with another tokeniser than {tokeniser}; run `dvc repro`")
        return cls(read_tokeniser(tokeniser), row_numbers(vocabulary), model)

    def tokens(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of each text, before it is cut."""
        table = pl.DataFrame({"text": pl.Series(cleaned(texts), dtype=pl.String)})
        lists: list[list[str]] = self.tokeniser.split(table).to_list()
        return lists

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The codes of each text's tokens. Words repeat, so each distinct word is tokenised and looked up
        once."""
        column = cleaned(texts)
        # In a text that has ▁ itself, subwords do not begin at spaces alone.
        by_word = self.tokeniser.by_word and not pc.any(pc.match_substring(column, WORD_START)).as_py()
        words = pc.split_pattern(column, " ") if by_word else one_word_each(column)
        encoded = words.values.dictionary_encode()
        distinct = pl.DataFrame({"text": pl.Series(encoded.dictionary, dtype=pl.String)})
        tokens = self.tokeniser.split(distinct).to_arrow().cast(pa.list_(pa.string()))
        codes, unknown = encode(tokens, self.numbers)
        of_word = codes.take(encoded.indices)
        lists = pa.ListArray.from_arrays(of_word.offsets.take(words.offsets), of_word.values)
        return Encoded(lists, unknown)

    def encode_tokens(self, lists: pa.ListArray) -> Encoded:
        """The codes of lists of tokens."""
        return Encoded(*encode(lists, self.numbers))

    def cut(self, texts: Encoded) -> Documents:
        """Texts, cut as the training documents were."""
        flat, lengths = np.asarray(texts.lists.flatten()), lengths_of(texts.lists)
        config = self.model.config
        if config.width is not None:
            flat, lengths = truncate(flat, lengths, config.width, config.keep)
        return Documents(flat, lengths, texts.unknown)

    def score(self, texts: Encoded) -> Float64:
        """The logits (N, O) of texts."""
        return self.model.logits(self.cut(texts))

    def logits(self, texts: Sequence[str]) -> Float64:
        """The logits (N, O) of any number of texts."""
        batches = (texts[first : first + TEXTS] for first in range(0, len(texts), TEXTS))
        parts = map_ahead(lambda batch: self.score(self.encode(batch)), batches)
        return np.concatenate([np.empty((0, logits_for(len(self.labels)))), *parts])

    def probabilities(self, texts: Sequence[str]) -> Float64:
        """The calibrated probabilities (N, L) of the labels."""
        return self.model.probabilities(self.logits(texts))

    def predict(self, texts: Sequence[str]) -> Int64:
        """The predicted label numbers (N,)."""
        return self.model.predicted(self.probabilities(texts))

    def explain(self, text: str, label: int | None = None) -> Explanation:
        """How the logit of a label comes about: of `label`, or of the predicted one. Two labels share one
        logit; the first label's is its negative."""
        return self.explain_all([text], label)[0]

    def explain_all(self, texts: Sequence[str], label: int | None = None) -> list[Explanation]:
        """`explain` of each text, faster than one by one. Test: tests/test_predictor.py,
        test_texts_are_explained_together_as_one_by_one."""
        table = pl.DataFrame({"text": pl.Series(cleaned(texts), dtype=pl.String)})
        lists = self.tokeniser.split(table).to_arrow().cast(pa.list_(pa.string()))
        words = lists.flatten().dictionary_encode()
        distinct = np.array([*words.dictionary.to_pylist(), None], object)  # one string for each word
        tokens = np.split(np.asarray(words.indices), np.cumsum(lengths_of(lists))[:-1])
        documents = self.cut(self.encode_tokens(lists))
        codes = np.split(documents.codes, np.cumsum(documents.lengths)[:-1])
        logits = self.model.logits(documents)  # (N, O)
        rows = zip((distinct[part] for part in tokens), codes, logits, strict=True)
        return [self.explain_document(*row, documents.unknown, label) for row in rows] if texts else []

    def explain_document(
        self,
        tokens: NDArray[np.object_],
        codes: Int32,
        logits: Float64,
        unknown: Sequence[str],
        label: int | None,
    ) -> Explanation:
        """`explain` of a document: all of its tokens, codes (T,) after cutting, and logits (O,)."""
        if label is None:
            label = int(self.model.predicted(self.model.probabilities(logits[None]))[0])
        column, sign = (label, 1) if len(logits) > 1 else (0, 2 * label - 1)
        kept: list[str] = tokens[self.kept_positions(len(tokens), len(codes))].tolist()
        document = Documents(codes, np.array([len(codes)]), unknown)
        contributions, others = self.contributions(document, kept, column, sign)
        return Explanation(
            label=self.labels[label],
            logit=sign * float(logits[column]),
            bias=sign * float(self.model.bias_of(document)[column]),
            contributions=contributions,
            tokens=kept,
            known=int((codes >= 0).sum()),
            dropped=len(tokens) - len(kept),
            others=others,
        )

    def kept_positions(self, tokens: int, width: int) -> Int32:
        """The positions of the tokens that cutting to `width` keeps."""
        positions = np.arange(tokens, dtype=np.int32)
        kept, _ = truncate(positions, np.array([tokens], np.int32), width, self.model.config.keep)
        return kept

    def contributions(
        self, document: Documents, tokens: Sequence[str], column: int, sign: int
    ) -> tuple[list[Contribution] | None, float]:
        """The KEPT strongest contributions of a document's words and n-grams to one logit, strongest first,
        and the sum of the others."""
        separator = " " if self.tokeniser.by_word else ""
        try:
            spans = self.model.values(document, column)
        except ValueError:  # the pool takes a maximum
            return None, 0.0
        starts = np.concatenate([start for start, _ in spans.values()])
        values = sign * np.concatenate([value for _, value in spans.values()])
        lengths = np.repeat(np.array(list(spans), np.int32), [len(start) for start, _ in spans.values()])
        size, others = np.abs(values), 0.0
        if len(values) > KEPT:
            possible = np.flatnonzero(size >= np.partition(size, -KEPT)[-KEPT])
            shown = possible[np.lexsort((lengths[possible], starts[possible], -size[possible]))][:KEPT]
            others = float(values.sum() - values[shown].sum())
        else:
            shown = np.lexsort((lengths, starts, -size))
        rows = zip(*(part[shown].tolist() for part in (starts, lengths, values)), strict=True)
        return [Contribution(separator.join(tokens[a : a + n]), a, a + n, v) for a, n, v in rows], others


def cleaned(texts: Sequence[str]) -> pa.Array:
    """Texts as `raw` cleans them."""
    return pa.array([clean(text) for text in texts], pa.large_string())


def lengths_of(lists: pa.ListArray) -> Int32:
    """The number of values in each list, (N,)."""
    return np.diff(np.asarray(lists.offsets))


def as_lists(values: pa.Array, lengths: Int32) -> pa.ListArray:
    """Consecutive values as lists of the given lengths (N,).

    >>> as_lists(pa.array([4, 5, 6]), np.array([0, 2, 1])).to_pylist()
    [[], [4, 5], [6]]
    """
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)


def one_word_each(column: pa.Array) -> pa.ListArray:
    """Each text as a list of one word, for tokenisers that do not split at spaces."""
    return as_lists(column, np.ones(len(column), np.int32))
