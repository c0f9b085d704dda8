"""Ensemble: two opinions, weighted on validation.

The classifier averages word vectors and generalises to words that are rare in the train reviews; the
n-grams are sensitive to word order. They make different mistakes, so their weighted sum is better than
either:

    logits = w1 * classifier + w2 * n-grams

Each part is trained alone: trained together, the n-grams would explain the train reviews before the
vectors had to. Four choices are made on held-out reviews (`stages.lib.folds`), on logits of models
that were not trained on them:

1. the weights w1 and w2, which minimise the cross-entropy;
2. the temperature that the sum is divided by, so that of the reviews with probability 0.9 nine in ten
   are classified correctly;
3. the shrinkage, which moves the logits of short texts towards the label frequencies, so that the same is
   true of the first 1, 2, 5, 10 or 20 words of a review;
4. the threshold from which the second of two labels is predicted.

If all held-out reviews have one label, they cannot decide any of these: then the weights are 0.5, the
temperature 1, the shrinkage 0 and the threshold 0.5. The result is one file, the only model file that later
stages read.

    Platt 1999, "Probabilistic Outputs for Support Vector Machines"
    Guo et al. 2017, "On Calibration of Modern Neural Networks"

    python -m stages.ensemble --help
"""

import math
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from stages.lib.arrays import Float64, Int32
from stages.lib.command import Refusal, run
from stages.lib.files import read_labels, sha256, write_json
from stages.lib.folds import HeldOut, cut_lengths
from stages.lib.model import (
    Model,
    ModelConfig,
    evidence,
    log_prior,
    log_probabilities,
    probabilities,
    scores_of,
    shrunk,
)
from stages.lib.ngram.model import NGramModel
from stages.lib.params import Section, read_params
from stages.lib.reviews import Documents, logits_for, read_train_and_validation
from stages.lib.word_model import WordModel

SHRINKAGES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # words; see `stages.lib.model`
TOLERANCE = 1.005  # the loss on whole reviews may rise by this factor for the sake of short texts
MAX_SCALE = 100.0  # largest weight and temperature, and inverse of the smallest temperature


class Params(Section):
    # The weight of the n-grams, where the classifier has the rest; or both are fitted on held-out reviews.
    weights: Literal["validation"] | Annotated[float, Field(ge=0, le=1)]
    calibration: Literal["temperature", "none"]  # is a probability of 0.9 right nine times in ten?
    threshold: Literal["validation"] | Annotated[float, Field(gt=0, lt=1)]  # probability of the second label


def smoothed_labels(labels: Int32, count: int) -> Float64:
    """Target probabilities instead of certain labels: (N,) -> (N, L).

    The minimum of the cross-entropy of a few reviews that are all classified correctly is at infinite
    logits. So each of N reviews has its label with probability (N + 1) / (N + 2), Laplace's rule of
    succession, and the other labels share the rest. After Platt 1999, section 2.2.

    >>> smoothed_labels(np.array([0, 1, 1], np.int32), 3).round(2).tolist()
    [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]]
    """
    others = 1 / (len(labels) + 2)
    result: Float64 = np.where(np.eye(count, dtype=np.bool_)[labels], 1 - others, others / (count - 1))
    return result


def smoothed_cross_entropy(logits: Float64, targets: Float64) -> float:
    """The mean cross-entropy of logits (N, O) and target probabilities (N, L), in nats."""
    return float(-(targets * log_probabilities(logits)).sum(1).mean())


