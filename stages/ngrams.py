"""N-grams: "not good" is more than its words.

The mean of a review's words is the same in any order: it cannot tell "not good, bad" from "good, not
bad". Here each word and each pair of adjacent words is a feature with a weight of its own, in a linear
model that is trained without word vectors. It is NBSVM, a strong baseline for sentiment:

1. Count. x[f] is 1 if the review contains the n-gram f.
2. Compute the log-count ratio r of each n-gram, which is its weight in Naive Bayes:

       r = log((p / |p|_1) / (q / |q|_1))      p = 1 + positive reviews with f, q = 1 + negative ones

3. Naive Bayes treats n-grams as independent. Logistic regression on the inputs x * r learns how far to
   trust each ratio, given the others:

       logit = w . (x * r) + b      minimise cross-entropy + l2 / 2 * |w|^2

The file holds w * r as one weight per n-gram.

    Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification"

    python -m stages.ngrams --help
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix

from stages import TRAIN, VALIDATION
from stages.lib.arrays import Float32, Float64, Int32, Int64
from stages.lib.command import run
from stages.lib.files import read_json, sha256, write_json
from stages.lib.model import cross_entropy, decide, probabilities
from stages.lib.ngram.keys import Buckets, Finder, Table, count_ngrams, learn_ngrams
from stages.lib.ngram.model import (
    NGramConfig,
    NGramModel,
    document_endings,
    log_count_ratios,
    pooled_counts,
)
from stages.lib.ngram.regression import logistic_regression
from stages.lib.params import Section, read_params
from stages.lib.reviews import Reviews, logits_for, read_split, sample_weights, unpadded
from stages.lib.tables import open_table


class Params(Section):
    max_n: int = Field(ge=0, le=8)  # tokens in the longest n-gram: 2 includes "not good"; 0: no n-grams
    min_df: int = Field(ge=1)  # train reviews that must contain an n-gram
    max_features: int = Field(ge=1, le=2**31 - 1)  # keep the n-grams with the highest document frequency
    buckets: int | None = Field(ge=2, le=2**31 - 1)  # hash n-grams to this many rows; null: one row each
    binary: bool  # does an n-gram that occurs twice in a review count once?
    pool: Literal["mean", "sum"]  # of a review's n-grams
    ending_boost: float = Field(ge=0, le=100)  # additional weight of n-grams in a review's last tenth
    nb_ratios: bool  # are inputs multiplied by the log-count ratios of Naive Bayes?
    df_power: float = Field(ge=0, le=1)  # inputs are multiplied by document frequency ** -df_power
    l2: float = Field(ge=0)  # regularisation: a larger one relies less on n-grams of few reviews
    class_weight: Literal["none", "balanced"]  # does a rare label count as much as a common one?


def config_for(params: Params, words: int, vocabulary: str) -> NGramConfig:
    """The part of the parameters that scoring needs. An empty model has no buckets."""
    return NGramConfig(
        max_n=params.max_n,
        buckets=params.buckets if params.max_n else None,
        binary=params.binary,
        pool=params.pool,
        ending_boost=params.ending_boost,
        words=words,
        vocabulary=vocabulary,
    )


def train_counts(
    train: Reviews, params: Params, config: NGramConfig
) -> tuple[Int64, csr_matrix, csr_matrix | None]:
    """The n-grams' keys (F,), their counts (N, F) in the train reviews, and in the endings of these.

    Hashed n-grams have no keys. There are no counts of endings if `ending_boost` is 0.
    """
    flat, lengths = unpadded(train.ids, train.lengths)
    keys = np.zeros(0, np.int64)
    if config.buckets:
        finder: Finder = Buckets(config.buckets)
        counts = count_ngrams(flat, lengths, config.max_n, config.words, finder)
    else:
        keys, counts = learn_ngrams(
            flat, lengths, config.max_n, config.words, params.min_df, params.max_features
        )
        finder = Table(keys)
    if not config.ending_boost:
        return keys, counts, None
    return keys, counts, count_ngrams(*document_endings(flat, lengths), config.max_n, config.words, finder)


def df_scale(df: Int64, power: float) -> Float32:
    """Document frequency ** -power, relative to the mean document frequency: (F,) -> (F, 1).

    >>> df_scale(np.array([2, 4, 8, 2]), power=1)[:, 0].tolist()
    [2.0, 1.0, 0.5, 2.0]
    """
    relative = np.maximum(df, 1) / max(1.0, float(df.sum()) / max(1, len(df)))
    return (relative**-power).astype(np.float32)[:, None]


def fit(train: Reviews, labels: int, params: Params, config: NGramConfig) -> NGramModel:
    """The n-grams of the train reviews and their weights. `labels` is L."""
    weights = sample_weights(train.labels, labels, params.class_weight)  # (N,)
    if not config.max_n:
        bias = log_odds(train.labels, labels, weights)
        return NGramModel(np.zeros((0, len(bias)), np.float32), bias, np.zeros(0, np.int64), config)
    keys, counts, endings = train_counts(train, params, config)
    df = np.bincount(counts.indices, minlength=counts.shape[1])  # (F,)
    scale = df_scale(df, params.df_power) * np.ones((1, logits_for(labels)), np.float32)  # (F, O)
    if params.nb_ratios:
        scale *= log_count_ratios(counts, train.labels, labels)
    inputs = pooled_counts(counts, endings, config)  # (N, F)
    # A mean is smaller than a sum by the n-grams of a typical review; l2 would penalise its weights more.
    typical = np.float32(df.sum() / max(1, len(train.labels)) if config.pool == "mean" else 1.0)
    inputs.data *= typical
    w, bias32 = logistic_regression(inputs, train.labels, scale, params.l2, weights)
    return NGramModel(w * scale * typical, bias32.astype(np.float64), keys, config)


def log_odds(labels: Int32, count: int, weights: Float64) -> Float64:
    """The logits (O,) of the labels' frequencies, with 1 added to each frequency.

    >>> log_odds(np.array([0, 0, 1]), 2, np.ones(3)).round(3).tolist()
    [-0.405]
    """
    logarithms = np.log(np.bincount(labels, weights, count) + 1)
    return logarithms[1:] - logarithms[:1] if count == 2 else logarithms - logarithms.mean()


def main(params: Path, tensors: Path, vocabulary: Path, labels: Path, ngrams: Path, metrics: Path) -> None:
    choices = read_params(params, "ngrams", Params)
    words = open_table(vocabulary).metadata.num_rows  # V
    names = read_json(labels)["labels"]
    config = config_for(choices, words, sha256(vocabulary))
    model = fit(read_split(tensors, TRAIN), len(names), choices, config)
    model.save(ngrams)
    validation = read_split(tensors, VALIDATION)
    logits = model.logits(*unpadded(validation.ids, validation.lengths))
    predicted = decide(probabilities(logits), 0.5)
    write_json(
        metrics,
        {
            "rows": len(model.weight),
            "validation": {
                "accuracy": float((predicted == validation.labels).mean()),
                "loss": float(cross_entropy(logits, validation.labels).mean()),
            },
        },
    )


if __name__ == "__main__":
    run(main)
