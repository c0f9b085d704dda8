"""Ngrams: logistic regression against scikit-learn, the model against dense inputs."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from stages import ngrams
from stages.lib import memory
from stages.lib.arrays import Bool, Float32, Float64, Int32
from stages.lib.command import Refusal
from stages.lib.folds import HeldOut, held_out
from stages.lib.model import cross_entropy, probabilities
from stages.lib.ngram import regression
from stages.lib.ngram.inputs import Inputs
from stages.lib.ngram.model import NGramModel
from stages.lib.reviews import Reviews, logits_for
from stages.ngrams import Params, Task, config_for, cross_validate, df_scale, fit, logistic_regression
from tests.conftest import ROOT
from tests.test_ngram_model import CONFIG, V, dense_inputs, keys_in

PLAIN = Params(
    max_n=2, char_max_n=0, min_df=1, max_features=10**6, buckets=None, binary=True, pool="sum",
    ending_boost=0, nb_ratios=False, df_power=0, l2=1, folds=0, class_weight="none",
)  # fmt: skip
WORDS = ["<pad>", "<unk>", "to", "too", "oto", "abba", "ab", "", "é🙃"]


def reviews_of(texts: Sequence[Sequence[int | str]], labels: list[int], width: int = 32) -> Reviews:
    """Reviews of row numbers and of words that are not in the vocabulary."""
    ids = np.zeros((len(texts), width), np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = [1 if isinstance(word, str) else word for word in text]
    lengths = np.array([len(text) for text in texts], np.int32)
    unknown = [word for text in texts for word in text if isinstance(word, str)]
    return Reviews(ids, lengths, np.array(labels, np.int32), unknown)


def task_of(labels: int, **choices: Any) -> Task:
    params = PLAIN.model_copy(update=choices)
    return Task(WORDS, labels, params, config_for(params, V, "0" * 64))


def fitted(train: Reviews, labels: int, **choices: Any) -> NGramModel:
    task = task_of(labels, **choices)
    assert task.params.l2 != "auto"
    return fit(train.documents, train.labels, task, task.params.l2)


def logits_on(model: NGramModel, reviews: Reviews) -> Float64:
    return model.logits(reviews.documents)


def test_a_rare_ngram_has_a_larger_scale() -> None:
    df = np.array([1, 4, 4, 7])
    assert df_scale(df, 0.5)[:, 0] == pytest.approx([2, 1, 1, (4 / 7) ** 0.5])
    assert df_scale(df, 0)[:, 0].tolist() == [1, 1, 1, 1]
    assert np.isfinite(df_scale(np.array([0, 0, 8]), 0.5)).all()  # empty buckets


@pytest.mark.filterwarnings("error")
def test_more_coefficients_than_memory_are_refused_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs, y, _ = some_inputs(40)
    scale = np.ones((inputs.shape[1], 40), np.float32)
    monkeypatch.setattr(regression, "log_probabilities", None)  # the first step would call it
    monkeypatch.setattr(memory, "free_memory", lambda: regression.BYTES * scale.size - 1)
    with pytest.raises(Refusal, match=r"n-grams, which for 40 labels needs .* memory.*ngrams\.min_df"):
        logistic_regression(Inputs([[inputs]]), y, scale, 1.0, np.ones(len(y)))


@pytest.mark.parametrize("labels", [2, 3, 33, 77, 150, 1000])
def test_coefficients_are_bounded_where_labels_are_many(labels: int) -> None:
    most = regression.most_inputs(labels, kinds=2)
    assert (most > 10**9) == (labels <= regression.MANY_LABELS)
    if labels > regression.MANY_LABELS:
        assert 2 * most * labels * regression.BYTES <= 1.2e9


def test_a_bound_that_is_not_reached_changes_nothing_and_one_that_is_keeps_the_frequent_ngrams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [[2, 3], [2, 4], [2, 5], [3, 4, "too"], [4, 2], [5, 5]]
    train = reviews_of(words, [0, 1, 2, 0, 1, 2])
    plain = fitted(train, 3, char_max_n=3)
    monkeypatch.setattr(regression, "MANY_LABELS", 2)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            plain.arrays().values(), fitted(train, 3, char_max_n=3).arrays().values(), strict=True
        )
    )
    monkeypatch.setattr(regression, "MOST_COEFFICIENTS", 24)  # 4 n-grams of words and 4 of letters
    bounded = fitted(train, 3, char_max_n=3)
    assert plain.chars is not None
    assert bounded.chars is not None
    assert bounded.keys.tolist() == [2, 3, 4, 5]
    assert len(plain.keys) > 4 == len(bounded.chars.keys) < len(plain.chars.keys)


def test_no_ngrams_have_no_scale() -> None:
    assert df_scale(np.zeros(0, np.int64), 0.5).shape == (0, 1)


def dense_fit(
    inputs: Float64, labels: Int32, scale: Float64 | Float32, l2: float, weights: Float64
) -> tuple[Float64, Float64]:
    """The coefficients (F, O) and bias (O,) with the lowest loss, in 64 bits, with numerical gradients."""
    outputs = scale.shape[1]

    def loss(flat: Float64) -> float:
        w, bias = flat[:-outputs].reshape(-1, outputs), flat[-outputs:]
        logits = inputs @ (scale * w) + bias
        both = np.concatenate([np.zeros_like(logits), logits], 1) if outputs == 1 else logits
        losses = -log_softmax(both, axis=1)[np.arange(len(labels)), labels]
        return float((losses * weights).sum() + l2 / 2 * (w**2).sum())

    result = minimize(loss, np.zeros(scale.size + outputs), method="BFGS").x
    return result[:-outputs].reshape(-1, outputs), result[-outputs:]


def some_inputs(labels: int) -> tuple[csr_matrix, Int32, Float64]:
    generator = np.random.default_rng(1)
    inputs = generator.integers(0, 3, (40, 5)).astype(np.float32)
    y_true = ((inputs[:, 0] + generator.integers(0, labels, 40)).astype(int) % labels).astype(np.int32)
    return csr_matrix(inputs), y_true, generator.uniform(0.2, 3, 40)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets L-BFGS go on to the minimum, so that coefficients can be compared."""
    monkeypatch.setattr(regression, "TOLERANCE", 1e-10)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("l2", [0.03, 0.3, 3])
