"""The linear model of n-grams: log-count ratios and counts by hand, logits against a dense product."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix

from stages.lib.arrays import Float64
from stages.lib.command import Refusal
from stages.lib.ngram.chars import CharModel
from stages.lib.ngram.keys import Buckets
from stages.lib.ngram.letters import learn_alphabet, learn_char_ngrams
from stages.lib.ngram.model import (
    NGramConfig,
    NGramModel,
    document_counts,
    log_count_ratios,
    pooled_counts,
    ratios_of,
)
from stages.lib.reviews import Documents

V = 9
CONFIG = NGramConfig(
    max_n=2, char_max_n=0, buckets=None, binary=True, pool="sum", ending_boost=0.0, words=V,
    vocabulary="0" * 64,
)  # fmt: skip
DOCUMENT = st.lists(st.integers(1, V - 1), max_size=7) | st.lists(
    st.integers(1, V - 1), min_size=8, max_size=32
)
CODED = st.lists(st.sampled_from([-2, -1, *range(1, V)]), max_size=32)
CONFIGS = st.builds(
    lambda **fields: CONFIG.model_copy(update=fields),
    max_n=st.integers(1, 3),
    buckets=st.sampled_from([None, 5, 1000]),
    binary=st.booleans(),
    pool=st.sampled_from(["mean", "sqrt", "sum"]),
    ending_boost=st.sampled_from([0.0, 0.5]),
)


WITH_CHARS = CONFIGS.flatmap(
    lambda config: st.sampled_from([0, 1, 3]).map(lambda n: config.model_copy(update={"char_max_n": n}))
)
UNKNOWN = ["w3w3", "qwop"]


def documents_of(documents: list[list[int]]) -> Documents:
    """Documents of codes: -1 is the first of UNKNOWN."""
    lengths = np.array([len(document) for document in documents], np.int32)
    codes = np.array([code for document in documents for code in document], np.int32)
    return Documents(codes, lengths, UNKNOWN)


def keys_in(document: list[int], max_n: int) -> list[int]:
    """The keys of a document's n-grams, by Python's integers."""
    return [
        sum(word * V**n for n, word in enumerate(reversed(document[start : start + order])))
        for order in range(1, max_n + 1)
        for start in range(len(document) - order + 1)
    ]


def dense_inputs(document: list[int], config: NGramConfig, rows: dict[int, int], width: int) -> Float64:
    """The pooled counts of one document as a dense row, by a Counter."""
    if config.buckets:
        finder = Buckets(config.buckets)
        rows = {key: int(finder.find(np.array([key]))[0]) for key in keys_in(document, config.max_n)}
    inputs = np.zeros(width)
    ending = document[len(document) - len(document) // 10 :]
    for part, weight in ((document, 1.0), (ending, config.ending_boost)):
        for row, count in Counter(rows[key] for key in keys_in(part, config.max_n) if key in rows).items():
            inputs[row] += weight * (1 if config.binary else count)
    power = {"mean": 1, "sqrt": 0.5, "sum": 0}[config.pool]
    pooled: Float64 = inputs / max(1, inputs.sum()) ** power
    return pooled


def a_model(config: NGramConfig, outputs: int, seed: int = 1) -> tuple[NGramModel, dict[int, int]]:
    """A model with weights for some n-grams, and the row of each key. It knows the letters of w0, w1, ..."""
    generator = np.random.default_rng(seed)
    keys = sorted({k for n in range(1, V, 2) for k in keys_in([n, 3, n], config.max_n)})
    keys = [] if config.buckets else keys
    weight = generator.normal(size=(config.buckets or len(keys), outputs)).astype(np.float32)
    chars = None
    if config.char_max_n:
        words = [f"w{n}" for n in range(V)]
        alphabet = learn_alphabet(words[: V // 2], config.char_max_n)
        char_keys, _ = learn_char_ngrams(words[: V // 2], alphabet, config.char_max_n)
        char_weight = generator.normal(size=(len(char_keys), outputs)).astype(np.float32)
        chars = CharModel.of_words(words, alphabet, char_keys, char_weight, config.char_max_n)
    model = NGramModel(weight, generator.normal(size=outputs), np.array(keys, np.int64), config, chars)
    return model, {key: n for n, key in enumerate(keys)}


def test_log_count_ratios_of_two_labels_by_hand() -> None:
    # Four documents. N-gram 0 is in one of each label, n-gram 1 in both of the second, n-gram 2 in none.
    counts = csr_matrix(np.array([[2, 0, 1, 0], [0, 0, 1, 3], [0, 0, 0, 0]], np.float32))
    ratios = log_count_ratios(counts.T.tocsr(), np.array([0, 0, 1, 1], np.int32), 2)
    p, q = np.array([2, 3, 1]) / 6, np.array([2, 1, 1]) / 4
    assert ratios.shape == (3, 1)
    assert ratios[:, 0] == pytest.approx(np.log(p / q), rel=1e-5)


def test_log_count_ratios_of_three_labels_compare_each_with_the_others() -> None:
    counts = csr_matrix(np.array([[1, 1, 0, 0], [0, 4, 1, 1]], np.float32))
    ratios = log_count_ratios(counts.T.tocsr(), np.array([0, 1, 1, 2], np.int32), 3)
    p = {0: [2, 1], 1: [2, 3], 2: [1, 2]}
    q = {0: [2, 4], 1: [2, 2], 2: [3, 3]}
    for label in range(3):
        expected = np.log(np.divide(p[label], sum(p[label]))) - np.log(np.divide(q[label], sum(q[label])))
        assert ratios[:, label] == pytest.approx(expected, rel=1e-5)


def test_pooled_counts_by_hand() -> None:
    counts = csr_matrix(np.array([[2, 1, 0], [0, 0, 0], [0, 0, 4]], np.float32))
    expected = {
        (False, "sum"): [[2, 1, 0], [0, 0, 0], [0, 0, 4]],
        (True, "sum"): [[1, 1, 0], [0, 0, 0], [0, 0, 1]],
        (False, "mean"): [[2 / 3, 1 / 3, 0], [0, 0, 0], [0, 0, 1]],
        (True, "mean"): [[1 / 2, 1 / 2, 0], [0, 0, 0], [0, 0, 1]],
        (False, "sqrt"): [[2 / 3**0.5, 1 / 3**0.5, 0], [0, 0, 0], [0, 0, 2]],
        (True, "sqrt"): [[1 / 2**0.5, 1 / 2**0.5, 0], [0, 0, 0], [0, 0, 1]],
    }
    for (binary, pool), rows in expected.items():
        config = CONFIG.model_copy(update={"binary": binary, "pool": pool})
        assert pooled_counts(counts, None, config).toarray() == pytest.approx(np.array(rows)), (binary, pool)
    assert counts.toarray().tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 4]]  # the input is not changed


def test_the_boost_of_an_ending_by_hand() -> None:
    counts = csr_matrix(np.array([[2, 1, 0]], np.float32))
    endings = csr_matrix(np.array([[2, 0, 0]], np.float32))
    for binary, row in ((False, [2 + 0.5 * 2, 1, 0]), (True, [1 + 0.5, 1, 0])):
        config = CONFIG.model_copy(update={"binary": binary, "ending_boost": 0.5})
        assert pooled_counts(counts, endings, config).toarray()[0].tolist() == row
    assert document_counts(counts, binary=True).toarray().tolist() == [[1, 1, 0]]


def test_the_ending_is_the_last_tenth() -> None:
    model, rows = a_model(CONFIG.model_copy(update={"max_n": 1, "ending_boost": 1.0}), 1)
    documents = [[3, *[2] * 17, 2, 2], [*[2] * 17, 2, 3, 2], [*[2] * 17, 3, 2, 2]]
    logits = (model.logits(documents_of(documents)) - model.bias)[:, 0].tolist()
    weight = model.weight[rows[3], 0].item()
    assert logits == pytest.approx([weight, 2 * weight, weight], rel=1e-6)


@given(documents=st.lists(DOCUMENT, min_size=1, max_size=4), config=CONFIGS, outputs=st.sampled_from([1, 3]))
@example([[1] * 20], CONFIG.model_copy(update={"buckets": 1000, "binary": False, "pool": "sum"}), 3)
@settings(deadline=None, max_examples=150)
def test_the_logits_equal_a_dense_product(
    documents: list[list[int]], config: NGramConfig, outputs: int
) -> None:
    model, rows = a_model(config, outputs)
    dense = np.stack([dense_inputs(document, config, rows, len(model.weight)) for document in documents])
    logits = model.logits(documents_of(documents))
    assert logits.shape == (len(documents), outputs)
    tolerance = 1e-6 * (1 + np.abs(dense) @ np.abs(model.weight))  # float32 rounds relative to the summands
    assert (np.abs(logits - (dense @ model.weight + model.bias)) <= tolerance).all()


@given(document=CODED, config=WITH_CHARS, outputs=st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=150)
def test_contributions_and_bias_sum_to_the_logits(
    document: list[int], config: NGramConfig, outputs: int
) -> None:
    model, rows = a_model(config, outputs)
    coded = documents_of([document])
    contributions = model.contributions(coded)
    total = model.bias + sum((part.logits for part in contributions), np.zeros(outputs))
    assert np.allclose(total, model.logits(coded)[0], atol=1e-5)
    if not config.buckets:
        ids = [max(1, code) for code in document]
        spans = sorted((part.start, part.end - part.start) for part in contributions)
        assert spans == sorted(
            [
                (start, order)
                for order in range(1, config.max_n + 1)
                for start in range(len(document) - order + 1)
                if keys_in(ids[start : start + order], order)[-1] in rows
            ]
            + [(start, 1) for start in range(len(document)) if config.char_max_n]
        )


@given(documents=st.lists(CODED, min_size=1, max_size=6), config=WITH_CHARS)
@settings(deadline=None, max_examples=50)
def test_the_logits_of_a_document_do_not_depend_on_the_others(
    documents: list[list[int]], config: NGramConfig
) -> None:
    model, _ = a_model(config, 3)
    alone = np.concatenate([model.logits(documents_of([document])) for document in documents])
    assert (model.logits(documents_of(documents)) == alone).all()


def test_documents_without_words_and_no_documents_have_finite_logits() -> None:
    for fields in ({}, {"pool": "mean", "ending_boost": 0.5}, {"buckets": 7}, {"char_max_n": 2}):
        model, _ = a_model(CONFIG.model_copy(update=fields), 3)
        assert (model.logits(documents_of([[], []])) == model.bias).all()
        assert model.logits(documents_of([])).shape == (0, 3)
        assert model.contributions(documents_of([[]])) == []


def test_a_model_without_ngrams_is_its_bias() -> None:
    config = CONFIG.model_copy(update={"max_n": 0})
    model = NGramModel(np.zeros((0, 1), np.float32), np.array([0.3]), np.zeros(0, np.int64), config)
    assert model.logits(documents_of([[1, 2], []])).tolist() == [[0.3], [0.3]]
    assert model.contributions(documents_of([[1, 2]])) == []


def test_a_scaled_model_has_scaled_logits() -> None:
    documents = documents_of([[1, 3, 1, 5], [], [7, -1]])
    for char_max_n in (0, 3):
        model, _ = a_model(CONFIG.model_copy(update={"char_max_n": char_max_n}), 3)
        assert np.allclose(model.scaled(0.3).logits(documents), 0.3 * model.logits(documents), atol=1e-6)


def test_letters_are_added_to_words() -> None:
    model, _ = a_model(CONFIG.model_copy(update={"char_max_n": 3}), 3)
    documents = documents_of([[1, 3, 1, 5], [], [7, -1]])
    assert model.chars
    plain = NGramModel(model.weight, model.bias, model.keys, CONFIG)
    expected = plain.logits(documents) + model.chars.logits(documents)
    assert np.allclose(model.logits(documents), expected)
    assert (model.logits(documents)[2] != plain.logits(documents)[2]).all()


def test_the_order_of_labels_is_that_of_the_ratios() -> None:
    # ratios_of takes the frequencies of each label: n-gram 0 speaks for the second of two labels.
    ratios = ratios_of(csr_matrix(np.array([[0, 2], [3, 0]], np.float32)))
    assert ratios[0, 0] > 0 > ratios[1, 0]
    assert ratios[:, 0] == pytest.approx([np.log(4 / 5) - np.log(1 / 4), np.log(1 / 5) - np.log(3 / 4)])


def test_a_saved_model_has_the_same_logits_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "ngrams.safetensors"
    documents = documents_of([[1, 3, 1, 5], [], [7, -1]])
    for fields in ({}, {"buckets": 7, "ending_boost": 0.5}, {"char_max_n": 3}, {"pool": "sqrt"}):
        model, _ = a_model(CONFIG.model_copy(update=fields), 3)
        model.bias = model.bias.astype(np.float32).astype(np.float64)
        model.save(path)
        loaded = NGramModel.load(path)
        assert loaded.config == model.config
        assert (loaded.logits(documents) == model.logits(documents)).all()
        content = path.read_bytes()
        loaded.save(path)
        assert path.read_bytes() == content


VALID: dict[str, NDArray[Any]] = {
    "weight": np.zeros((2, 1), np.float32),
    "bias": np.zeros(1, np.float32),
    "keys": np.array([3, 4]),
}
LETTERS: dict[str, NDArray[Any]] = {
    "chars.alphabet": np.array([97], np.int32),
    "chars.keys": np.array([3, 4]),
    "chars.weight": np.zeros((2, 1), np.float32),
    "chars.word_weight": np.zeros((V, 1), np.float32),
    "chars.word_count": np.zeros(V, np.int32),
}
OTHER_FILES: dict[str, tuple[dict[str, NDArray[Any]], Any]] = {
    "other tensors": ({"x": np.zeros(1)}, CONFIG.model_dump()),
    "no metadata": (VALID, None),
    "an unknown key": (VALID, CONFIG.model_dump() | {"x": 1}),
    "a missing key": (VALID, {}),
    "fewer weights": (VALID | {"weight": np.zeros((1, 1), np.float32)}, CONFIG.model_dump()),
    "weights of another width": (VALID | {"weight": np.zeros((2, 3), np.float32)}, CONFIG.model_dump()),
    "weights in a row": (VALID | {"weight": np.zeros(2, np.float32)}, CONFIG.model_dump()),
    "more tensors": (VALID | {"more": np.zeros(1)}, CONFIG.model_dump()),
    "no letters": (VALID, CONFIG.model_dump() | {"char_max_n": 3}),
    "letters without a configuration": (VALID | LETTERS, CONFIG.model_dump()),
    "fewer weights of letters": (
        VALID | LETTERS | {"chars.weight": np.zeros((1, 1), np.float32)},
        CONFIG.model_dump() | {"char_max_n": 3},
    ),
    "fewer weights of words": (
        VALID | LETTERS | {"chars.word_weight": np.zeros((1, 1), np.float32)},
        CONFIG.model_dump() | {"char_max_n": 3},
    ),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_safetensors_files_with_other_contents_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "ngrams.safetensors"
    save_file(VALID, path, {"ngrams": CONFIG.model_dump_json()})
    assert NGramModel.load(path).keys.tolist() == [3, 4]
    save_file(
        VALID | LETTERS, path, {"ngrams": CONFIG.model_copy(update={"char_max_n": 3}).model_dump_json()}
    )
    assert NGramModel.load(path).chars is not None
    arrays, config = OTHER_FILES[name]
    save_file(arrays, path, {} if config is None else {"ngrams": json.dumps(config)})
    with pytest.raises(Refusal, match=r"ngrams.safetensors: no n-grams of this version; run `dvc repro`$"):
        NGramModel.load(path)


def test_files_that_are_not_safetensors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no")
    with pytest.raises(Refusal, match="a: no n-grams of this version"):
        NGramModel.load(tmp_path / "a")
