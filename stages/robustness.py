"""Robustness: a decision should not hang on how a text is typed.

python -m stages.robustness params.yaml
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.classifier import Classifier, Reviews, decide, load, logits_for, probabilities, score
from stages.ids import look_up, row_numbers
from stages.lib.command import Refusal
from stages.lib.files import read_json, sha256
from stages.lib.tables import BATCH
from stages.raw import clean
from stages.tensors import rectangle
from stages.tokens import Tokeniser, ahead, read_tokeniser

CELLS = 1 << 20  # of a rectangle: a review of 100,000 words shall not widen 4,095 short ones

Ints = NDArray[np.int32]
Places = NDArray[np.int64]
CPU = torch.device("cpu")


class Chain:
    """A text's way to its probability, the same that the pipeline's own reviews went."""

    def __init__(
        self, tokeniser: Tokeniser, numbers: dict[str, int], model: Classifier, labels: list[str]
    ) -> None:
        self.tokeniser = tokeniser
        self.numbers = numbers
        self.model = model
        self.labels = labels

    @classmethod
    def load(cls, tokeniser: Path, vocabulary: Path, classifier: Path, labels: Path) -> "Chain":
        """The chain of a run's artefacts. Raises Refusal where they are not of one run."""
        model = load(classifier)
        if sha256(vocabulary) != model.about.vocabulary:
            raise Refusal(f"{classifier}: learnt with another vocabulary than {vocabulary}; run `dvc repro`")
        names: list[str] = read_json(labels)["labels"]
        if len(names) != model.labels:
            raise Refusal(
                f"{classifier}: tells {model.labels} labels apart, {labels} has {len(names)}; run `dvc repro`"
            )
        return cls(read_tokeniser(tokeniser), row_numbers(vocabulary), model, names)

    def tokens(self, texts: Sequence[str]) -> list[list[str]]:
        """What the model is shown of each text, before it is cut."""
        found: list[list[str]] = self.tokeniser.split(pl.DataFrame({"text": cleaned(texts)})).to_list()
        return found

    def ids(self, texts: Sequence[str]) -> Reviews:
        """Row numbers (N, T), cut and padded as stages.tensors does it, and lengths (N,). The labels
        are unknown: -1."""
        lists = self.lists(texts)
        return self.reviews(lists, self.model.about.width or longest(lengths_of(lists)))

    def logits(self, texts: Sequence[str]) -> Tensor:
        """(N, 1 or L) raw logits of any number of texts."""
        batches = (texts[first : first + BATCH] for first in range(0, len(texts), BATCH))
        found = [self.score(lists) for lists in ahead(self.lists, batches)]
        return torch.cat([torch.empty(0, logits_for(len(self.labels))), *found])

    def probabilities(self, texts: Sequence[str]) -> Tensor:
        """(N, L) calibrated probabilities."""
        return probabilities(self.logits(texts), self.model.about.temperature)

    def predict(self, texts: Sequence[str]) -> Tensor:
        """(N,) label numbers."""
        return decide(self.probabilities(texts), self.model.about.threshold)

    def lists(self, texts: Sequence[str]) -> pa.ListArray:
        """The row numbers of each text, uncut: (N,) lists.

        Words repeat, so each distinct one is split into tokens and looked up once.
        """
        column = cleaned(texts)
        words = column.str.split(" ") if self.tokeniser.by_word else pl.select(pl.concat_list(column))["text"]
        said = words.explode().to_arrow().dictionary_encode()  # M words; a text of nothing has an empty one
        tokens = self.tokeniser.split(pl.DataFrame({"text": pl.Series(said.dictionary, dtype=pl.String)}))
        of_word = look_up(tokens.to_arrow().cast(pa.list_(pa.string())), self.numbers).take(said.indices)
        ends = np.concatenate([[0], np.cumsum(words.list.len().to_numpy(), dtype=np.int64)])  # (N + 1,)
        return pa.ListArray.from_arrays(of_word.offsets.take(pa.array(ends)), of_word.values)

    def reviews(self, lists: pa.ListArray, width: int) -> Reviews:
        """Lists of row numbers as a rectangle for the model."""
        rows, kept = rectangle(np.asarray(lists.flatten()), lengths_of(lists), width, self.model.about.keep)
        unknown = np.full(len(kept), -1, np.int32)
        return Reviews(*map(torch.from_numpy, (rows, kept, unknown)))

    def score(self, lists: pa.ListArray) -> Tensor:
        """(N, 1 or L) raw logits of lists of row numbers."""
        lengths = lengths_of(lists)
        width = self.model.about.width or longest(lengths)
        found = torch.empty(len(lists), logits_for(len(self.labels)))
        for part in blocks(np.minimum(lengths, width)):
            reviews = self.reviews(lists.take(pa.array(part)), min(width, longest(lengths[part])))
            found[torch.from_numpy(part)] = score(self.model, reviews, CPU)
        return found


def cleaned(texts: Sequence[str]) -> pl.Series:
    """Texts as stages.raw cleans them."""
    return pl.Series("text", [clean(text) for text in texts], dtype=pl.String)


def lengths_of(lists: pa.ListArray) -> Ints:
    """The number of values in each list, (N,)."""
    return np.diff(np.asarray(lists.offsets))


def longest(lengths: Ints) -> int:
    """The width of a rectangle that cuts nothing; 1 where there is nothing."""
    return max(1, int(lengths.max(initial=0)))


def blocks(lengths: Ints) -> Iterator[Places]:
    """Row numbers in blocks of about one length, (N,), whose rectangles stay small.

    >>> [block.tolist() for block in blocks(np.array([2, CELLS, 1], np.int32))]
    [[2, 0], [1]]
    """
    order = np.argsort(lengths, kind="stable")
    first = 0
    while first < len(order):
        cells = np.arange(1, len(order) - first + 1) * lengths[order[first:]].astype(np.int64)
        rows = max(1, int(np.searchsorted(cells, CELLS, "right")))
        yield order[first : first + rows]
        first += rows