def fit_ensemble_weights(words: Float64, ngrams: Float64, labels: Int32, count: int) -> tuple[float, float]:
    """The non-negative weights of two models' logits (N, O) whose sum has the lowest smoothed loss.

    The loss is convex in the weights, so its minimum is unique if the logits differ.
    """
    from scipy.optimize import minimize  # takes 0.2 s to import

    targets = smoothed_labels(labels, count)  # (N, L)
    parts = np.stack([words, ngrams])  # (2, N, O)
    outputs = words.shape[1]

    def loss_and_gradient(weights: Float64) -> tuple[float, Float64]:
        logits = (weights[:, None, None] * parts).sum(0)  # (N, O)
        # The derivative of the cross-entropy by a logit: probability minus target.
        residuals = (probabilities(logits) - targets)[:, -outputs:] / len(targets)  # (N, O)
        return smoothed_cross_entropy(logits, targets), (parts * residuals).sum((1, 2))

    weights, lowest = np.ones(2), math.inf
    while True:
        result = minimize(
            loss_and_gradient,
            weights,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, MAX_SCALE)] * 2,
            options={"ftol": 1e-12, "gtol": 1e-9},
        )
        # L-BFGS-B may stop early after it has reached a bound. Starting again from there continues.
        if not result.fun < lowest - 1e-9:
            break
        weights, lowest = result.x, result.fun
    return float(weights[0]), float(weights[1])


def temperature_for(logits: Float64, labels: Int32, count: int) -> float:
    """The divisor of logits (N, O) with the lowest smoothed loss.

    It changes probabilities and not their order: Guo et al. 2017, section 4.2. Ternary search over its
    logarithm, in which the loss has one minimum.
    """
    targets = smoothed_labels(labels, count)
    low, high = math.log(1 / MAX_SCALE), math.log(MAX_SCALE)
    while high - low > 1e-4:
        third = (high - low) / 3
        cold, hot = (
            smoothed_cross_entropy(logits / math.exp(t), targets) for t in (low + third, high - third)
        )
        low, high = low + third * (hot <= cold), high - third * (cold <= hot)
    return math.exp((low + high) / 2)


def threshold_for(probabilities: Float64, labels: Int32) -> float:
    """The threshold with the highest accuracy: probabilities (N, 2), labels (N,).

    Candidates are the midpoints between adjacent probabilities. Of equal ones the nearest to 0.5 is taken.

    >>> threshold_for(np.array([[0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]), np.array([0, 0, 1], np.int32))
    0.35
    """
    order = np.argsort(probabilities[:, 1], kind="stable")
    second, y_true = probabilities[order, 1], labels[order]
    negatives_below = np.concatenate([[0], np.cumsum(1 - y_true)])  # (N + 1,)
    positives_above = np.concatenate([np.cumsum(y_true[::-1])[::-1], [0]])
    edges = np.concatenate([[0.0], second, [1.0]])
    midpoints = (edges[:-1] + edges[1:]) / 2  # (N + 1,)
    correct = np.where(edges[:-1] < edges[1:], negatives_below + positives_above, -1)
    best = midpoints[correct == correct.max()]
    return round(float(best[np.abs(best - 0.5).argmin()]), 6)


def read_parts(
    classifier: Path, ngrams: Path, labels: list[str], tokeniser: str
) -> tuple[ModelConfig, WordModel, NGramModel]:
    """Both parts and the configuration of their sum. Raises Refusal if they do not belong together.

    `tokeniser` is the SHA-256 of the tokeniser.
    """
    word_model, cut = WordModel.from_classifier(classifier)
    ngram_model = NGramModel.load(ngrams)
    if cut.vocabulary != ngram_model.config.vocabulary:
        raise Refusal(f"{ngrams}: has another vocabulary than {classifier}; run `dvc repro`")
    if not len(word_model.bias) == len(ngram_model.bias) == logits_for(len(labels)):
        logits = f"{len(word_model.bias)} and {len(ngram_model.bias)} logits"
        raise Refusal(f"{classifier}, {ngrams}: found {logits} for {len(labels)} labels; run `dvc repro`")
    counted = ngram_model.config if ngram_model.config.max_n or ngram_model.chars else None
    prior = [0.0] * logits_for(len(labels))
    config = ModelConfig(**cut.model_dump(), tokeniser=tokeniser, labels=labels, prior=prior, ngrams=counted)
    return config, word_model, ngram_model


class Evidence(NamedTuple):
    """The held-out reviews that the choices are made on: logits (N, O) of both parts."""

    labels: Int32  # (N,)
    words: Float64
    ngrams: Float64
    documents: Documents

    def mixed(self, weights: tuple[float, float]) -> Float64:
        """The weighted sum of both parts."""
        return weights[0] * self.words + weights[1] * self.ngrams