def test_the_loss_is_within_a_thousandth_of_the_lowest(labels: int, l2: float) -> None:
    inputs, y_true, weights = some_inputs(labels)
    scale = np.ones((5, logits_for(labels)), np.float32)

    def loss(w: Float32 | Float64, bias: Float32 | Float64) -> float:
        losses = cross_entropy(inputs.toarray().astype(np.float64) @ w + bias, y_true) * weights
        return float(losses.sum() + l2 / 2 * np.square(w).sum())

    lowest = loss(*dense_fit(inputs.toarray(), y_true, scale, l2, weights))
    found = loss(*logistic_regression(Inputs([[inputs]]), y_true, scale, l2, weights))
    assert lowest == pytest.approx(found, rel=1e-3)


def test_a_large_regression_stops_earlier_near_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, y_true, weights = some_inputs(3)
    scale = np.ones((5, 3), np.float32)
    exact = logistic_regression(Inputs([[inputs]]), y_true, scale, 0.3, weights)
    monkeypatch.setattr(regression, "MANY_LABELS", 2)
    monkeypatch.setattr(regression, "LARGE", 14)
    early = logistic_regression(Inputs([[inputs]]), y_true, scale, 0.3, weights)
    assert not np.array_equal(exact[0], early[0])
    assert early[0] == pytest.approx(exact[0], abs=0.1)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("l2", [0.3, 3])
