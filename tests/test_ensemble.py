"""Ensemble: weights and temperature by hand and against other choices, the threshold, the stage's files."""

import json
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from stages import ensemble
from stages.ensemble import (
    Evidence,
    fit_ensemble_weights,
    fit_shrinkage,
    read_evidence,
    smoothed_cross_entropy,
    smoothed_labels,
    temperature_for,
    threshold_for,
)
from stages.lib.arrays import Float64, Int32
from stages.lib.command import Refusal
from stages.lib.files import sha256
from stages.lib.folds import HeldOut
from stages.lib.model import Model, cross_entropy, decide, evidence, log_prior, probabilities, shrunk
from stages.lib.ngram.model import NGramConfig, NGramModel
from stages.lib.reviews import Documents, logits_for, read_split, read_train_and_validation
from stages.lib.word_model import ClassifierConfig, WordModel

STEPS = list(product((-0.1, 0, 0.1), repeat=2))
V, D = 11, 4


def loss_of(logits: Float64, labels: Int32, count: int = 2) -> float:
    return smoothed_cross_entropy(logits, smoothed_labels(labels, count))


def test_the_smoothed_loss_by_hand() -> None:
    # Three reviews: each has its label with probability 4 / 5.
    logits, labels = np.array([[1.0], [2.0], [-1.0]]), np.array([1, 1, 0], np.int32)
    second = [1 / (1 + math.exp(-logit)) for logit in (1, 2, -1)]
    targets = [4 / 5, 4 / 5, 1 / 5]
    terms = [t * math.log(p) + (1 - t) * math.log(1 - p) for t, p in zip(targets, second, strict=True)]
    assert loss_of(logits, labels) == pytest.approx(-sum(terms) / 3)
    both = np.concatenate([np.zeros_like(logits), logits], 1)
    assert loss_of(both, labels) == pytest.approx(-sum(terms) / 3)


@given(
    rows=st.lists(
        st.tuples(st.floats(-3, 3, width=32), st.floats(-3, 3, width=32), st.booleans()), min_size=1
    )
)
@example(rows=[(0.0, 0.0, False), (-3.0, 2.0625, True), (-0.5, 0.0, True)])  # needs a second start
@settings(deadline=None, max_examples=50)
def test_no_other_pair_of_weights_has_a_lower_loss(rows: list[tuple[float, float, bool]]) -> None:
    words, ngrams = (np.array([[row[n]] for row in rows], np.float64) for n in (0, 1))
    labels = np.array([row[2] for row in rows], np.int32)
    weights = fit_ensemble_weights(words, ngrams, labels, 2)
    assert all(0 <= weight <= 100 for weight in weights)

    def loss(pair: tuple[float, float]) -> float:
        return loss_of(words * pair[0] + ngrams * pair[1], labels)

    lowest = loss(weights)
    close = [(min(100, max(0, weights[0] + a)), min(100, max(0, weights[1] + b))) for a, b in STEPS]
    for other in [*close, (0, 0), (1, 1), (0, 1), (1, 0), (0, weights[1]), (weights[0], 0), (9, 2), (2, 9)]:
        assert lowest <= loss(other) + 1e-6


def test_the_weights_of_three_labels_have_the_lowest_loss() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 200).astype(np.int32)
    words, ngrams = (np.eye(3)[labels] * scale + generator.normal(size=(200, 3)) for scale in (1, 2))
    weights = fit_ensemble_weights(words, ngrams, labels, 3)
    lowest = loss_of(weights[0] * words + weights[1] * ngrams, labels, 3)
    for a, b in STEPS:
        assert lowest <= loss_of((weights[0] + a) * words + (weights[1] + b) * ngrams, labels, 3) + 1e-9


def test_a_part_that_contradicts_the_labels_has_weight_zero() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0], np.int32)
    ngrams = np.array([[2.0], [1.0], [-1.0], [-2.0], [-1.0], [1.0]])
    words = np.array([[-1.0], [-2.0], [-1.0], [1.0], [1.0], [2.0]])
    first, second = fit_ensemble_weights(words, ngrams, labels, 2)
    assert first == 0
    assert second == pytest.approx(1 / temperature_for(ngrams, labels, 2), rel=1e-3)