def read_evidence(
    tensors: Path, classifier: Path, ngrams: Path, count: int
) -> tuple[Evidence, Evidence, Float64]:
    """The reviews that both parts held out, whole and cut to their first words, and the prior logits (O,).

    `classifier` and `ngrams` are the files of their held-out logits, and `count` is L.
    """
    reviews, _ = read_train_and_validation(tensors)
    words, counted = HeldOut.load(classifier), HeldOut.load(ngrams)
    there = words.there & counted.there
    whole = reviews.documents.select(there)
    cut = whole.head(cut_lengths(len(there))[there])
    y = reviews.labels[there]
    return (
        Evidence(y, words.whole[there], counted.whole[there], whole),
        Evidence(y, words.cut[there], counted.cut[there], cut),
        log_prior(reviews.labels, count),
    )


def fit_shrinkage(
    whole: Evidence, cut: Evidence, weights: tuple[float, float], prior: Float64
) -> tuple[float, float]:
    """The shrinkage with the lowest loss on the beginnings of reviews, and the temperature with the lowest
    loss on whole reviews. That loss may hardly rise by the shrinkage. `prior` is (O,)."""
    count = max(2, len(prior))  # L
    targets = smoothed_labels(whole.labels, count)
    results, limit = [], math.inf
    for shrinkage in SHRINKAGES:
        long, short = (
            shrunk(part.mixed(weights), prior, evidence(part.documents, shrinkage)) for part in (whole, cut)
        )
        temperature = temperature_for(long, whole.labels, count)
        loss = smoothed_cross_entropy(long / temperature, targets)
        limit = min(limit, TOLERANCE * loss)  # the first shrinkage is none
        if loss <= limit:
            results.append((smoothed_cross_entropy(short / temperature, targets), shrinkage, temperature))
    _, shrinkage, temperature = min(results)
    return shrinkage, temperature


def main(
    params: Path,
    tensors: Path,
    labels: Path,
    classifier: Path,
    ngrams: Path,
    classifier_held_out: Path,
    ngrams_held_out: Path,
    tokeniser: Path,
    ensemble: Path,
    metrics: Path,
) -> None:
    choices = read_params(params, "ensemble", Params)
    names = read_labels(labels)["labels"]
    config, word_model, ngram_model = read_parts(classifier, ngrams, names, sha256(tokeniser))
    count = len(config.labels)
    whole, cut, prior = read_evidence(tensors, classifier_held_out, ngrams_held_out, count)
    occurring = len(np.unique(whole.labels))
    decidable = occurring > 1  # else always predicting that label would look best
    weights = (0.5, 0.5)
    if config.ngrams is None:
        weights = (1.0, 0.0)
    elif choices.weights != "validation":
        weights = (1 - choices.weights, choices.weights)
    elif decidable:
        weights = fit_ensemble_weights(whole.words, whole.ngrams, whole.labels, count)
    scaled = None if config.ngrams is None else ngram_model.scaled(weights[1])
    shrinkage, temperature = 0.0, 1.0
    if choices.calibration == "temperature" and decidable:
        shrinkage, temperature = fit_shrinkage(whole, cut, weights, prior)
    logits = shrunk(whole.mixed(weights), prior, evidence(whole.documents, shrinkage))
    threshold = 0.5 if choices.threshold == "validation" else choices.threshold
    if choices.threshold == "validation" and decidable and count == 2:
        threshold = threshold_for(probabilities(logits, temperature), whole.labels)
    chosen = {"temperature": temperature, "shrinkage": shrinkage, "threshold": threshold}
    config = config.model_copy(update=chosen | {"prior": prior.tolist()})
    Model(config, word_model.scaled(weights[0]), scaled).save(ensemble)
    results = scores_of(logits, whole.labels) | {"labels": occurring}
    both = {"classifier": weights[0], "ngrams": weights[1]}
    write_json(metrics, chosen | {"weights": both, "validation": results})


if __name__ == "__main__":
    run(main)
