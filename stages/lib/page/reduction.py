"""A smaller model for a page, as similar to the whole one as its size allows.

Words are left out from the rarest on, and become unknown words. N-grams are left out from the one with the
smallest weight on; measured on IMDb and SST-2, half of them change 1 prediction in 800, a quarter 1 in 200. A
sum that is divided by the number of n-grams becomes too large when many n-grams of a text are unknown, so the
remaining weights are scaled to fit the whole model's logits best (without the scale, five times as many
predictions change).

Weights are rounded to 19 bits, and vectors, which are many, to 13: on IMDb, SST-2 and the sample no
probability of a test review changes by more than 1e-4 (with 16 bits it would be 6e-4). More than ten labels
have many weights, which are rounded to 15 bits: with TREC's 50 labels a probability changes by at most 2e-4.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages import UNK
from stages.lib.arrays import Float32, Float64, Int64
from stages.lib.model import Model
from stages.lib.ngram.chars import CharModel
from stages.lib.ngram.letters import FIRST_LETTER
from stages.lib.ngram.model import NGramModel
from stages.lib.page.space import integers
from stages.lib.page.trie import strongest
from stages.lib.reviews import Documents
from stages.lib.word_model import WordModel

# The largest integers that weights are rounded to.
WEIGHT_LEVELS, WIDE_LEVELS, VECTOR_LEVELS = 2**18 - 1, 2**14 - 1, 2**12 - 1
WIDE = 10  # logits; with more of them the weights are many
# Of all vectors, of the weights of all words, and of those of all n-grams: more labels, fewer of them.
MAX_NUMBERS = 2_500_000


def reduced(model: Model, ngrams: int, vocabulary: int) -> Model:
    """The model with at most so many n-grams, of words and of letters, and of the most frequent words."""
    rows = UNK + 1 + kept_words(model, vocabulary)
    arrays = {
        name: array[:rows] if name in ("weight", "idf", "vectors") else array
        for name, array in model.words.arrays.items()
    }
    words = WordModel(model.config.pool, arrays)
    if model.ngrams is None:
        return Model(model.config, words)
    limit = min(ngrams, MAX_NUMBERS // len(model.bias))
    of_words, of_letters = len(model.ngrams.weight), letters_in(model)
    share = min(1.0, limit / max(1, of_words + of_letters))
    chars = model.ngrams.chars
    if chars:
        chars = reduced_chars(chars, int(share * of_letters), rows)
    return Model(model.config, words, reduced_ngrams(model.ngrams, int(share * of_words), rows, chars))


def kept_words(model: Model, vocabulary: int) -> int:
    """How many words of the vocabulary, but for the reserved ones, are kept."""
    arrays = [model.words.arrays[name] for name in ("weight", "vectors") if name in model.words.arrays]
    width = max((array.shape[1] for array in arrays), default=1)
    return max(0, min(model.words.rows - UNK - 1, vocabulary, MAX_NUMBERS // width))


def letters_in(model: Model) -> int:
    """The number of n-grams of letters."""
    return len(model.ngrams.chars.keys) if model.ngrams and model.ngrams.chars else 0


def reduced_ngrams(model: NGramModel, count: int, rows: int, chars: CharModel | None) -> NGramModel:
    """The `count` n-grams with the largest weights, of words in the first `rows` of the vocabulary."""
    config, strength = model.config, np.abs(model.weight).max(1, initial=0).astype(np.float64)
    if config.buckets:  # a hash has no keys that could be left out, but small weights take no space
        weight = model.weight.copy()
        weight[np.argsort(-strength, kind="stable")[count:]] = 0
        return NGramModel(weight, model.bias, model.keys, config, chars)
    possible = np.flatnonzero(digits_below(model.keys, config.words, rows))
    kept = possible[strongest(model.keys[possible], config.words, strength[possible], count)]
    return NGramModel(model.weight[kept], model.bias, model.keys[kept], config, chars)


def digits_below(keys: Int64, base: int, limit: int) -> Any:
    """Whether all digits of each key are below a limit: (F,) -> (F,).

    >>> digits_below(np.array([37, 73, 4]), 10, 5).tolist()
    [False, False, True]
    """
    result = np.ones(len(keys), np.bool_)
    while (keys > 0).any() and limit < base:
        result &= keys % base < limit
        keys = keys // base
    return result


def reduced_chars(model: CharModel, count: int, rows: int) -> CharModel:
    """The `count` n-grams of letters with the largest weights. They are needed for unknown words only: the
    weights of the known ones are kept as they are."""
    strength = np.abs(model.weight).max(1, initial=0).astype(np.float64)
    kept = strongest(model.keys, len(model.alphabet) + FIRST_LETTER, strength, count)
    return CharModel(
        model.alphabet,
        model.keys[kept],
        model.weight[kept],
        model.word_weight[:rows],
        model.word_count[:rows],
        model.max_n,
    )


def fitted(small: Model, model: Model, documents: Documents, kept: Documents) -> Model:
    """The smaller model with its n-grams of words scaled, so that their logits for documents are as near as
    possible to those of the whole model (least squares). `kept` are the documents in the words of the smaller
    model."""
    if model.ngrams is None or small.ngrams is None or len(small.ngrams.weight) == len(model.ngrams.weight):
        return small
    whole, here = ngram_logits(model.ngrams, documents), ngram_logits(small.ngrams, kept)
    factor = float((whole * here).sum() / max(1e-9, float((here * here).sum())))
    weight = small.ngrams.weight * np.float32(round(factor, 3))  # not a matter of a sum's last bits
    ngrams = NGramModel(weight, small.ngrams.bias, small.ngrams.keys, small.ngrams.config, small.ngrams.chars)
    return Model(small.config, small.words, ngrams)


def ngram_logits(model: NGramModel, documents: Documents) -> Float64:
    """The logits (N, O) of the n-grams of words alone."""
    alone = NGramModel(model.weight, np.zeros_like(model.bias), model.keys, model.config)
    return alone.logits(documents)


def rounded(model: Model) -> Model:
    """The model with the weights that a page has: rounded, but for those that are summed up unscaled."""
    arrays = dict(model.words.arrays)
    if "vectors" in arrays:
        arrays["vectors"] = as_stored(arrays["vectors"], VECTOR_LEVELS)
    if "weight" in arrays and model.config.pool != "sum":
        arrays["weight"] = as_stored(arrays["weight"])
    words = WordModel(model.config.pool, arrays)
    if model.ngrams is None:
        return Model(model.config, words)
    chars = model.ngrams.chars
    if chars:
        weight, word_weight = as_stored(chars.weight), as_stored(chars.word_weight)
        chars = CharModel(chars.alphabet, chars.keys, weight, word_weight, chars.word_count, chars.max_n)
    weight = model.ngrams.weight
    if model.ngrams.config.pool != "sum":
        weight = as_stored(weight)
    ngrams = NGramModel(weight, model.ngrams.bias, model.ngrams.keys, model.ngrams.config, chars)
    return Model(model.config, words, ngrams)


def as_stored(weight: Float32, levels: int | None = None) -> Float32:
    """Weights (F, O), rounded as `whole_numbers` does it."""
    whole, scale = whole_numbers(weight, levels)
    result: Float32 = (whole * scale.astype(np.float64)).astype(np.float32)
    return result


def whole_numbers(weight: Float32, levels: int | None = None) -> tuple[Any, Float32]:
    """Weights (F, O) as integers, at most `levels`, and the scale (O,) of each column. The default depends on
    the number of columns.

    >>> whole_numbers(np.array([[0.5], [-1.0]], np.float32), levels=100)[0].tolist()
    [[50], [-100]]
    """
    levels = levels or (WIDE_LEVELS if weight.shape[1] > WIDE else WEIGHT_LEVELS)
    scale = (np.abs(weight).max(0, initial=0) / levels).astype(np.float32)
    return integers(weight, scale, levels).astype(np.int32), scale


def recoded(documents: Documents, words: Sequence[str], rows: int) -> Documents:
    """Documents in which all words from a row of the vocabulary on are unknown. `words` are all but the two
    reserved ones.

    >>> recoded(Documents(np.array([2, 3, -1]), np.array([3]), ["x"]), ["good", "film"], rows=3)
    Documents(codes=array([ 2, -2, -1]), lengths=array([3]), unknown=['x', 'film'])
    """
    rare = documents.codes >= rows
    removed, number = np.unique(documents.codes[rare], return_inverse=True)
    codes = documents.codes.copy()
    codes[rare] = -1 - len(documents.unknown) - number
    spelled = [words[row - UNK - 1] for row in removed.tolist()]
    return Documents(codes, documents.lengths, [*documents.unknown, *spelled])