def test_the_coefficients_equal_those_of_scikit_learn(labels: int, l2: float) -> None:
    inputs, y_true, weights = some_inputs(labels)
    scale = np.tile(np.array([[0.5], [1], [2], [-1], [0.3]], np.float32), (1, logits_for(labels)))
    w, bias = logistic_regression(Inputs([[inputs]]), y_true, scale, l2, weights)
    oracle = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000)
    oracle.fit(inputs.toarray() * scale[:, 0], y_true, sample_weight=weights)
    assert w == pytest.approx(oracle.coef_.T, abs=2e-3)
    # Adding a constant to all biases of a softmax changes nothing.
    shift = 0 if labels == 2 else bias.mean() - oracle.intercept_.mean()
    assert bias - shift == pytest.approx(oracle.intercept_, abs=2e-3)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("labels", [2, 3])
def test_each_label_has_its_own_scale(labels: int) -> None:
    inputs, y_true, weights = some_inputs(labels)
    scale = np.random.default_rng(2).normal(size=(5, logits_for(labels))).astype(np.float32)
    w, bias = logistic_regression(Inputs([[inputs]]), y_true, scale, 0.7, weights)
    expected, other = dense_fit(inputs.toarray(), y_true, scale, 0.7, weights)
    assert w == pytest.approx(expected, abs=3e-3)
    assert bias - bias.mean() * (labels > 2) == pytest.approx(other - other.mean() * (labels > 2), abs=3e-3)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("labels", [2, 3])
def test_a_weight_of_two_equals_a_repeated_review(labels: int) -> None:
    inputs, y_true, _ = some_inputs(labels)
    scale, weights = np.ones((5, logits_for(labels)), np.float32), np.ones(40)
    twice = np.concatenate([np.arange(40), np.arange(10)])
    weights[:10] = 2
    weighted = logistic_regression(Inputs([[inputs]]), y_true, scale, 1, weights)
    repeated = logistic_regression(Inputs([[inputs[twice]]]), y_true[twice], scale, 1, np.ones(50))
    assert weighted[0] == pytest.approx(repeated[0], abs=1e-3)
    assert weighted[1] - weighted[1][:1] == pytest.approx(repeated[1] - repeated[1][:1], abs=1e-3)


@pytest.mark.usefixtures("exact")
def test_the_start_changes_the_way_and_not_the_minimum() -> None:
    inputs, y_true, weights = some_inputs(2)
    scale, block = np.ones((5, 1), np.float32), Inputs([[inputs]])
    expected = logistic_regression(block, y_true, scale, 0.3, weights)
    start = np.full((5, 1), 2, np.float32), np.full(1, -3, np.float32)
    for part, other in zip(
        logistic_regression(block, y_true, scale, 0.3, weights, start), expected, strict=True
    ):
        assert part == pytest.approx(other, abs=2e-3)
    again = logistic_regression(block, y_true, scale, 0.3, weights, expected)
    assert again[0] == pytest.approx(expected[0], abs=1e-3)


UNSEEN: dict[int, str] = {7: "toto", 8: "aba"}  # words that are not in the vocabulary


def noisy_reviews(labels: int, count: int = 60) -> Reviews:
    generator = np.random.default_rng(3)
    y_true = generator.integers(0, labels, count)
    texts = []
    for label in y_true:
        words = generator.integers(2, V, generator.integers(0, 6)).tolist() * int(generator.choice([1, 1, 4]))
        words = [UNSEEN.get(word, word) for word in words]
        texts.append([*words, 2 + int(label)] if generator.random() < 0.7 else words)
    return reviews_of(texts, y_true.tolist())


CHOICES: list[dict[str, Any]] = [
    {},
    {"nb_ratios": True},
    {"df_power": 0.5},
    {"pool": "mean", "l2": 0.5},
    {"pool": "sqrt"},
    {"char_max_n": 3},
    {"char_max_n": 2, "max_n": 0, "nb_ratios": True},
    {"char_max_n": 3, "pool": "sqrt", "nb_ratios": True, "df_power": 0.25, "min_df": 9},
    {"char_max_n": 2, "buckets": 7},
    {"char_max_n": 1, "class_weight": "balanced", "ending_boost": 0.5},
    {"binary": False},
    {"ending_boost": 0.5},
    {"buckets": 7},
    {"min_df": 4, "max_features": 6, "max_n": 3},
    {"class_weight": "balanced"},
    {"nb_ratios": True, "df_power": 0.25, "pool": "mean", "binary": False, "buckets": 20, "ending_boost": 2},
]


