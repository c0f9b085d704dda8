"""A linear model over n-gram counts, in numpy and scipy.sparse.

    logits = pooled counts (N, F) @ weight (F, O) + logits of the character n-grams + bias (O,)

`NGramModel.logits` scores documents with the same sparse counts that `stages.ngrams` trains on.
"""

from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix

from stages.lib.arrays import Float32, Float64, Int32, Int64
from stages.lib.command import Refusal
from stages.lib.files import atomic
from stages.lib.ngram.chars import CharModel
from stages.lib.ngram.keys import ABSENT, Buckets, Finder, Table, count_ngrams, ngram_keys
from stages.lib.params import Section
from stages.lib.reviews import Documents, document_batches

ENDING = 10  # the ending of a document is its last tenth
# Sums of counts are divided by this power of the number of n-grams. A mean gives a text of two words the
# same logits as a long one that repeats them; a sum gives the long one too much. The square root is between.
POOL_POWER = {"mean": 1.0, "sqrt": 0.5, "sum": 0.0}


class NGramConfig(Section):
    """How documents become counts. It is stored with the weights."""

    max_n: int = Field(ge=0, le=8)
    buckets: int | None
    binary: bool  # an n-gram counts once per document
    char_max_n: int = Field(ge=0, le=8)
    pool: Literal["mean", "sqrt", "sum"]
    ending_boost: float  # additional weight of n-grams that start in the ending
    words: int  # V
    vocabulary: str  # SHA-256 of data/vocabulary.parquet


class Contribution(NamedTuple):
    """What the tokens from `start` to `end` (exclusive) of a document add to its logits."""

    start: int
    end: int
    logits: Float64  # (O,)


class NGramModel:
    """Weights (F, O) and a bias (O,); `keys` (F,) are those of the n-grams, or (0,) if they are hashed.

    `chars` is the part for character n-grams, if there is one.
    """

    def __init__(
        self,
        weight: Float32,
        bias: Float64,
        keys: Int64,
        config: NGramConfig,
        chars: CharModel | None = None,
    ) -> None:
        """Raises ValueError if the arrays do not fit together."""
        self.weight, self.bias, self.keys, self.config, self.chars = weight, bias, keys, config, chars
        self.finder: Finder = Buckets(config.buckets) if config.buckets else Table(keys)
        if weight.ndim != 2 or weight.shape != (self.finder.rows, len(bias)):
            raise ValueError(f"found weights of shape {weight.shape} for {self.finder.rows} n-grams")

    def logits(self, documents: Documents) -> Float64:
        """The logits of the documents, (N, O). They are processed in batches, so memory is bounded."""
        result = np.tile(self.bias, (len(documents.lengths), 1))
        if len(self.weight):
            batches = document_batches(documents.ids, documents.lengths)
            parts = [self.counts(*batch) @ self.weight for batch in batches]
            result += np.concatenate(parts or [np.zeros((0, len(self.bias)))])
        if self.chars:
            result += self.chars.logits(documents)
        return result

    def counts(self, flat: Int32, lengths: Int32 | Int64) -> csr_matrix:
        """The pooled counts of the n-grams in each document: (M,), (N,) -> (N, F)."""
        max_n, words = self.config.max_n, self.config.words
        whole = count_ngrams(flat, lengths, max_n, words, self.finder)
        ending = None
        if self.config.ending_boost:
            ending = count_ngrams(*document_endings(flat, lengths), max_n, words, self.finder)
        return pooled_counts(whole, ending, self.config)

    def contributions(self, document: Documents) -> list[Contribution]:
        """What each occurrence of a known n-gram of one document adds to its logits.

        If n-grams count once per document, the contribution is divided equally among the occurrences.
        Character n-grams contribute to their word. The contributions and the bias sum to the logits.
        """
        result = self._ngram_contributions(document.ids) if len(self.weight) else []
        if self.chars:
            words = enumerate(self.chars.contributions(document))
            result += [Contribution(start, start + 1, logits) for start, logits in words]
        return result

    def _ngram_contributions(self, flat: Int32) -> list[Contribution]:
        config = self.config
        matched = [
            (start, start + order, row)
            for order, keys in enumerate(ngram_keys(flat, config.max_n, config.words), 1)
            for start, row in enumerate(self.finder.find(keys).tolist())
            if row != ABSENT
        ]
        ending = len(flat) - len(flat) // ENDING
        counts = Counter(row for _, _, row in matched)
        ending_counts = Counter(row for start, _, row in matched if start >= ending)
        values = [
            1 / (counts[row] if config.binary else 1)
            + (start >= ending)
            * config.ending_boost
            / (ending_counts[row] if config.binary and start >= ending else 1)
            for start, _, row in matched
        ]
        total = max(1.0, sum(values)) ** POOL_POWER[config.pool]
        return [
            Contribution(start, end, self.weight[row].astype(np.float64) * (value / total))
            for (start, end, row), value in zip(matched, values, strict=True)
        ]

    def values(self, flat: Int32, column: int) -> dict[int, tuple[Int32, Float64]]:
        """What the n-grams of words of each length in a document (T,) add to one logit: their first
        positions and their values, (K,) each. Empty if there are no n-grams of words."""
        if not len(self.weight):
            return {}
        config, parts = self.config, []
        for keys in ngram_keys(flat, config.max_n, config.words):
            row = self.finder.find(keys)
            start = np.flatnonzero(row != ABSENT).astype(np.int32)
            parts.append((start, row[start].astype(np.int32)))
        starts, rows = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        last = starts >= len(flat) - len(flat) // ENDING
        _, number, counts = np.unique(rows, return_inverse=True, return_counts=True)
        occurrences = counts[number] if config.binary else np.ones(len(rows))
        boost = last * config.ending_boost
        if config.binary:
            boost = boost / np.maximum(np.bincount(number[last], minlength=len(counts))[number], 1)
        values = 1 / occurrences + boost
        # Added one after the other, as `contributions` does; numpy's sum adds in another order.
        total = max(1.0, float(np.cumsum(values)[-1]) if len(values) else 0.0) ** POOL_POWER[config.pool]
        values = self.weight[rows, column].astype(np.float64) * (values / total)
        ends = np.cumsum([len(start) for start, _ in parts])[:-1]
        return dict(enumerate(zip(np.split(starts, ends), np.split(values, ends), strict=True), 1))

    def scaled(self, factor: float) -> "NGramModel":
        """The model whose logits are `factor` times those of this one."""
        weight = self.weight * np.float32(factor)
        chars = self.chars and self.chars.scaled(factor)
        return NGramModel(weight, self.bias * factor, self.keys, self.config, chars)

    def save(self, path: Path) -> None:
        """Writes data/ngrams.safetensors."""
        with atomic(path) as temporary:
            save_file(self.arrays(), temporary, {"ngrams": self.config.model_dump_json()})

    def arrays(self) -> dict[str, Any]:
        """The arrays that a file holds."""
        chars = self.chars.arrays() if self.chars else {}
        return {
            "weight": self.weight,
            "bias": self.bias.astype(np.float32),
            "keys": self.keys,
            **{f"chars.{name}": array for name, array in chars.items()},
        }

    @classmethod
    def load(cls, path: Path) -> "NGramModel":
        """Reads data/ngrams.safetensors. Raises Refusal if the file is something else."""
        try:
            with safe_open(path, "np") as file:
                config = NGramConfig.model_validate_json((file.metadata() or {})["ngrams"])
                return cls.from_arrays({name: file.get_tensor(name) for name in file.keys()}, config)  # noqa: SIM118
        except (SafetensorError, LookupError, TypeError, ValueError):
            raise Refusal(f"{path}: no n-grams of this version; run `dvc repro`") from None

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any], config: NGramConfig) -> "NGramModel":
        """The model with the arrays of a file. Raises ValueError or LookupError if they do not fit."""
        names = [f"chars.{name}" for name in CharModel.ARRAYS] if config.char_max_n else []
        if set(arrays) != {"weight", "bias", "keys", *names}:
            raise ValueError(f"found the arrays {', '.join(arrays)}")
        chars = None
        if names:
            parts = {name: arrays[f"chars.{name}"] for name in CharModel.ARRAYS}
            chars = CharModel(**parts, max_n=config.char_max_n)
        return cls(arrays["weight"], arrays["bias"].astype(np.float64), arrays["keys"], config, chars)


