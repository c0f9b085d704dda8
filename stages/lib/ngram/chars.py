"""A linear model over the character n-grams inside words.

    logits = sum of the weights of the words / sqrt(number of their n-grams)
    weight of a word = sum of the weights of its character n-grams

Each word counts once per document. "goood" and "bueno!" share letters with words of the training
documents, so an unknown word has a weight too.

Reference: scikit-learn's `CountVectorizer` with character n-grams of each word. Test:
tests/test_ngram_chars.py, test_logits_equal_counted_ngrams_times_weights. It is faster because the n-grams
of a word are counted once, and not for each document with the word.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from stages.lib.arrays import Float32, Float64, Int32, Int64
from stages.lib.ngram.keys import Table, count_matrix
from stages.lib.ngram.letters import count_char_ngrams, learn_alphabet, learn_char_ngrams
from stages.lib.reviews import Documents, document_batches


class CharModel:
    """Weights (F, O) of the n-grams `keys` (F,), and of the words of the vocabulary.

    `alphabet` (A,) has the code points of the letters, `word_weight` is (V, O) and `word_count` (V,), the
    number of known n-grams in each word of the vocabulary.
    """

    ARRAYS = ("alphabet", "keys", "weight", "word_weight", "word_count")

    def __init__(
        self,
        alphabet: Int32,
        keys: Int64,
        weight: Float32,
        word_weight: Float32,
        word_count: Int32,
        max_n: int,
    ) -> None:
        """Raises ValueError if the arrays do not fit together."""
        self.alphabet, self.keys, self.weight, self.max_n = alphabet, keys, weight, max_n
        self.word_weight, self.word_count = word_weight, word_count
        outputs = weight.shape[-1]
        if weight.shape != (len(keys), outputs) or word_weight.shape != (len(word_count), outputs):
            raise ValueError(f"found weights of shapes {weight.shape} and {word_weight.shape}")

    @classmethod
    def of_words(
        cls, words: Sequence[str], alphabet: Int32, keys: Int64, weight: Float32, max_n: int
    ) -> "CharModel":
        """The model that scores documents of the words (V,) of a vocabulary."""
        none = np.zeros((0, weight.shape[1]), np.float32)
        model = cls(alphabet, keys, weight, none, np.zeros(0, np.int32), max_n)
        return cls(alphabet, keys, weight, *model.spelled(words), max_n)

    @cached_property
    def finder(self) -> Table:
        """The rows of the keys. Documents without unknown words do not need it."""
        return Table(self.keys)

    def spelled(self, words: Sequence[str]) -> tuple[Float32, Int32]:
        """The weight of each word, (W, O), and the number of known n-grams in it, (W,)."""
        if not words:
            return np.zeros((0, self.weight.shape[1]), np.float32), np.zeros(0, np.int32)
        counts = count_char_ngrams(words, self.alphabet, self.max_n, self.finder)  # (W, F)
        return counts @ self.weight, np.asarray(counts.sum(1)).ravel().astype(np.int32)

    def tables(self, unknown: Sequence[str]) -> tuple[Float64, Int64]:
        """Weights (V + U, O) and counts (V + U,) of the vocabulary's and of unknown words."""
        weight, count = self.spelled(unknown)
        return (
            np.concatenate([self.word_weight, weight]).astype(np.float64),
            np.concatenate([self.word_count, count]).astype(np.int64),
        )

    def logits(self, documents: Documents) -> Float64:
        """The logits of the documents, (N, O). They are processed in batches, so memory is bounded."""
        weight, count = self.tables(documents.unknown)
        rows = documents.rows(len(self.word_count))
        parts = [np.zeros((0, weight.shape[1]))]
        for flat, lengths in document_batches(rows, documents.lengths):
            present = words_present(flat, lengths, len(count))
            total = (present @ count).clip(min=1)  # (N,)
            parts.append((present @ weight) / np.sqrt(total)[:, None])
        return np.concatenate(parts)

    def contributions(self, document: Documents) -> list[Float64]:
        """What each token of one document adds to its logits: T times (O,).

        The contribution of a word is divided equally among its occurrences.
        """
        each, position = self._of_codes(document)
        return list(each[position])

    def values(self, document: Documents, column: int) -> Float64:
        """`contributions` to one logit: (T,)."""
        each, position = self._of_codes(document)
        values: Float64 = each[:, column][position]
        return values

    def _of_codes(self, document: Documents) -> tuple[Float64, Int64]:
        """What each distinct token of a document adds to its logits, (U, O), and that of each token, (T,)."""
        # `document.unknown` may be that of many documents, so only the words of this one are spelled.
        codes, position, occurrences = np.unique(document.codes, return_inverse=True, return_counts=True)
        known = codes[codes >= 0]
        weight, count = self.spelled([document.unknown[-1 - code] for code in codes[codes < 0]])
        weight = np.concatenate([weight, self.word_weight[known]]).astype(np.float64)
        total = count.sum() + self.word_count[known].sum()
        each: Float64 = weight / (np.sqrt(max(1, total)) * occurrences[:, None])
        return each, position

    def scaled(self, factor: float) -> "CharModel":
        """The model whose logits are `factor` times those of this one."""
        weight, word_weight = (part * np.float32(factor) for part in (self.weight, self.word_weight))
        return CharModel(self.alphabet, self.keys, weight, word_weight, self.word_count, self.max_n)

    def arrays(self) -> dict[str, Any]:
        """The arrays that a file holds."""
        return {name: getattr(self, name) for name in self.ARRAYS}