def scaled_inputs(
    inputs: Float64, frequencies: Float64, params: Params, y_true: Int32, labels: int
) -> tuple[Float64, Float64]:
    """Inputs (N, F) and their scale (F, O), from document frequencies for each label (L, F), so that the mean
    square of a document's scaled inputs is 1."""
    df = frequencies.sum(0)
    scale = np.ones((len(df), logits_for(labels)))
    scale *= (np.maximum(df, 1) / max(1, df.mean()))[:, None] ** -float(params.df_power)
    if params.nb_ratios:
        for column, label in enumerate([1] if labels == 2 else range(labels)):
            p, q = frequencies[label] + 1, df - frequencies[label] + 1
            scale[:, column] *= np.log(p / p.sum()) - np.log(q / q.sum())
    squares = ((inputs[:, :, None] * scale) ** 2).sum(1)  # (N, O)
    return inputs, scale / np.sqrt(squares.mean())


def spelling(text: Sequence[int | str]) -> list[str]:
    return [WORDS[word] if isinstance(word, int) else word for word in text]


def letter_counts(word: str, max_n: int) -> Counter[str]:
    framed = f"|{word}|"
    return Counter(
        framed[start : start + n] for n in range(1, max_n + 1) for start in range(len(framed) - n + 1)
    )


def dense_letters(
    texts: Sequence[Sequence[int | str]], params: Params, y_true: Int32, labels: int
) -> tuple[Float64, Float64]:
    """The pooled counts (N, F) of character n-grams, and their frequencies for each label (L, F)."""
    words = [sorted(set(spelling(text))) for text in texts]
    df = Counter(gram for part in words for word in part for gram in letter_counts(word, params.char_max_n))
    grams = sorted(gram for gram, count in df.items() if count >= params.min_df)
    inputs, frequencies = np.zeros((len(texts), len(grams))), np.zeros((labels, len(grams)))
    for row, part in enumerate(words):
        for word in part:
            counts = letter_counts(word, params.char_max_n)
            inputs[row] += [counts[gram] for gram in grams]
            frequencies[y_true[row]] += [gram in counts for gram in grams]
    return inputs / np.sqrt(inputs.sum(1, keepdims=True).clip(min=1)), frequencies


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_the_model_equals_a_regression_on_dense_inputs(choices: dict[str, Any], labels: int) -> None:
    params = PLAIN.model_copy(update=choices)
    config = config_for(params, V, "0" * 64)
    train = noisy_reviews(labels)
    y_true, model = train.labels, fitted(train, labels, **choices)
    texts = [row[:n].tolist() for row, n in zip(train.ids, train.lengths, strict=True)]
    blocks = []
    if params.max_n:
        df = Counter(key for text in texts for key in set(keys_in(text, params.max_n)))
        frequent = sorted(df, key=lambda key: (-df[key], key))[: params.max_features]
        keys = [] if params.buckets else sorted(key for key in frequent if df[key] >= params.min_df)
        rows, width = {key: n for n, key in enumerate(keys)}, params.buckets or len(keys)
        assert model.keys.tolist() == keys
        assert model.weight.shape == (width, logits_for(labels))
        update = {"max_n": params.max_n, "buckets": params.buckets, "binary": False}
        plain = CONFIG.model_copy(update=update)
        counts = np.stack([dense_inputs(text, plain, rows, width) for text in texts])
        frequencies = np.eye(labels)[y_true].T @ (counts > 0)
        inputs = np.stack([dense_inputs(text, config, rows, width) for text in texts])
        blocks.append(scaled_inputs(inputs, frequencies, params, y_true, labels))
    if params.char_max_n:
        unknown = iter(train.unknown)
        spelled = [[next(unknown) if word == 1 else word for word in text] for text in texts]
        letters = dense_letters(spelled, params, y_true, labels)
        blocks.append(scaled_inputs(*letters, params, y_true, labels))
    inputs, scale = (
        np.concatenate(part, axis) for part, axis in zip(zip(*blocks, strict=True), (1, 0), strict=True)
    )
    weights = ngrams.sample_weights(y_true, labels, params.class_weight)
    assert params.l2 != "auto"
    w, bias = dense_fit(inputs, y_true, scale, params.l2, weights)
    expected, logits = inputs @ (scale * w) + bias, logits_on(model, train)
    if labels > 2:
        expected, logits = (part - part.mean(1, keepdims=True) for part in (expected, logits))
    assert logits == pytest.approx(expected, abs=0.01)
    assert np.abs(expected).max() > 0.5  # something was learnt