def document_endings(flat: Int32, lengths: Int32 | Int64) -> tuple[Int32, Int32 | Int64]:
    """The last tenth of each document, rounded down, one after the other, and their lengths.

    >>> [part.tolist() for part in document_endings(np.arange(25), np.array([5, 20]))]
    [[23, 24], [0, 2]]
    """
    short = lengths // ENDING
    remaining = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(flat))  # tokens to the end
    return flat[remaining <= np.repeat(short, lengths)], short


def pooled_counts(whole: csr_matrix, ending: csr_matrix | None, config: NGramConfig) -> csr_matrix:
    """The inputs of the linear model (N, F), from the counts in the documents and in their endings (N, F)."""
    counts = document_counts(whole, config.binary)
    if ending is not None:
        counts = counts + np.float32(config.ending_boost) * document_counts(ending, config.binary)
    total = np.maximum(np.asarray(counts.sum(1)).ravel(), 1) ** POOL_POWER[config.pool]
    scale = np.repeat(1 / total, np.diff(counts.indptr)).astype(np.float32)
    return csr_matrix((counts.data * scale, counts.indices, counts.indptr), counts.shape)


def document_counts(counts: csr_matrix, binary: bool) -> csr_matrix:
    """The counts, or 1 for each count if `binary`."""
    if not binary:
        return counts
    return csr_matrix((np.ones_like(counts.data), counts.indices, counts.indptr), counts.shape)


def log_count_ratios(counts: csr_matrix, labels: Int32, label_count: int) -> Float32:
    """The log-count ratio of each n-gram for each label: counts (N, F), labels (N,) -> (F, O).

    An n-gram's frequency among the n-grams of the documents with the label, relative to that among the
    others', as a logarithm. Each document counts an n-gram once, and 1 is added to every frequency.
    Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification",
    section 2.
    """
    is_label = csr_matrix(np.eye(label_count)[labels].T)  # (L, N)
    return ratios_of(is_label @ document_counts(counts, binary=True))


def ratios_of(frequencies: csr_matrix) -> Float32:
    """The log-count ratios from the document frequencies for each label: (L, F) -> (F, O)."""
    frequency = frequencies.toarray().astype(np.float64)
    every = frequency.sum(0)
    columns = []
    for of_label in frequency[1:] if len(frequency) == 2 else frequency:
        p, q = of_label + 1.0, every - of_label + 1.0  # (F,)
        columns.append(np.log(p / p.sum()) - np.log(q / q.sum()))
    return np.stack(columns, 1).astype(np.float32)