@pytest.mark.parametrize("count", [2, 3])
def test_the_temperature_of_overconfident_logits_is_the_factor_of_overconfidence(count: int) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, logits_for(count))) * 2
    sums = probabilities(logits).cumsum(1)
    labels = (generator.random((4000, 1)) > sums).sum(1).clip(max=count - 1).astype(np.int32)
    temperature = temperature_for(logits * 3, labels, count)
    assert temperature == pytest.approx(3, rel=0.1)
    lowest = cross_entropy(logits * 3 / temperature, labels).mean()
    for factor in (0.97, 1.03):
        assert lowest <= cross_entropy(logits * 3 / (temperature * factor), labels).mean()


def test_a_few_correct_predictions_do_not_give_certain_probabilities() -> None:
    # Laplace's rule: of two reviews, each has its label with probability 3 / 4; of three, with 4 / 5.
    labels = np.array([1, 0], np.int32)
    assert temperature_for(np.array([[9.0], [-9.0]]), labels, 2) == pytest.approx(9 / math.log(3), rel=1e-3)
    three = np.eye(3) * 2
    assert temperature_for(three, np.arange(3, dtype=np.int32), 3) == pytest.approx(2 / math.log(8), rel=1e-3)


def test_the_temperature_is_bounded() -> None:
    labels = np.array([1, 0], np.int32)
    assert temperature_for(np.array([[-9.0], [9.0]]), labels, 2) == pytest.approx(100, rel=0.01)
    assert temperature_for(np.zeros((2, 1)), labels, 2) == pytest.approx(1)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.45, 0.7, 0.9]), st.booleans()), min_size=1))
def test_no_other_threshold_has_a_higher_accuracy(rows: list[tuple[float, bool]]) -> None:
    second = np.array([row[0] for row in rows])
    table, labels = np.stack([1 - second, second], 1), np.array([row[1] for row in rows], np.int32)
    correct = {t: int((decide(table, t) == labels).sum()) for t in (0.05, 0.15, 0.3, 0.5, 0.8, 0.95)}
    threshold = threshold_for(table, labels)
    assert int((decide(table, threshold) == labels).sum()) == max(correct.values())


def write_parts(
    folder: Path, labels: int = 2, pool: str = "mean", max_n: int = 1, **changed: Any
) -> list[Path]:
    """Random parts and validation reviews, and the paths of the stage."""
    generator = np.random.default_rng(1)
    outputs = logits_for(labels)
    dim = 2 * D if pool == "mean_max" else D
    arrays = {
        "embedding.weight": generator.normal(size=(V, D)),
        "linear.weight": generator.normal(size=(outputs, dim)),
        "linear.bias": generator.normal(size=outputs),
    }
    if pool == "idf_mean":
        arrays["idf"] = generator.random(V)
    classifier_config = ClassifierConfig(vocabulary="0" * 64, width=9, keep="both", pool=pool)  # type: ignore[arg-type]
    metadata = {"classifier": classifier_config.model_dump_json()}
    save_file(
        {k: v.astype(np.float32) for k, v in arrays.items()}, folder / "classifier.safetensors", metadata
    )
    config = NGramConfig(
        max_n=max_n, char_max_n=0, buckets=None, binary=True, pool="mean", ending_boost=0.0, words=V,
        vocabulary="0" * 64,
    ).model_copy(update=changed)  # fmt: skip
    keys = np.arange(1, V) if max_n else np.zeros(0, np.int64)
    weight = generator.normal(size=(len(keys), outputs)).astype(np.float32)
    NGramModel(weight, generator.normal(size=outputs), keys, config).save(folder / "ngrams.safetensors")
    tensors: dict[str, Any] = {}
    for split, count in (("train", 20), ("validation", 40)):
        lengths = generator.integers(0, 7, count).astype(np.int32)
        ids = generator.integers(2, V, (count, 6)).astype(np.int32)
        ids[np.arange(6) >= lengths[:, None]] = 0
        tensors |= {
            f"{split}.ids": ids,
            f"{split}.lengths": lengths,
            f"{split}.labels": generator.integers(0, labels, count).astype(np.int32),
            f"{split}.unknown": np.zeros(0, np.uint8),
        }
    save_file(tensors, folder / "tensors.safetensors")
    names = [f"label {n}" for n in range(labels)]
    (folder / "labels.json").write_text(json.dumps({"labels": names}), encoding="utf-8")
    paths = [folder / f"{name}.safetensors" for name in FILES]
    hold_out(paths)
    paths[1], paths[8] = folder / "labels.json", folder / "metrics.json"
    paths[6].write_text("{}", encoding="utf-8")
    return paths