@pytest.mark.parametrize(
    ("texts", "choices"),
    [
        ([[], [], [], []], {}),
        ([[2], [3], [4], [5]], {"min_df": 2}),
        ([[2, 3]] * 4, {}),
        ([[], [], [], []], {"buckets": 4}),
        ([[2, 3]] * 4, {"min_df": 9}),
        ([[2], [3], [4], [5]], {"max_n": 0}),
        ([[2], [3], [4], [5]], {"max_n": 0, "buckets": 4}),
        ([[], [], [], []], {"char_max_n": 3}),
        ([[], [], [], []], {"max_n": 0, "char_max_n": 3}),
        ([[2, "zz"]] * 4, {"char_max_n": 3}),
        ([[2, "zz"]] * 4, {"char_max_n": 3, "min_df": 9}),
        ([[2, "zz"]] * 4, {"max_n": 0, "char_max_n": 2, "min_df": 99}),
        ([["", "\ud83d"]] * 4, {"max_n": 0, "char_max_n": 2}),
    ],
)
@pytest.mark.filterwarnings("error")
def test_without_information_the_probabilities_are_the_frequencies_of_labels(
    texts: list[list[int | str]], choices: dict[str, Any]
) -> None:
    for labels, pool, nb_ratios in itertools.product((2, 3), ("mean", "sqrt", "sum"), (True, False)):
        train = reviews_of(texts, [0, 1, 0, 1] if labels == 2 else [0, 1, 2, 1])
        model = fitted(train, labels, **choices, pool=pool, nb_ratios=nb_ratios, df_power=0.25)
        expected = [0.25, 0.5, 0.25] if labels == 3 else [0.5, 0.5]
        tolerance = 0.08 if choices.get("max_n") == 0 and "char_max_n" not in choices else 0.02
        assert probabilities(logits_on(model, train))[0].tolist() == pytest.approx(expected, abs=tolerance)


def test_an_empty_model_has_the_smoothed_log_odds_of_the_labels() -> None:
    train = reviews_of([[2]] * 5, [0, 1, 1, 1, 1])
    assert fitted(train, 2, max_n=0).bias.tolist() == pytest.approx([np.log(5 / 2)])
    assert fitted(train, 2, max_n=0, class_weight="balanced").bias.tolist() == pytest.approx([0])


def held_out_loss(documents: Any, y: Int32, masks: list[Bool], task: Task, l2: float) -> float:
    """The loss on held-out documents, by fitting each round from the start."""
    losses = []
    for mask in masks:
        model = fit(documents.select(~mask), y[~mask], task, l2)
        losses += cross_entropy(model.logits(documents.select(mask)), y[mask]).tolist()
    return float(np.mean(losses))


