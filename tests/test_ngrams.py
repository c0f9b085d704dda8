"""Ngrams: logistic regression against scikit-learn, the model against dense inputs."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
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
from stages.lib.arrays import Float32, Float64, Int32
from stages.lib.model import probabilities
from stages.lib.ngram.model import NGramModel
from stages.lib.reviews import Reviews, logits_for, unpadded
from stages.ngrams import Params, config_for, df_scale, fit, logistic_regression
from tests.conftest import ROOT
from tests.test_ngram_model import CONFIG, V, dense_inputs, keys_in

PLAIN = Params(
    max_n=2, min_df=1, max_features=10**6, buckets=None, binary=True, pool="sum", ending_boost=0,
    nb_ratios=False, df_power=0, l2=1, class_weight="none",
)  # fmt: skip


def reviews_of(texts: list[list[int]], labels: list[int], width: int = 32) -> Reviews:
    ids = np.zeros((len(texts), width), np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return Reviews(ids, np.array([len(text) for text in texts], np.int32), np.array(labels, np.int32))


def fitted(train: Reviews, labels: int, **choices: Any) -> NGramModel:
    params = PLAIN.model_copy(update=choices)
    return fit(train, labels, params, config_for(params, V, "0" * 64))


def logits_on(model: NGramModel, reviews: Reviews) -> Float64:
    return model.logits(*unpadded(reviews.ids, reviews.lengths))


def test_a_rare_ngram_has_a_larger_scale() -> None:
    df = np.array([1, 4, 4, 7])
    assert df_scale(df, 0.5)[:, 0] == pytest.approx([2, 1, 1, (4 / 7) ** 0.5])
    assert df_scale(df, 0)[:, 0].tolist() == [1, 1, 1, 1]
    assert np.isfinite(df_scale(np.array([0, 0, 8]), 0.5)).all()  # empty buckets


@pytest.mark.filterwarnings("error")
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


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("l2", [0.3, 3])
def test_the_coefficients_equal_those_of_scikit_learn(labels: int, l2: float) -> None:
    inputs, y_true, weights = some_inputs(labels)
    scale = np.tile(np.array([[0.5], [1], [2], [-1], [0.3]], np.float32), (1, logits_for(labels)))
    w, bias = logistic_regression(inputs, y_true, scale, l2, weights)
    oracle = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000)
    oracle.fit(inputs.toarray() * scale[:, 0], y_true, sample_weight=weights)
    assert w == pytest.approx(oracle.coef_.T, abs=2e-3)
    # Adding a constant to all biases of a softmax changes nothing.
    shift = 0 if labels == 2 else bias.mean() - oracle.intercept_.mean()
    assert bias - shift == pytest.approx(oracle.intercept_, abs=2e-3)


@pytest.mark.parametrize("labels", [2, 3])
def test_each_label_has_its_own_scale(labels: int) -> None:
    inputs, y_true, weights = some_inputs(labels)
    scale = np.random.default_rng(2).normal(size=(5, logits_for(labels))).astype(np.float32)
    w, bias = logistic_regression(inputs, y_true, scale, 0.7, weights)
    expected, other = dense_fit(inputs.toarray(), y_true, scale, 0.7, weights)
    assert w == pytest.approx(expected, abs=3e-3)
    assert bias - bias.mean() * (labels > 2) == pytest.approx(other - other.mean() * (labels > 2), abs=3e-3)


@pytest.mark.parametrize("labels", [2, 3])
def test_a_weight_of_two_equals_a_repeated_review(labels: int) -> None:
    inputs, y_true, _ = some_inputs(labels)
    scale, weights = np.ones((5, logits_for(labels)), np.float32), np.ones(40)
    twice = np.concatenate([np.arange(40), np.arange(10)])
    weights[:10] = 2
    weighted = logistic_regression(inputs, y_true, scale, 1, weights)
    repeated = logistic_regression(inputs[twice], y_true[twice], scale, 1, np.ones(50))
    assert weighted[0] == pytest.approx(repeated[0], abs=1e-3)
    assert weighted[1] - weighted[1][:1] == pytest.approx(repeated[1] - repeated[1][:1], abs=1e-3)


def noisy_reviews(labels: int, count: int = 60) -> Reviews:
    generator = np.random.default_rng(3)
    y_true = generator.integers(0, labels, count)
    texts = []
    for label in y_true:
        words = generator.integers(2, V, generator.integers(0, 6)).tolist() * int(generator.choice([1, 1, 4]))
        texts.append([*words, 2 + int(label)] if generator.random() < 0.7 else words)
    return reviews_of(texts, y_true.tolist())


CHOICES: list[dict[str, Any]] = [
    {},
    {"nb_ratios": True},
    {"df_power": 0.5},
    {"pool": "mean", "l2": 0.5},
    {"binary": False},
    {"ending_boost": 0.5},
    {"buckets": 7},
    {"min_df": 4, "max_features": 6, "max_n": 3},
    {"class_weight": "balanced"},
    {"nb_ratios": True, "df_power": 0.25, "pool": "mean", "binary": False, "buckets": 20, "ending_boost": 2},
]


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_the_model_equals_a_regression_on_dense_inputs(choices: dict[str, Any], labels: int) -> None:
    params = PLAIN.model_copy(update=choices)
    config = config_for(params, V, "0" * 64)
    train = noisy_reviews(labels)
    model = fitted(train, labels, **choices)
    texts = [row[:n].tolist() for row, n in zip(train.ids, train.lengths, strict=True)]
    df = Counter(key for text in texts for key in set(keys_in(text, params.max_n)))
    frequent = sorted(df, key=lambda key: (-df[key], key))[: params.max_features]
    keys = [] if params.buckets else sorted(key for key in frequent if df[key] >= params.min_df)
    rows = {key: n for n, key in enumerate(keys)}
    width = params.buckets or len(keys)
    assert model.keys.tolist() == keys
    assert model.weight.shape == (width, logits_for(labels))
    plain = CONFIG.model_copy(update={"max_n": params.max_n, "buckets": params.buckets, "binary": False})
    counts = np.stack([dense_inputs(text, plain, rows, width) for text in texts])
    frequency = (counts > 0).sum(0)
    scale = np.ones((width, logits_for(labels)))
    scale *= (np.maximum(frequency, 1) / max(1, frequency.mean()))[:, None] ** -params.df_power
    if params.nb_ratios:
        for column, label in enumerate([1] if labels == 2 else range(labels)):
            p, q = ((counts[m] > 0).sum(0) + 1 for m in (train.labels == label, train.labels != label))
            scale[:, column] *= np.log(p / p.sum()) - np.log(q / q.sum())
    inputs = np.stack([dense_inputs(text, config, rows, width) for text in texts])
    if params.pool == "mean":
        inputs *= frequency.sum() / len(texts)
    weights = ngrams.sample_weights(train.labels, labels, params.class_weight)
    w, bias = dense_fit(inputs, train.labels, scale, params.l2, weights)
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
    ],
)
@pytest.mark.filterwarnings("error")
def test_without_information_the_probabilities_are_the_frequencies_of_labels(
    texts: list[list[int]], choices: dict[str, Any]
) -> None:
    for labels, pool, nb_ratios in itertools.product((2, 3), ("mean", "sum"), (True, False)):
        train = reviews_of(texts, [0, 1, 0, 1] if labels == 2 else [0, 1, 2, 1])
        model = fitted(train, labels, **choices, pool=pool, nb_ratios=nb_ratios, df_power=0.25)
        expected = [0.25, 0.5, 0.25] if labels == 3 else [0.5, 0.5]
        tolerance = 0.08 if choices.get("max_n") == 0 else 0.02
        assert probabilities(logits_on(model, train))[0].tolist() == pytest.approx(expected, abs=tolerance)


def test_an_empty_model_has_the_smoothed_log_odds_of_the_labels() -> None:
    train = reviews_of([[2]] * 5, [0, 1, 1, 1, 1])
    assert fitted(train, 2, max_n=0).bias.tolist() == pytest.approx([np.log(5 / 2)])
    assert fitted(train, 2, max_n=0, class_weight="balanced").bias.tolist() == pytest.approx([0])


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
    save_file(arrays, folder / "tensors.safetensors")
    pq.write_table(pa.table({"id": range(V)}), folder / "vocabulary.parquet")
    (folder / "labels.json").write_text(json.dumps({"labels": [str(n) for n in range(labels)]}))
    names = ("tensors.safetensors", "vocabulary.parquet", "labels.json", "ngrams.safetensors", "ngrams.json")
    return [folder / name for name in names]


@pytest.mark.parametrize("labels", [2, 3])
def test_the_stage_learns_the_order_of_words(
    tmp_path: Path, write_params: Callable[..., Path], labels: int
) -> None:
    paths = write_inputs(tmp_path, labels)
    accuracy = {}
    for max_n in (0, 1, 2):
        ngrams.main(write_params(ngrams={"max_n": max_n}), *paths)
        metrics = json.loads(paths[4].read_text(encoding="utf-8"))
        model = NGramModel.load(paths[3])
        assert metrics["rows"] == len(model.weight)
        assert model.config.words == V
        accuracy[max_n] = metrics["validation"]["accuracy"]
    assert accuracy[2] == 1.0
    assert max(accuracy[0], accuracy[1]) < 0.75
    contents = [path.read_bytes() for path in paths[3:]]
    ngrams.main(write_params(ngrams={"max_n": 2}), *paths)
    assert [path.read_bytes() for path in paths[3:]] == contents


def test_training_and_scoring_ngrams_import_no_torch() -> None:
    code = "import sys, stages.ngrams, stages.ensemble, stages.lib.model; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
