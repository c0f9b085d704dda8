"""The model in numpy: logits against torch, contributions and invalid files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch.nn import functional as F

from stages.classifier import Classifier
from stages.lib.arrays import Int32
from stages.lib.command import Refusal
from stages.lib.model import Model, ModelConfig, cross_entropy, decide, log_probabilities, probabilities
from stages.lib.ngram.model import NGramConfig, NGramModel
from stages.lib.word_model import ClassifierConfig, Pool, WordModel, word_arrays

V, D = 11, 4
POOLS: list[Pool] = ["mean", "sum", "max", "mean_max", "idf_mean"]
DOCUMENTS = st.lists(st.lists(st.integers(1, V - 1), max_size=9), min_size=1, max_size=6)
NGRAMS = NGramConfig(
    max_n=2, buckets=None, binary=True, pool="mean", ending_boost=0.0, words=V, vocabulary="0" * 64
)


def flat_of(documents: list[list[int]]) -> tuple[Int32, Int32]:
    lengths = np.array([len(document) for document in documents], np.int32)
    return np.array([word for document in documents for word in document], np.int32), lengths


def a_classifier(labels: int = 2, pool: Pool = "mean") -> Classifier:
    torch.manual_seed(0)
    vectors = torch.randn(V, D)
    vectors[0] = 0
    model = Classifier(vectors, labels, pool, freeze=True)
    if model.idf is not None:
        model.idf = torch.rand(V) + 0.1
    return model


def arrays_of(model: Classifier) -> dict[str, NDArray[Any]]:
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def a_model(labels: int = 2, pool: Pool = "mean", ngrams: dict[str, Any] | None = None) -> Model:
    """A classifier and, unless `ngrams` is None, weights of some n-grams."""
    words = WordModel(pool, word_arrays(pool, arrays_of(a_classifier(labels, pool))))
    config = ModelConfig(
        vocabulary="0" * 64,
        labels=[str(n) for n in range(labels)],
        width=9,
        keep="both",
        pool=pool,
        temperature=1.7,
        threshold=0.4,
        ngrams=None if ngrams is None else NGRAMS.model_copy(update=ngrams),
    )
    if config.ngrams is None:
        return Model(config, words)
    keys = [] if config.ngrams.buckets else [1, 3, 5, 1 * V + 1, 3 * V + 5, 5 * V + 3, 9 * V + 9]
    generator = np.random.default_rng(1)
    weight = generator.normal(size=(config.ngrams.buckets or len(keys), len(words.bias))).astype(np.float32)
    bias = generator.normal(size=len(words.bias)).astype(np.float32).astype(np.float64)
    return Model(config, words, NGramModel(weight, bias, np.array(keys, np.int64), config.ngrams))


@given(documents=DOCUMENTS, pool=st.sampled_from(POOLS), labels=st.sampled_from([2, 3]))
@settings(deadline=None, max_examples=100)
def test_the_logits_equal_those_of_torch(documents: list[list[int]], pool: Pool, labels: int) -> None:
    flat, lengths = flat_of(documents)
    ids = torch.zeros(len(documents), 9, dtype=torch.int32)
    for row, document in zip(ids, documents, strict=True):
        row[: len(document)] = torch.tensor(document, dtype=torch.int32)
    with torch.no_grad():
        expected = a_classifier(labels, pool)(ids).double().numpy()
    assert np.allclose(a_model(labels, pool).words.logits(flat, lengths), expected, atol=1e-5)
    model = a_model(labels, pool, {})
    assert model.ngrams is not None
    assert np.allclose(model.logits(flat, lengths), expected + model.ngrams.logits(flat, lengths), atol=1e-5)


@given(
    document=DOCUMENTS.map(lambda documents: documents[0]),
    labels=st.sampled_from([2, 3]),
    pool=st.sampled_from(["mean", "sum", "idf_mean"]),
    ngrams=st.sampled_from([None, {}, {"pool": "sum", "binary": False}, {"buckets": 7}]),
)
@settings(deadline=None, max_examples=150)
def test_contributions_and_bias_sum_to_the_logits(
    document: list[int], labels: int, pool: Pool, ngrams: dict[str, Any] | None
) -> None:
    model = a_model(labels, pool, ngrams)
    flat, lengths = flat_of([document])
    contributions = model.contributions(flat)
    words = contributions[: len(document)]
    assert [(part.start, part.end) for part in words] == [(n, n + 1) for n in range(len(document))]
    assert all(0 <= part.start < part.end <= len(document) for part in contributions)
    total = model.bias + sum(part.logits for part in contributions)
    assert np.allclose(total, model.logits(flat, lengths)[0], atol=1e-5)


@pytest.mark.parametrize("pool", ["max", "mean_max"])
def test_a_maximum_has_no_contributions(pool: Pool) -> None:
    with pytest.raises(ValueError, match=f"pool {pool} has no contributions"):
        a_model(pool=pool).contributions(np.array([1, 2], np.int32))


@pytest.mark.parametrize("pool", POOLS)
def test_empty_documents_have_the_bias_and_no_documents_give_no_logits(pool: Pool) -> None:
    model = a_model(3, pool, {})
    assert (model.logits(*flat_of([[], [1], []]))[[0, 2]] == model.bias).all()
    assert model.logits(*flat_of([])).shape == (0, 3)


@pytest.mark.parametrize("pool", POOLS)
def test_the_logits_of_a_document_do_not_depend_on_the_others(pool: Pool) -> None:
    model = a_model(3, pool, {})
    documents = [[3, 5, 3], [], [1, 1, 9, 9], [2]]
    alone = np.concatenate([model.logits(*flat_of([document])) for document in documents])
    assert (model.logits(*flat_of(documents)) == alone).all()


@pytest.mark.parametrize("pool", POOLS)
def test_a_saved_model_has_the_same_logits_and_bytes(tmp_path: Path, pool: Pool) -> None:
    path = tmp_path / "ensemble.safetensors"
    documents = flat_of([[3, 5, 3], [], [1, 1, 9, 9], [2]])
    for labels, ngrams in ((2, None), (3, {}), (5, {"buckets": 7})):
        model = a_model(labels, pool, ngrams)
        model.save(path)
        loaded = Model.load(path)
        assert (loaded.config, loaded.labels) == (model.config, model.labels)
        assert (loaded.logits(*documents) == model.logits(*documents)).all()
        content = path.read_bytes()
        loaded.save(path)
        assert path.read_bytes() == content


CONFIG = a_model().config.model_dump()
VALID: dict[str, NDArray[Any]] = {
    "words.weight": np.zeros((V, 1), np.float32),
    "words.bias": np.zeros(1, np.float32),
}
LINEAR = {"ngrams.weight": np.zeros((2, 1), np.float32), "ngrams.bias": np.zeros(1, np.float32)}
OTHER_FILES: dict[str, tuple[dict[str, NDArray[Any]], Any]] = {
    "other tensors": ({"x": np.zeros(1)}, CONFIG),
    "no metadata": (VALID, None),
    "metadata that is a list": (VALID, []),
    "an unknown pool": (VALID, CONFIG | {"pool": "median"}),
    "an unknown key": (VALID, CONFIG | {"momentum": 1}),
    "a missing key": (VALID, {"pool": "mean"}),
    "a bias that is a number": (VALID | {"words.bias": np.array(0.0)}, CONFIG),
    "a bias of another width": (VALID | {"words.bias": np.zeros(3)}, CONFIG),
    "weights in a row": (VALID | {"words.weight": np.zeros(V)}, CONFIG),
    "no weights": (VALID | {"words.weight": np.zeros((0, 1))}, CONFIG),
    "no idf": (VALID, CONFIG | {"pool": "idf_mean"}),
    "no vectors": (VALID, CONFIG | {"pool": "mean_max"}),
    "more tensors": (VALID | {"more": np.zeros(1)}, CONFIG),
    "more labels": (VALID, CONFIG | {"labels": ["a", "b", "c"]}),
    "no n-grams": (VALID, CONFIG | {"ngrams": NGRAMS.model_dump()}),
    "n-grams without a configuration": (VALID | LINEAR | {"ngrams.keys": np.array([3, 4])}, CONFIG),
    "n-grams of another number": (
        VALID | LINEAR | {"ngrams.keys": np.array([3, 4, 5])},
        CONFIG | {"ngrams": NGRAMS.model_dump()},
    ),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_safetensors_files_with_other_contents_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file(VALID, path, {"model": json.dumps(CONFIG)})
    assert Model.load(path).bias.tolist() == [0]
    arrays, config = OTHER_FILES[name]
    save_file(arrays, path, {} if config is None else {"model": json.dumps(config)})
    with pytest.raises(Refusal, match=r"a.safetensors: no model of this version; run `dvc repro`$"):
        Model.load(path)


@pytest.mark.parametrize("content", [b"", b"no", b"\x08\0\0\0\0\0\0\0{}      "])
def test_files_that_are_not_safetensors_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.safetensors"
    path.write_bytes(content)
    loads: list[Callable[[Path], Any]] = [Model.load, WordModel.from_classifier]
    for load in loads:
        with pytest.raises(Refusal, match=r"safetensors: no (model|classifier) of this version; run `dvc"):
            load(path)


@pytest.mark.parametrize("name", ["other tensors", "no metadata", "a wrong width", "metadata of the model"])
def test_invalid_classifier_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "classifier.safetensors"
    config = ClassifierConfig(vocabulary="0" * 64, width=None, keep="head", pool="mean").model_dump_json()
    arrays = arrays_of(a_classifier())
    save_file(arrays, path, {"classifier": config})
    assert WordModel.from_classifier(path)[1].pool == "mean"
    if name == "other tensors":
        arrays = {"x": np.zeros(1)}
    if name == "a wrong width":
        arrays |= {"linear.weight": np.zeros((1, D + 1), np.float32)}
    keys = {"no metadata": {}, "metadata of the model": {"model": config}}
    save_file(arrays, path, keys.get(name, {"classifier": config}))
    with pytest.raises(Refusal, match=r"classifier.safetensors: no classifier of this version"):
        WordModel.from_classifier(path)


@given(
    logits=st.lists(st.floats(-800, 800), min_size=3, max_size=3),
    labels=st.lists(st.integers(0, 1), min_size=3, max_size=3),
)
def test_probabilities_and_losses_equal_those_of_torch(logits: list[float], labels: list[int]) -> None:
    one, y_true = np.array(logits)[:, None], np.array(labels, np.int32)
    two = np.concatenate([np.zeros_like(one), one], 1)
    targets = torch.from_numpy(y_true)
    expected = F.binary_cross_entropy_with_logits(
        torch.tensor(logits).double(), targets.double(), reduction="none"
    )
    for table in (one, two):
        assert np.allclose(cross_entropy(table, y_true), expected.numpy())
        assert np.allclose(probabilities(table, 2), torch.from_numpy(two / 2).softmax(1).numpy())
        assert np.allclose(probabilities(table).sum(1), 1)
        assert np.isfinite(log_probabilities(table)).all()


def test_the_threshold_applies_to_two_labels_only() -> None:
    second = np.array([0.1, 0.4, 0.6, 0.8, 0.9, 0.3])
    table = np.stack([1 - second, second], 1)
    assert decide(table, 0.35).tolist() == [0, 1, 1, 1, 1, 0]
    assert decide(np.array([[0.2, 0.3, 0.5]]), 0.9).tolist() == [2]
    model = a_model()
    assert model.predicted(table).tolist() == [0, 1, 1, 1, 1, 0]
    model.config = model.config.model_copy(update={"threshold": 0.85})
    assert model.predicted(table).tolist() == [0, 0, 0, 0, 1, 0]


def test_probabilities_are_calibrated_by_the_models_temperature() -> None:
    model, logits = a_model(), np.array([[1.7]])
    assert model.probabilities(logits)[0, 1] == pytest.approx(1 / (1 + np.exp(-1)))
    assert model.probabilities(logits, 1)[0, 1] == pytest.approx(1 / (1 + np.exp(-1.7)))