@pytest.mark.parametrize("labels", [2, 3])
def test_the_l2_with_the_lowest_held_out_loss_is_chosen(labels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = (30.0, 10.0, 3.0, 1.0, 0.3, 0.03)
    monkeypatch.setattr(ngrams, "L2", grid)
    reviews, task = noisy_reviews(labels, 90), task_of(labels, l2="auto", char_max_n=2)
    documents, y = reviews.documents, reviews.labels
    masks = list(held_out(y, np.zeros(len(y), np.bool_), 3, {"labels": range(labels)}))
    l2, logits = cross_validate(documents, y, masks, task)
    losses = {value: held_out_loss(documents, y, masks, task, value) for value in grid}
    assert l2 == min(losses, key=losses.__getitem__)
    assert grid[0] > l2 > grid[-1]  # else the choice would be of a bound
    assert cross_entropy(logits.whole, y).mean() == pytest.approx(losses[l2], abs=0.01)


def test_a_given_l2_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "ROUGH_TOLERANCE", regression.TOLERANCE)
    reviews = noisy_reviews(2)
    masks = [np.arange(60) % 2 == 0]
    l2, logits = cross_validate(reviews.documents, reviews.labels, masks, task_of(2, l2=7.5))
    assert l2 == 7.5
    model = fitted(reviews.select(~masks[0]), 2, l2=7.5)
    assert np.allclose(logits.whole[masks[0]], logits_on(model, reviews.select(masks[0])))


def test_held_out_logits_are_of_a_model_that_did_not_see_the_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(regression, "ROUGH_TOLERANCE", regression.TOLERANCE)
    reviews, task = noisy_reviews(2), task_of(2, char_max_n=2, nb_ratios=True)
    masks = list(held_out(reviews.labels, np.zeros(60, np.bool_), 3, {"labels": range(2)}))
    _, before = cross_validate(reviews.documents, reviews.labels, masks, task)
    # The labels of one fold change: its own logits stay, those of the other folds are of other models.
    changed = np.where(masks[1], 1 - reviews.labels, reviews.labels)
    _, after = cross_validate(reviews.documents, changed, masks, task)
    assert (after.whole[masks[1]] == before.whole[masks[1]]).all()
    assert (after.cut[masks[1]] == before.cut[masks[1]]).all()
    assert (after.whole[masks[0]] != before.whole[masks[0]]).any()
    model = fit(reviews.documents.select(~masks[1]), reviews.labels[~masks[1]], task, 1)
    heads = reviews.documents.select(masks[1]).head(np.resize([1, 2, 5, 10, 20], 60)[masks[1]])
    assert np.allclose(before.cut[masks[1]], model.logits(heads))


def test_documents_that_no_round_holds_out_have_no_logits() -> None:
    reviews, mask = noisy_reviews(2), np.arange(60) >= 50
    _, logits = cross_validate(reviews.documents, reviews.labels, [mask], task_of(2))
    assert (logits.there == mask).all()


@pytest.mark.parametrize("choices", [{}, {"char_max_n": 2}, {"max_n": 0, "char_max_n": 2}, {"max_n": 0}])
def test_a_label_that_is_absent_in_a_round_has_logits(choices: dict[str, Any]) -> None:
    reviews = noisy_reviews(3)
    mask = reviews.labels == 2
    _, logits = cross_validate(reviews.documents, reviews.labels, [mask], task_of(3, l2="auto", **choices))
    assert np.isfinite(logits.whole[mask]).all()


def test_what_auto_chooses() -> None:
    auto = {"nb_ratios": "auto", "df_power": "auto"}
    few, many = task_of(10, **auto), task_of(11, **auto)
    assert (few.nb_ratios, few.df_power) == (True, 0)
    assert (many.nb_ratios, many.df_power) == (False, 0.25)
    assert task_of(2, nb_ratios=False, df_power="auto").df_power == 0.25
    assert task_of(11, nb_ratios=True, df_power="auto").df_power == 0
    assert task_of(2, nb_ratios="auto", df_power=0.5).df_power == 0.5


@pytest.mark.parametrize("nb_ratios", [True, False])
@pytest.mark.parametrize("pool", ["mean", "sqrt", "sum"])
def test_all_blocks_have_equal_mean_squares(pool: str, nb_ratios: bool) -> None:
    reviews = noisy_reviews(3)
    task = task_of(3, char_max_n=3, pool=pool, nb_ratios=nb_ratios)
    features = ngrams.Features(reviews.documents, reviews.labels, task)
    for factors, scale in zip(features.inputs.blocks, features.scales, strict=True):
        inputs = factors[0] if len(factors) == 1 else factors[0] @ factors[1]
        scaled = inputs.toarray()[:, :, None] * scale  # (N, F, O)
        assert (scaled**2).sum(1).mean() == pytest.approx(1, rel=1e-4)


