"""N-grams: "not good" is more than its words.

The mean of a review's words is the same in any order: it cannot tell "not good, bad" from "good, not
bad". Here each word and each short sequence of words is a feature with a weight of its own, in a linear
model that is trained without word vectors. It is NBSVM, a strong baseline for sentiment:

1. Count. x[f] is 1 if the review contains the n-gram f.
2. Compute the log-count ratio r of each n-gram, which is its weight in Naive Bayes:

       r = log((p / |p|_1) / (q / |q|_1))      p = 1 + positive reviews with f, q = 1 + negative ones

3. Naive Bayes treats n-grams as independent. Logistic regression on the inputs x * r learns how far to
   trust each ratio, given the others:

       logit = w . (x * r) + b      minimise cross-entropy + l2 / 2 * |w|^2

Most words are rare: half of them occur once. So the letters inside a word are features too, as n-grams of
characters (`stages.lib.ngram.letters`). They give "goood" and "disappointingly" a weight, and any word that
no training review has.

How strong the penalty l2 should be is decided on reviews that the model was not trained on
(`stages.lib.folds`). Then the model is trained once more on train and validation. The logits of held-out
reviews are kept for the `ensemble` stage. The model file holds w * r as one weight per n-gram.

    Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification"
    Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information" (n-grams inside words)

    python -m stages.ngrams --help
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix

from stages.lib.arrays import Bool, Float32, Int32, Int64
from stages.lib.command import run
from stages.lib.files import read_labels, sha256, write_json
from stages.lib.folds import Folds, HeldOut, held_out
from stages.lib.model import cross_entropy, log_prior, scores_of
from stages.lib.ngram.chars import CharModel, learn_chars
from stages.lib.ngram.inputs import Inputs, mean_square
from stages.lib.ngram.keys import Buckets, Finder, Table, count_ngrams, learn_ngrams
from stages.lib.ngram.model import (
    NGramConfig,
    NGramModel,
    document_endings,
    log_count_ratios,
    pooled_counts,
    ratios_of,
)
from stages.lib.ngram.regression import logistic_regression, most_inputs
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.reviews import Documents, logits_for, read_train_and_validation, sample_weights
from stages.lib.tables import read_table

L2 = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # what `auto` chooses from
MOST_RATIO_LABELS = 10  # up to which `auto` uses the ratios of Naive Bayes: of more, each has too few reviews
IDF_POWER = 0.25  # `auto` of df_power without these ratios, which already make rare n-grams count more


class Params(Section):
    max_n: int = Field(ge=0, le=8)  # tokens in the longest n-gram: 2 includes "not good"; 0: no n-grams
    # Letters in the longest n-gram inside a word; 0: none. A word counts once, and `pool` is always sqrt.
    char_max_n: int = Field(ge=0, le=8)
    min_df: int = Field(ge=1)  # train reviews that must contain an n-gram
    max_features: int = Field(ge=1, le=2**31 - 1)  # keep the n-grams with the highest document frequency
    buckets: int | None = Field(ge=2, le=2**31 - 1)  # hash n-grams to this many rows; null: one row each
    binary: bool  # does an n-gram that occurs twice in a review count once?
    pool: Literal["mean", "sqrt", "sum"]  # of a review's n-grams; sqrt is between the others
    ending_boost: float = Field(ge=0, le=100)  # additional weight of n-grams in a review's last tenth
    nb_ratios: Literal["auto"] | bool  # are inputs multiplied by the log-count ratios of Naive Bayes?
    # Inputs are multiplied by document frequency ** -df_power.
    df_power: Literal["auto"] | Annotated[float, Field(ge=0, le=1)]
    # Regularisation: a larger one relies less on n-grams of few reviews. auto: chosen on held-out reviews.
    l2: Literal["auto"] | Annotated[float, Field(ge=0)]
    folds: Folds  # how reviews are held out to choose l2 and to fit the ensemble
    class_weight: Literal["none", "balanced"]  # does a rare label count as much as a common one?


def config_for(params: Params, words: int, vocabulary: str) -> NGramConfig:
    """The part of the parameters that scoring needs. An empty model has no buckets."""
    return NGramConfig(
        max_n=params.max_n,
        char_max_n=params.char_max_n,
        buckets=params.buckets if params.max_n else None,
        binary=params.binary,
        pool=params.pool,
        ending_boost=params.ending_boost,
        words=words,
        vocabulary=vocabulary,
    )


def train_counts(
    documents: Documents, params: Params, config: NGramConfig
) -> tuple[Int64, csr_matrix, csr_matrix | None]:
    """The n-grams' keys (F,), their counts (N, F) in the documents, and in the endings of these.

    Hashed n-grams have no keys. There are no counts of endings if `ending_boost` is 0.
    """
    flat, lengths = documents.ids, documents.lengths
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


class Block(NamedTuple):
    """N-grams of one kind, learnt from N documents."""

    keys: Int64  # (F,), or (0,) if they are hashed
    factors: list[csr_matrix]  # whose product (N, F) has the pooled counts
    scale: Float32  # (F, O) of the inputs


def scale_of(df: Int64, ratios: Float32 | None, task: "Task") -> Float32:
    """The scale (F, O) of n-grams with document frequency `df` (F,)."""
    scale = df_scale(df, task.df_power) * np.ones((1, logits_for(task.labels)), np.float32)
    return scale if ratios is None else scale * ratios


class Task(NamedTuple):
    """What every fit of a run has in common."""

    words: Sequence[str]  # the vocabulary, (V,)
    labels: int  # L
    params: Params
    config: NGramConfig

    @property
    def nb_ratios(self) -> bool:
        """Are inputs multiplied by log-count ratios?"""
        choice = self.params.nb_ratios
        return self.labels <= MOST_RATIO_LABELS if choice == "auto" else choice

    @property
    def df_power(self) -> float:
        """The power of the document frequency."""
        choice = self.params.df_power
        return (0.0 if self.nb_ratios else IDF_POWER) if choice == "auto" else choice


def word_block(documents: Documents, y: Int32, task: Task) -> Block:
    """The n-grams of words."""
    most = min(task.params.max_features, most_inputs(task.labels, kinds=2))
    params = task.params.model_copy(update={"max_features": most})
    keys, counts, endings = train_counts(documents, params, task.config)
    ratios = log_count_ratios(counts, y, task.labels) if task.nb_ratios else None
    df = np.bincount(counts.indices, minlength=counts.shape[1])  # (F,)
    return Block(keys, [pooled_counts(counts, endings, task.config)], scale_of(df, ratios, task))


def char_block(documents: Documents, y: Int32, task: Task) -> tuple[Int32, Block]:
    """The alphabet (A,), and the n-grams of letters inside the words of the documents.

    A word counts once per document, and its n-grams as often as it has them.
    """
    params, most = task.params, most_inputs(task.labels, kinds=2)
    chars = learn_chars(documents, task.words, params.char_max_n, params.min_df, most)
    frequencies = csr_matrix(np.eye(task.labels)[y].T) @ chars.present @ chars.counts.sign()  # (L, F)
    ratios = ratios_of(frequencies) if task.nb_ratios else None
    df = np.asarray(frequencies.sum(0)).ravel().astype(np.int64)
    return chars.alphabet, Block(chars.keys, [chars.pooled, chars.counts], scale_of(df, ratios, task))


class Solution(NamedTuple):
    """The minimum that logistic regression finds."""

    w: Float32  # (F, O)
    bias: Float32  # (O,)


class Features:
    """All n-grams of N documents, as inputs of a regression whose coefficients become a model."""

    def __init__(self, documents: Documents, y: Int32, task: Task) -> None:
        self.y, self.task = y, task
        blocks = []
        if task.config.max_n:
            blocks.append(word_block(documents, y, task))
        if task.config.char_max_n:
            self.alphabet, block = char_block(documents, y, task)
            blocks.append(block)
        # Blocks are scaled to equal mean squares, so that l2 means the same for any block, pool and ratio.
        sizes = [np.sqrt(mean_square(block.factors, block.scale)) or 1.0 for block in blocks]
        self.keys = [block.keys for block in blocks]
        self.scales = [(b.scale / size).astype(np.float32) for b, size in zip(blocks, sizes, strict=True)]
        self.inputs = Inputs([block.factors for block in blocks])

    def solve(self, l2: float, start: Solution | None = None, rough: bool = False) -> Solution:
        """The coefficients with the lowest penalised loss, or `rough` ones."""
        weights = sample_weights(self.y, self.task.labels, self.task.params.class_weight)  # (N,)
        if not self.scales:  # no n-grams: the logits are those of the label frequencies
            bias = log_prior(self.y, self.task.labels, weights).astype(np.float32)
            return Solution(np.zeros((0, len(bias)), np.float32), bias)
        scale = np.concatenate(self.scales)
        return Solution(*logistic_regression(self.inputs, self.y, scale, l2, weights, start, rough))

    def model(self, solution: Solution) -> NGramModel:
        """The model with these coefficients."""
        ends = np.cumsum([len(scale) for scale in self.scales], dtype=np.int64)
        *coefficients, _ = np.split(solution.w, ends)
        parts = [w * s for w, s in zip(coefficients, self.scales, strict=True)]
        config, chars = self.task.config, None
        if config.char_max_n:
            part = self.alphabet, self.keys[-1], parts[-1]
            chars = CharModel.of_words(self.task.words, *part, config.char_max_n)
        weight, keys = np.zeros((0, len(solution.bias)), np.float32), np.zeros(0, np.int64)
        if config.max_n:
            weight, keys = parts[0], self.keys[0]
        return NGramModel(weight, solution.bias.astype(np.float64), keys, config, chars)


def fit(documents: Documents, y: Int32, task: Task, l2: float) -> NGramModel:
    """The n-grams of the documents and their weights."""
    features = Features(documents, y, task)
    return features.model(features.solve(l2))


def cross_validate(
    documents: Documents, y: Int32, masks: Sequence[Bool], task: Task
) -> tuple[float, HeldOut]:
    """The l2 with the lowest loss on held-out documents, and the logits of these."""
    rounds = [Features(documents.select(~mask), y[~mask], task) for mask in masks]
    solutions: list[Solution | None] = [None] * len(rounds)
    outputs = logits_for(task.labels)
    best, lowest, logits = 0.0, np.inf, HeldOut.empty(len(y), outputs)
    grid = L2 if task.params.l2 == "auto" else (task.params.l2,)
    with progress("ngrams", "fits", len(grid) * len(masks)) as bar:
        for l2 in grid:
            unseen = HeldOut.empty(len(y), outputs)
            for number, (features, mask) in enumerate(zip(rounds, masks, strict=True)):
                solutions[number] = solution = features.solve(l2, solutions[number], rough=True)
                unseen.fill(mask, features.model(solution).logits, documents)
                bar.update()
            loss = float(cross_entropy(*unseen.seen(y)).mean())
            if loss >= lowest:
                break  # the loss has one minimum: a weaker penalty is worse still
            best, lowest, logits = l2, loss, unseen
    return best, logits


def main(
    params: Path,
    tensors: Path,
    vocabulary: Path,
    labels: Path,
    ngrams: Path,
    held_out_logits: Path,
    metrics: Path,
) -> None:
    choices = read_params(params, "ngrams", Params)
    words = read_table(vocabulary, columns=["token"])["token"].to_pylist()  # V
    facts = read_labels(labels)
    config = config_for(choices, len(words), sha256(vocabulary))
    reviews, is_validation = read_train_and_validation(tensors)
    documents, y = reviews.documents, reviews.labels
    masks = list(held_out(y, is_validation, choices.folds, facts))
    task = Task(words, len(facts["labels"]), choices, config)
    l2, logits = cross_validate(documents, y, masks, task)
    model = fit(documents, y, task, l2)
    model.save(ngrams)
    logits.save(held_out_logits)
    rows = {"rows": len(model.weight), "char_rows": len(model.chars.keys) if model.chars else 0}
    results = {"l2": l2, "rounds": len(masks), "validation": scores_of(*logits.seen(y))}
    if (limit := most_inputs(task.labels, kinds=2)) in rows.values():
        results["limit"] = limit
        what = f"the {limit:,} most frequent n-grams of words and as many of letters"
        print(f"ngrams: with {task.labels:,} labels, {what} are used", file=sys.stderr)
    write_json(metrics, rows | results)


if __name__ == "__main__":
    run(main)
