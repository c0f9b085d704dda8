"""Tables: the input vectors, of words alone or of words and their character n-grams."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stages import PAD, UNK
from stages.lib.char_ngrams import char_ngrams_of
from stages.lib.vectors import read_vectors
from stages.lib.word2vec.rows import row_scale
from stages.lib.word2vec.settings import EngineSettings, Word2VecParams
from stages.lib.word2vec.stream import generator_at


class InputTable:
    """The input table: one row per word."""

    def __init__(self, weight: Tensor) -> None:
        """`weight` is (V, D)."""
        self.weight = weight

    def take(self, rows: Tensor) -> Tensor:
        """A copy of some words' vectors: (U,) -> (U, D)."""
        return self.weight.index_select(0, rows)

    def add(self, rows: Tensor, change: Tensor) -> None:
        """Adds `change` (U, D) to some words' vectors."""
        self.weight.index_add_(0, rows, change)

    def assign(self, rows: Tensor, vectors: Tensor) -> None:
        """Sets some words' vectors to `vectors` (U, D)."""
        self.weight[rows] = vectors

    def vectors(self) -> Tensor:
        """All words' vectors, (V, D)."""
        return self.weight


class SubwordInputTable(InputTable):
    """The input table with character n-grams: a word is the mean of its own row and its n-grams' rows."""

    def __init__(self, weight: Tensor, buckets: Tensor, counts: Tensor, settings: EngineSettings) -> None:
        """`weight` is (V + buckets, D), `buckets` (M,) the n-grams of all words, `counts` (V,) of each."""
        super().__init__(weight)
        self.settings = settings
        words = torch.arange(len(counts), device=weight.device)
        ends = (counts + 1).cumsum(0)
        self.parts = torch.empty(int(ends[-1]), dtype=torch.int64, device=weight.device)  # rows of weight
        self.first, self.count = ends - counts - 1, counts + 1
        is_word = torch.zeros_like(self.parts, dtype=torch.bool).index_fill_(0, self.first, True)
        self.parts[is_word], self.parts[~is_word] = words, buckets + len(counts)

    def parts_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of `weight` that some words are the mean of, word by word, and their number per word."""
        count = self.count[rows]
        end = count.cumsum(0)
        skip = (self.first[rows] - (end - count)).repeat_interleave(count)
        return self.parts[skip + torch.arange(int(end[-1]), device=rows.device)], count

    def take(self, rows: Tensor) -> Tensor:
        """The means of some words' parts, (U, D)."""
        parts, count = self.parts_of(rows)
        return nn.functional.embedding_bag(parts, self.weight, count.cumsum(0) - count, mode="mean")

    def add(self, rows: Tensor, change: Tensor) -> None:
        """Adds each word's change to all of its parts, as fastText does.

        The sum of the changes of an n-gram that several words share is damped.
        """
        parts, count = self.parts_of(rows)
        counts = torch.bincount(parts, minlength=len(self.weight))[parts]
        power, most = self.settings.char_ngram_damping, self.settings.max_row_gradients
        scale = row_scale(counts.float(), power, most)
        self.weight.index_add_(0, parts, change.repeat_interleave(count, 0).mul_(scale[:, None]))

    def assign(self, rows: Tensor, vectors: Tensor) -> None:
        """Sets some words' vectors by changing the words' own rows."""
        own = self.weight[rows]
        self.weight[rows] = own + self.count[rows][:, None] * (vectors - self.take(rows))

    def vectors(self) -> Tensor:
        """The means of all words' parts, (V, D)."""
        return self.take(torch.arange(len(self.count), device=self.weight.device))


def initial_table(tokens: Sequence[str], params: Word2VecParams, settings: EngineSettings) -> InputTable:
    """The input table before training: small random numbers, and zeros in the row of <pad>."""
    ngrams = params.char_ngrams.buckets if params.char_ngrams else 0
    weight = torch.empty(len(tokens) + ngrams, params.dim)  # (V, D) or (V + buckets, D)
    bound = 0.5 / params.dim
    weight.uniform_(-bound, bound, generator=generator_at(params.seed, "start"))
    weight[PAD] = 0
    weight = weight.to(params.device)
    if params.char_ngrams is None:
        return InputTable(weight)
    buckets, counts = char_ngrams_of(tokens[UNK + 1 :], params.char_ngrams)
    counts = np.concatenate([np.zeros(UNK + 1, np.int64), counts])  # <pad> and <unk> have no n-grams
    on_device = [torch.from_numpy(array).to(weight.device) for array in (buckets, counts)]
    return SubwordInputTable(weight, on_device[0], on_device[1], settings)


def load_pretrained(path: Path, number: Mapping[str, int], table: InputTable) -> int:
    """Replaces the initial vectors of all words in a file of vectors, and returns how many there are.

    `number` maps each word to its row.
    """
    vectors = np.full((max(number.values()) + 1, table.weight.shape[1]), np.nan, np.float32)
    count = read_vectors(path, number, vectors)
    rows = torch.from_numpy(~np.isnan(vectors[:, 0])).nonzero().flatten()
    table.assign(rows, torch.from_numpy(vectors)[rows])
    return count