def write_inputs(folder: Path, labels: int = 2) -> list[Path]:
    """Reviews in which the order of two words decides the label."""
    arrays = {}
    for seed, (split, count) in enumerate((("train", 120), ("validation", 40))):
        generator = np.random.default_rng(seed)
        y_true = generator.integers(0, labels, count).astype(np.int32)
        ids = generator.integers(5, V, (count, 6)).astype(np.int32)
        order = np.array([[2, 3, 4], [3, 2, 4], [4, 3, 2]])[y_true]
        ids[:, 1:4] = order
        lengths = np.full(count, 6, np.int32)
        arrays |= {f"{split}.ids": ids, f"{split}.lengths": lengths, f"{split}.labels": y_true}
        arrays[f"{split}.unknown"] = np.zeros(0, np.uint8)
    save_file(arrays, folder / "tensors.safetensors")
    pq.write_table(pa.table({"id": range(V), "token": WORDS}), folder / "vocabulary.parquet")
    (folder / "labels.json").write_text(json.dumps({"labels": [str(n) for n in range(labels)]}))
    names = ("tensors.safetensors", "vocabulary.parquet", "labels.json")
    outputs = ("ngrams.safetensors", "held_out.safetensors", "ngrams.json")
    return [folder / name for name in names + outputs]


@pytest.mark.parametrize("labels", [2, 3])
def test_the_stage_learns_the_order_of_words(
    tmp_path: Path, write_params: Callable[..., Path], labels: int
) -> None:
    paths = write_inputs(tmp_path, labels)
    accuracy = {}
    for max_n in (0, 1, 2):
        ngrams.main(write_params(ngrams={"max_n": max_n, "char_max_n": 0}), *paths)
        metrics = json.loads(paths[5].read_text(encoding="utf-8"))
        model = NGramModel.load(paths[3])
        assert metrics["rows"] == len(model.weight)
        assert model.config.words == V
        accuracy[max_n] = metrics["validation"]["accuracy"]
    assert accuracy[2] == 1.0
    assert max(accuracy[0], accuracy[1]) < 0.75
    contents = [path.read_bytes() for path in paths[3:]]
    ngrams.main(write_params(ngrams={"max_n": 2, "char_max_n": 0}), *paths)
    assert [path.read_bytes() for path in paths[3:]] == contents


def test_the_stage_says_that_many_labels_limit_the_ngrams(
    tmp_path: Path,
    write_params: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = write_inputs(tmp_path, 3)
    monkeypatch.setattr(regression, "MANY_LABELS", 2)
    monkeypatch.setattr(regression, "MOST_COEFFICIENTS", 18)
    ngrams.main(write_params(ngrams={}), *paths)
    metrics = json.loads(paths[5].read_text(encoding="utf-8"))
    assert metrics["limit"] == metrics["rows"] == metrics["char_rows"] == 3
    assert (
        "with 3 labels, the 3 most frequent n-grams of words and as many of letters"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(("folds", "rounds"), [(0, 1), (3, 3), ("auto", 4)])
def test_the_stage_holds_documents_out_by_folds_or_the_validation_split(
    tmp_path: Path, write_params: Callable[..., Path], folds: object, rounds: int
) -> None:
    paths = write_inputs(tmp_path)
    ngrams.main(write_params(ngrams={"folds": folds}), *paths)
    metrics = json.loads(paths[5].read_text(encoding="utf-8"))
    held = HeldOut.load(paths[4])
    assert metrics["rounds"] == rounds
    assert np.flatnonzero(held.there).tolist() == list(range(0 if rounds > 1 else 120, 160))
    model = NGramModel.load(paths[3])
    assert model.chars
    assert metrics["char_rows"] == len(model.chars.keys) > 0
    assert metrics["l2"] in ngrams.L2
    assert len(model.chars.word_count) == V


def test_training_and_scoring_ngrams_import_no_torch() -> None:
    code = "import sys, stages.ngrams, stages.ensemble, stages.lib.model; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
