"""The model in numpy: logits against torch, contributions and invalid files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from torch.nn import functional as F

from stages.classifier import Classifier
from stages.lib.command import Refusal
from stages.lib.model import (
    Model,
    ModelConfig,
    cross_entropy,
    decide,
    evidence,
    log_prior,
    log_probabilities,
    probabilities,
    scores_of,
    shrunk,
)
from stages.lib.ngram.chars import CharModel
from stages.lib.ngram.letters import learn_alphabet, learn_char_ngrams
from stages.lib.ngram.model import NGramConfig, NGramModel
from stages.lib.reviews import Documents, logits_for
from stages.lib.word_model import ClassifierConfig, Pool, WordModel, word_arrays

V, D = 11, 4
POOLS: list[Pool] = ["mean", "sum", "max", "mean_max", "idf_mean"]
DOCUMENTS = st.lists(st.lists(st.integers(1, V - 1), max_size=9), min_size=1, max_size=6)
NGRAMS = NGramConfig(
    max_n=2, char_max_n=0, buckets=None, binary=True, pool="mean", ending_boost=0.0, words=V,
    vocabulary="0" * 64,
)  # fmt: skip


UNKNOWN = ["qwop", "w3", ""]
CODED = st.lists(st.lists(st.integers(-len(UNKNOWN), V - 1).filter(bool), max_size=9), min_size=1, max_size=6)


def documents_of(documents: list[list[int]]) -> Documents:
    """Documents of codes: -1 is the first of UNKNOWN."""
    lengths = np.array([len(document) for document in documents], np.int32)
    codes = np.array([code for document in documents for code in document], np.int32)
    return Documents(codes, lengths, UNKNOWN)


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


def some_chars(outputs: int, max_n: int) -> CharModel:
    """Weights of the character n-grams of the words w0, w1, ..."""
    words = [f"w{n}" for n in range(V)]
    alphabet = learn_alphabet(words, max_n)
    keys, _ = learn_char_ngrams(words, alphabet, max_n)
    weight = np.random.default_rng(2).normal(size=(len(keys), outputs)).astype(np.float32)
    return CharModel.of_words(words, alphabet, keys, weight, max_n)


def a_model(
    labels: int = 2, pool: Pool = "mean", ngrams: dict[str, Any] | None = None, shrinkage: float = 0.0
) -> Model:
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
        prior=[0.25 + n for n in range(logits_for(labels))],
        shrinkage=shrinkage,
        ngrams=None if ngrams is None else NGRAMS.model_copy(update=ngrams),
    )
    if config.ngrams is None:
        return Model(config, words)
    keys = [] if config.ngrams.buckets else [1, 3, 5, 1 * V + 1, 3 * V + 5, 5 * V + 3, 9 * V + 9]
    generator = np.random.default_rng(1)
    weight = generator.normal(size=(config.ngrams.buckets or len(keys), len(words.bias))).astype(np.float32)
    bias = generator.normal(size=len(words.bias)).astype(np.float32).astype(np.float64)
    if not config.ngrams.max_n:
        weight, keys = weight[:0], []
    chars = some_chars(len(words.bias), config.ngrams.char_max_n) if config.ngrams.char_max_n else None
    return Model(config, words, NGramModel(weight, bias, np.array(keys, np.int64), config.ngrams, chars))


@given(documents=DOCUMENTS, pool=st.sampled_from(POOLS), labels=st.sampled_from([2, 3]))
@settings(deadline=None, max_examples=100)
def test_the_logits_equal_those_of_torch(documents: list[list[int]], pool: Pool, labels: int) -> None:
    coded = documents_of(documents)
    ids = torch.zeros(len(documents), 9, dtype=torch.int32)
    for row, document in zip(ids, documents, strict=True):
        row[: len(document)] = torch.tensor(document, dtype=torch.int32)
    with torch.no_grad():
        expected = a_classifier(labels, pool)(ids).double().numpy()
    assert np.allclose(a_model(labels, pool).words.logits(coded.codes, coded.lengths), expected, atol=1e-5)
    model = a_model(labels, pool, {})
    assert model.ngrams is not None
    both = np.where(coded.lengths[:, None], expected + model.ngrams.logits(coded), model.prior)
    assert np.allclose(model.logits(coded), both, atol=1e-5)


@given(
    document=CODED.map(lambda documents: documents[0]),
    labels=st.sampled_from([2, 3]),
    pool=st.sampled_from(["mean", "sum", "idf_mean"]),
    ngrams=st.sampled_from(
        [
            None,
            {},
            {"pool": "sum", "binary": False},
            {"pool": "sqrt", "buckets": 7},
            {"pool": "sqrt", "char_max_n": 3},
            {"max_n": 0, "char_max_n": 2},
            {"buckets": 7, "char_max_n": 4},
        ]
    ),
    shrinkage=st.sampled_from([0.0, 0.5, 8.0]),
)
@settings(deadline=None, max_examples=150)
def test_contributions_and_bias_sum_to_the_logits(
    document: list[int], labels: int, pool: Pool, ngrams: dict[str, Any] | None, shrinkage: float
) -> None:
    model = a_model(labels, pool, ngrams, shrinkage)
    coded = documents_of([document])
    contributions = model.contributions(coded)
    words = contributions[: len(document)]
    assert [(part.start, part.end) for part in words] == [(n, n + 1) for n in range(len(document))]
    assert all(0 <= part.start < part.end <= len(document) for part in contributions)
    total = model.bias_of(coded) + sum(part.logits for part in contributions)
    assert np.allclose(total, model.logits(coded)[0], atol=1e-5)


@given(
    document=CODED.map(lambda documents: documents[0]),
    labels=st.sampled_from([2, 3]),
    pool=st.sampled_from(["mean", "sum", "idf_mean"]),
    ngrams=st.sampled_from(
        [
            None,
            {},
            {"pool": "sum", "binary": False},
            {"pool": "sqrt", "buckets": 7, "ending_boost": 2.0},
            {"binary": False, "ending_boost": 2.0},
            {"max_n": 0, "char_max_n": 2},
            {"buckets": 7, "char_max_n": 4},
        ]
    ),
    shrinkage=st.sampled_from([0.0, 8.0]),
)
@settings(deadline=None, max_examples=100)
def test_values_are_the_sums_of_contributions(
    document: list[int], labels: int, pool: Pool, ngrams: dict[str, Any] | None, shrinkage: float
) -> None:
    model = a_model(labels, pool, ngrams, shrinkage)
    coded = documents_of([document * 3])
    for column in range(len(model.bias)):
        expected: dict[tuple[int, int], float] = {}
        for start, end, logits in model.contributions(coded):
            expected[start, end] = expected.get((start, end), 0.0) + float(logits[column])
        values = {
            (start, start + length): value
            for length, part in model.values(coded, column).items()
            for start, value in zip(*(array.tolist() for array in part), strict=True)
        }
        assert values == expected


@pytest.mark.parametrize("pool", ["max", "mean_max"])
def test_a_maximum_has_no_contributions(pool: Pool) -> None:
    with pytest.raises(ValueError, match=f"pool {pool} has no contributions"):
        a_model(pool=pool).contributions(documents_of([[1, 2]]))


@pytest.mark.parametrize("pool", POOLS)
def test_empty_documents_have_the_prior_and_no_documents_give_no_logits(pool: Pool) -> None:
    model = a_model(3, pool, {"char_max_n": 2})
    assert (model.logits(documents_of([[], [1], []]))[[0, 2]] == model.prior).all()
    assert model.logits(documents_of([])).shape == (0, 3)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("shrinkage", [0.0, 0.5])
def test_an_empty_text_has_exactly_the_prior(pool: Pool, labels: int, shrinkage: float) -> None:
    model = a_model(labels, pool, {"char_max_n": 2}, shrinkage=shrinkage)
    logits = model.logits(documents_of([[], [3], []]))
    assert (logits[[0, 2]] == model.prior).all()
    assert (logits[1] != model.prior).all()
    assert (model.bias_of(documents_of([[]])) == model.prior).all()


def test_evidence_by_hand() -> None:
    documents = documents_of([[3, 4, 5], [-1, -2], [], [3, -1]])
    assert evidence(documents, 0).tolist() == [1, 1, 0, 1]  # also without shrinkage
    assert evidence(documents, 2).tolist() == pytest.approx([1 - 0.5**1.5, 1 - 0.5**0.2, 0, 1 - 0.5**0.6])
    assert evidence(documents_of([]), 2).shape == (0,)


def test_logits_move_towards_the_prior() -> None:
    logits, prior = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0.0, 10.0])
    moved = shrunk(logits, prior, np.array([1.0, 0.5, 0.0]))
    assert moved.tolist() == [[1, 2], [1.5, 7], [0, 10]]
    odd = np.array([[0.1], [0.7]])  # 0.3 + (0.1 - 0.3) is not 0.1
    assert shrunk(odd, np.array([0.3]), np.ones(2)).tolist() == odd.tolist()


def test_with_shrinkage_the_logits_lie_between_the_prior_and_those_without() -> None:
    documents = documents_of([[3], [3, 5, 9], [-1, -2, -1], []])
    plain, model = a_model(3, "mean", {}), a_model(3, "mean", {}, shrinkage=2)
    share = evidence(documents, 2)[:, None]
    assert 0 < share[2] < share[0] < share[1] < 1
    expected = model.prior + share * (plain.logits(documents) - model.prior)
    assert np.allclose(model.logits(documents), expected)


def test_the_prior_gives_the_smoothed_frequencies_of_the_labels() -> None:
    labels = np.array([0, 0, 0, 2], np.int32)
    assert probabilities(log_prior(labels, 3)[None])[0].tolist() == pytest.approx([4 / 7, 1 / 7, 2 / 7])
    assert log_prior(labels, 3).sum() == pytest.approx(0)
    assert log_prior(np.array([1, 1, 0], np.int32), 2).tolist() == pytest.approx([np.log(3 / 2)])
    assert log_prior(np.array([1, 1, 0], np.int32), 2, np.array([1.0, 1, 2])).tolist() == [0]
    assert log_prior(np.zeros(0, np.int32), 2).tolist() == [0]


@pytest.mark.parametrize("pool", POOLS)
def test_the_logits_of_a_document_do_not_depend_on_the_others(pool: Pool) -> None:
    model = a_model(3, pool, {"char_max_n": 3}, shrinkage=2)
    documents = [[3, 5, 3], [], [1, -1, 9, 9], [2]]
    alone = np.concatenate([model.logits(documents_of([document])) for document in documents])
    assert (model.logits(documents_of(documents)) == alone).all()


@pytest.mark.parametrize("pool", POOLS)
def test_a_saved_model_has_the_same_logits_and_bytes(tmp_path: Path, pool: Pool) -> None:
    path = tmp_path / "ensemble.safetensors"
    documents = documents_of([[3, 5, 3], [], [1, -2, 9, 9], [2]])
    for labels, ngrams in (
        (2, None),
        (3, {}),
        (5, {"buckets": 7}),
        (2, {"char_max_n": 3}),
        (3, {"max_n": 0, "char_max_n": 3}),
    ):
        model = a_model(labels, pool, ngrams, shrinkage=0.5)
        model.save(path)
        loaded = Model.load(path)
        assert (loaded.config, loaded.labels) == (model.config, model.labels)
        assert (loaded.logits(documents) == model.logits(documents)).all()
        content = path.read_bytes()
        loaded.save(path)
        assert path.read_bytes() == content


def test_a_flipped_byte_in_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.safetensors"
    a_model(3, "mean", {"char_max_n": 3}).save(path)
    content = path.read_bytes()
    with safe_open(path, "np") as file:
        assert list(file.metadata()) == ["model"]  # the order of several would change
    arrays = 8 + int.from_bytes(content[:8], "little")
    messages = []
    for position in [*range(arrays, len(content)), *range(8, arrays, 7)]:
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(Refusal) as refusal:
            Model.load(path)
        messages.append(str(refusal.value))
    expected = f"{path}: damaged; run `python -m tools.verify --repair`"
    assert set(messages[: len(content) - arrays]) == {expected}
    path.write_bytes(content)
    Model.load(path)


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
    "no prior": (VALID, {key: value for key, value in CONFIG.items() if key != "prior"}),
    "a prior of another width": (VALID, CONFIG | {"prior": [0.0, 0.0]}),
    "no characters": (
        VALID | LINEAR | {"ngrams.keys": np.array([3, 4])},
        CONFIG | {"ngrams": NGRAMS.model_copy(update={"char_max_n": 3}).model_dump()},
    ),
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
    with pytest.raises(Refusal, match=r"safetensors: no classifier of this version; run `dvc"):
        WordModel.from_classifier(path)
    with pytest.raises(Refusal, match=r"safetensors: (damaged, or no model;|no model of)"):
        Model.load(path)


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


def test_scores_by_hand() -> None:
    logits, labels = np.array([[1.0], [-2.0], [0.5]]), np.array([1, 0, 0], np.int32)
    scores = scores_of(logits, labels)
    assert scores["accuracy"] == pytest.approx(2 / 3)
    losses = [np.log1p(np.exp(-1)), np.log1p(np.exp(-2)), np.log1p(np.exp(0.5))]
    assert scores["loss"] == pytest.approx(np.mean(losses))