FILES = (
    "tensors", "labels", "classifier", "ngrams", "classifier_held_out", "ngrams_held_out", "tokeniser",
    "ensemble", "metrics",
)  # fmt: skip


def hold_out(paths: list[Path]) -> None:
    """Writes the logits of the validation reviews, as if the parts had not been trained on them."""
    reviews, is_validation = read_train_and_validation(paths[0])
    words, _ = WordModel.from_classifier(paths[2])
    counted = NGramModel.load(paths[3])
    parts = ((paths[4], lambda d: words.logits(d.ids, d.lengths)), (paths[5], counted.logits))
    for path, logits in parts:
        held = HeldOut.empty(len(reviews.labels), len(words.bias))
        held.fill(is_validation, logits, reviews.documents)
        held.save(path)


def logits_on(model: Model | NGramModel | WordModel, tensors: Path) -> Float64:
    documents = read_split(tensors, "validation").documents
    if isinstance(model, WordModel):
        return model.logits(documents.ids, documents.lengths)
    return model.logits(documents)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("pool", ["mean", "sum", "max", "mean_max", "idf_mean"])
def test_the_ensemble_is_the_weighted_sum_of_its_parts(
    tmp_path: Path, write_params: Callable[..., Path], labels: int, pool: str
) -> None:
    paths = write_parts(tmp_path, labels, pool)
    words, _ = WordModel.from_classifier(paths[2])
    first, second = logits_on(words, paths[0]), logits_on(NGramModel.load(paths[3]), paths[0])
    for weights in (0, 0.3, 1, "validation"):
        ensemble.main(write_params(ensemble={"weights": weights, "calibration": "none"}), *paths)
        metrics = json.loads(paths[8].read_text(encoding="utf-8"))
        weighting = metrics["weights"]
        if weights != "validation":
            assert weighting == {"classifier": pytest.approx(1 - weights), "ngrams": weights}
        logits = logits_on(Model.load(paths[7]), paths[0])
        expected = weighting["classifier"] * first + weighting["ngrams"] * second
        expected[read_split(paths[0], "validation").lengths == 0] = Model.load(paths[7]).prior
        assert logits == pytest.approx(expected, abs=1e-5)
        y_true = read_split(paths[0], "validation").labels
        assert metrics["validation"]["loss"] == pytest.approx(cross_entropy(logits, y_true).mean(), abs=1e-6)
        predicted = probabilities(logits).argmax(1)
        assert metrics["validation"]["accuracy"] == pytest.approx((predicted == y_true).mean())