class CharCounts(NamedTuple):
    """The character n-grams of N documents with W distinct words."""

    alphabet: Int32  # (A,)
    keys: Int64  # (F,)
    present: csr_matrix  # (N, W) 1 for each word of a document
    counts: csr_matrix  # (W, F) n-grams of each word

    @property
    def pooled(self) -> csr_matrix:
        """`present`, divided by the root of the number of n-grams in the document's words: (N, W)."""
        total = self.present @ np.asarray(self.counts.sum(1)).ravel()  # (N,)
        root = np.repeat(1 / np.sqrt(total.clip(min=1)), np.diff(self.present.indptr)).astype(np.float32)
        pooled = csr_matrix((root, self.present.indices, self.present.indptr), self.present.shape)
        return pooled


def learn_chars(
    documents: Documents, vocabulary: Sequence[str], max_n: int, min_df: int, most: int = 2**31 - 1
) -> CharCounts:
    """The n-grams of up to `max_n` letters inside the words of documents.

    An n-gram is kept if words with it occur in `min_df` documents, added up over these words. Of more than
    `most`, those that occur in the most documents are kept; of equal ones those with the lower keys.
    """
    words, present = occurring_words(documents, vocabulary)
    alphabet = learn_alphabet(words, max_n)
    keys, counts = learn_char_ngrams(words, alphabet, max_n)
    df = np.asarray(present.sum(0)).ravel() @ counts.sign()  # (F,)
    frequent = np.flatnonzero(df >= min_df)
    if len(frequent) > most:
        frequent = np.sort(frequent[np.argsort(-df[frequent], kind="stable")[:most]])
    return CharCounts(alphabet, keys[frequent], present, counts[:, frequent])


def words_present(rows: Int32 | Int64, lengths: Int32 | Int64, count: int) -> csr_matrix:
    """1 for each distinct word of each document: rows (M,), lengths (N,) -> (N, `count`)."""
    document = np.repeat(np.arange(len(lengths)), lengths)
    present = count_matrix(document, rows.astype(np.int64), len(lengths), count)
    present.data[:] = 1
    return present


def occurring_words(documents: Documents, vocabulary: Sequence[str]) -> tuple[list[str], csr_matrix]:
    """The distinct words of documents, W, and which documents have them: (N, W).

    >>> documents = Documents(np.array([3, -1, 3]), np.array([2, 1]), ["film"])
    >>> words, present = occurring_words(documents, ["<pad>", "<unk>", "bad", "good"])
    >>> words, present.toarray().tolist()
    (['good', 'film'], [[1.0, 1.0], [1.0, 0.0]])
    """
    every = [*vocabulary, *documents.unknown]
    present = words_present(documents.rows(len(vocabulary)), documents.lengths, len(every))
    occurring = np.flatnonzero(np.bincount(present.indices, minlength=len(every)))
    return [every[n] for n in occurring], present[:, occurring]