def test_the_file_suffices_for_scoring_and_has_the_same_bytes_on_two_runs(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_parts(tmp_path)
    params = write_params(ensemble={"threshold": "validation", "calibration": "temperature"})
    ensemble.main(params, *paths)
    metrics = json.loads(paths[8].read_text(encoding="utf-8"))
    config = Model.load(paths[7]).config
    assert (config.width, config.keep, config.labels) == (9, "both", ["label 0", "label 1"])
    assert config.tokeniser == sha256(paths[6])
    assert (config.temperature, config.threshold) == pytest.approx(
        (metrics["temperature"], metrics["threshold"]), abs=1e-5
    )
    content = [path.read_bytes() for path in paths[7:]]
    ensemble.main(params, *paths)
    assert [path.read_bytes() for path in paths[7:]] == content


def test_temperature_and_threshold_are_fitted_on_request(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_parts(tmp_path)
    y_true = read_split(paths[0], "validation").labels
    fixed = {"weights": 0.3, "calibration": "none", "threshold": 0.4}
    ensemble.main(write_params(ensemble=fixed), *paths)
    config = Model.load(paths[7]).config
    assert (config.temperature, config.threshold) == (1, 0.4)
    logits = logits_on(Model.load(paths[7]), paths[0])
    fitted = {"weights": 0.3, "calibration": "temperature", "threshold": "validation"}
    ensemble.main(write_params(ensemble=fitted), *paths)
    model = Model.load(paths[7])
    documents = read_split(paths[0], "validation").documents
    shrinkage = model.config.shrinkage
    logits = shrunk(logits, model.prior, evidence(documents, shrinkage))
    assert logits == pytest.approx(logits_on(model, paths[0]), abs=1e-5)
    temperature = temperature_for(logits, y_true, 2)
    assert model.config.temperature == pytest.approx(temperature, rel=1e-4)
    assert temperature != 1
    assert model.config.threshold == pytest.approx(
        threshold_for(probabilities(logits, temperature), y_true), abs=1e-5
    )


@pytest.mark.parametrize("labels", [2, 3])
def test_the_shrinkage_has_the_lowest_loss_on_the_beginnings(
    tmp_path: Path, write_params: Callable[..., Path], labels: int
) -> None:
    paths = write_parts(tmp_path, labels)
    ensemble.main(write_params(ensemble={"weights": 0.3, "calibration": "temperature"}), *paths)
    model = Model.load(paths[7])
    whole, cut, prior = read_evidence(paths[0], paths[4], paths[5], labels)
    assert prior.tolist() == model.prior.tolist()
    losses = {}
    for shrinkage in ensemble.SHRINKAGES:
        long, short = (
            shrunk(part.mixed((0.7, 0.3)), prior, evidence(part.documents, shrinkage))
            for part in (whole, cut)
        )
        temperature = temperature_for(long, whole.labels, labels)
        losses[shrinkage] = loss_of(short / temperature, whole.labels, labels)
    assert model.config.shrinkage == min(losses, key=losses.__getitem__)
    assert len({round(loss, 6) for loss in losses.values()}) > 3  # the choice matters


def short_and_long(trust: float) -> tuple[Evidence, Evidence]:
    """Whole reviews of 20 words that both parts classify, and their first words, whose logits are as large.

    A share `trust` of these beginnings has the label of the review.
    """
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 400).astype(np.int32)
    signs = 2.0 * labels[:, None] - 1
    right = np.where(generator.random((400, 1)) < trust, 1, -1)
    noise = np.where(generator.random((400, 1)) < 0.9, 1, -1)  # of ten whole reviews, nine are classified
    documents = [Documents(np.full(400 * n, 2, np.int32), np.full(400, n), []) for n in (20, 1)]
    parts = [signs * noise * 2, signs * right * 2]
    long, short = (Evidence(labels, part, part, docs) for part, docs in zip(parts, documents, strict=True))
    return long, short


def test_beginnings_that_say_less_are_shrunk_more() -> None:
    chosen = [fit_shrinkage(*short_and_long(trust), (0.5, 0.5), np.zeros(1))[0] for trust in (0.9, 0.75, 0.5)]
    assert chosen[0] == 0
    assert 0 < chosen[1] < chosen[2] == ensemble.SHRINKAGES[-1]


def test_only_reviews_that_both_parts_held_out_are_evidence(tmp_path: Path) -> None:
    paths = write_parts(tmp_path)
    reviews, is_validation = read_train_and_validation(paths[0])
    held = HeldOut.load(paths[4])
    held.whole[25], held.cut[25] = np.nan, np.nan
    held.save(paths[4])
    whole, cut, prior = read_evidence(paths[0], paths[4], paths[5], 2)
    there = is_validation & (np.arange(60) != 25)
    assert whole.labels.tolist() == cut.labels.tolist() == reviews.labels[there].tolist()
    assert whole.documents.codes.tolist() == reviews.documents.select(there).codes.tolist()
    expected = np.minimum(reviews.lengths, np.resize([1, 2, 5, 10, 20], 60))[there]
    assert cut.documents.lengths.tolist() == expected.tolist()
    counted = NGramModel.load(paths[5].parent / "ngrams.safetensors")
    assert np.allclose(cut.ngrams, counted.logits(cut.documents))
    assert np.allclose(whole.ngrams, counted.logits(whole.documents))
    assert prior.tolist() == log_prior(reviews.labels, 2).tolist()


def test_an_empty_text_has_the_label_frequencies_of_train_and_validation(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_parts(tmp_path, 3)
    ensemble.main(write_params(ensemble={"calibration": "none", "weights": 0.3}), *paths)
    model = Model.load(paths[7])
    empty = Documents(np.zeros(0, np.int32), np.zeros(1, np.int64), [])
    labels = read_train_and_validation(paths[0])[0].labels
    expected = (np.bincount(labels, minlength=3) + 1) / (len(labels) + 3)
    assert probabilities(model.logits(empty))[0] == pytest.approx(expected)


def test_files_without_held_out_logits_are_refused(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_parts(tmp_path)
    save_file({"whole": np.zeros((60, 1))}, paths[5])
    with pytest.raises(Refusal, match=r"ngrams_held_out.safetensors: damaged, or of another version"):
        ensemble.main(write_params(), *paths)
    assert not paths[7].exists()


def test_without_ngrams_the_ensemble_is_the_classifier(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_parts(tmp_path, max_n=0)
    for weights in ("validation", 0.7):
        ensemble.main(write_params(ensemble={"weights": weights, "calibration": "none"}), *paths)
        assert json.loads(paths[8].read_text(encoding="utf-8"))["weights"] == {"classifier": 1, "ngrams": 0}
        model = Model.load(paths[7])
        assert model.config.ngrams is model.ngrams is None
        words, _ = WordModel.from_classifier(paths[2])
        filled = read_split(paths[0], "validation").lengths > 0
        assert 0 < filled.mean() < 1
        assert (logits_on(model, paths[0])[filled] == logits_on(words, paths[0])[filled]).all()
        assert (logits_on(model, paths[0])[~filled] == model.prior).all()


def test_nothing_is_fitted_on_validation_reviews_of_one_label(
    tmp_path: Path, write_params: Callable[..., Path]
) -> None:
    paths = write_parts(tmp_path)
    tensors = load_file(paths[0])
    choices = {"calibration": "temperature", "threshold": "validation", "weights": "validation"}
    for occurring, labels in enumerate((np.ones(40, np.int32), tensors["validation.labels"]), 1):
        save_file(tensors | {"validation.labels": labels}, paths[0])
        ensemble.main(write_params(ensemble=choices), *paths)
        metrics = json.loads(paths[8].read_text(encoding="utf-8"))
        assert metrics["validation"]["labels"] == occurring
        chosen = metrics["temperature"], metrics["shrinkage"], metrics["threshold"]
        decided = *chosen, *metrics["weights"].values()
        assert (decided == (1.0, 0.0, 0.5, 0.5, 0.5)) == (occurring == 1)


def test_parts_of_different_runs_are_refused(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    paths = write_parts(tmp_path, vocabulary="1" * 64)
    with pytest.raises(Refusal, match=r"ngrams.safetensors: has another vocabulary than .*dvc repro"):
        ensemble.main(write_params(), *paths)
    paths = write_parts(tmp_path, labels=3)
    paths[1].write_text(json.dumps({"labels": ["a", "b"]}), encoding="utf-8")
    with pytest.raises(Refusal, match=r"found 3 and 3 logits for 2 labels; run `dvc repro`"):
        ensemble.main(write_params(), *paths)
    assert not paths[7].exists()
