"""Keys of n-grams: by hand, the table against a dict, counts against a Counter and scikit-learn."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from stages.lib.arrays import Int64
from stages.lib.command import Refusal
from stages.lib.ngram import keys as keys_module
from stages.lib.ngram.keys import (
    ABSENT,
    Buckets,
    Table,
    count_matrix,
    count_ngrams,
    document_ngrams,
    group_starts,
    hash_bits,
    learn_ngrams,
    ngram_keys,
)

V = 12
DOCUMENTS = st.lists(st.lists(st.integers(1, V - 1), max_size=8), max_size=9)
KEYS = st.one_of(st.integers(1, 40), st.integers(1, 2**63 - 1))


def flat_of(documents: list[list[int]]) -> tuple[Int64, Int64]:
    lengths = np.array([len(document) for document in documents], np.int64)
    return np.array([word for document in documents for word in document], np.int64), lengths


def key_of(ngram: tuple[int, ...], words: int = V) -> int:
    """An n-gram as a number in base `words`, with Python's integers."""
    key = 0
    for word in ngram:
        key = key * words + word
    return key


def ngrams_of(document: list[int], max_n: int) -> list[tuple[int, ...]]:
    return [
        tuple(document[n : n + order])
        for order in range(1, max_n + 1)
        for n in range(len(document) - order + 1)
    ]


def test_keys_by_hand() -> None:
    flat, lengths = flat_of([[3, 7, 4], [], [5], [3, 7]])
    parts = [(keys.tolist(), document.tolist()) for keys, document in document_ngrams(flat, lengths, 3, 10)]
    assert parts == [
        ([3, 7, 4, 5, 3, 7], [0, 0, 0, 2, 3, 3]),
        ([37, 74, 37], [0, 0, 3]),
        ([374], [0]),
    ]


def test_documents_shorter_than_an_ngram_have_none() -> None:
    for documents in ([[1]], [[]], []):
        parts = list(document_ngrams(*flat_of(documents), 4, 10))
        assert [len(keys) for keys, _ in parts] == [len(documents and documents[0]), 0, 0, 0]


@given(documents=DOCUMENTS, max_n=st.integers(1, 5))
@settings(deadline=None)
def test_no_ngram_crosses_the_end_of_a_document(documents: list[list[int]], max_n: int) -> None:
    parts = list(document_ngrams(*flat_of(documents), max_n, V))
    assert len(parts) == max_n
    result = Counter(
        (int(d), int(k)) for keys, document in parts for k, d in zip(keys, document, strict=True)
    )
    expected = Counter(
        (n, key_of(ngram)) for n, document in enumerate(documents) for ngram in ngrams_of(document, max_n)
    )
    assert result == expected


@given(documents=DOCUMENTS, max_n=st.integers(1, 5), padding=st.integers(0, 3))
@settings(deadline=None)
def test_padded_documents_have_the_same_keys(documents: list[list[int]], max_n: int, padding: int) -> None:
    width = max(map(len, documents), default=0) + padding
    ids = np.array([document + [0] * (width - len(document)) for document in documents], np.int32)
    ids = ids.reshape(len(documents), width)
    result = Counter(
        (document, key)
        for order, keys in enumerate(ngram_keys(ids, max_n, V))
        for document, row in enumerate(np.where(ids[:, order:] == 0, 0, keys).tolist())
        for key in row
        if key
    )
    parts = document_ngrams(*flat_of(documents), max_n, V)
    assert result == Counter(
        (int(d), int(k)) for keys, document in parts for k, d in zip(keys, document, strict=True)
    )


@given(words=st.integers(2, 2**20), data=st.data())
@settings(deadline=None, max_examples=200)
def test_different_ngrams_have_different_keys(words: int, data: st.DataObject) -> None:
    max_n = next(n for n in range(8, 0, -1) if words**n < 2**63)
    word = st.sampled_from(sorted({1, 2 % words or 1, words // 2 or 1, words - 1}))
    document = data.draw(st.lists(word | st.integers(1, words - 1), max_size=12))
    keys = np.concatenate([keys for keys, _ in document_ngrams(*flat_of([document]), max_n, words)])
    seen: dict[int, tuple[int, ...]] = {}
    for key, ngram in zip(keys.tolist(), ngrams_of(document, max_n), strict=True):
        assert key == key_of(ngram, words) > 0
        assert seen.setdefault(key, ngram) == ngram


@pytest.mark.parametrize(
    ("words", "max_n", "fits"),
    [(2**20, 3, True), (2**21 - 1, 3, True), (2**21, 3, False), (2**32, 2, False), (300, 8, False)],
)
def test_keys_that_do_not_fit_into_63_bits_are_refused(words: int, max_n: int, fits: bool) -> None:
    flat, lengths = flat_of([[words - 1] * 8])
    if fits:
        keys, _ = list(document_ngrams(flat, lengths, max_n, words))[-1]
        assert keys[0] == words**max_n - 1 < 2**63
        return
    message = rf"^ngrams\.max_n: found {max_n} with {words} words; .* at most (\d+) words; lower it"
    with pytest.raises(Refusal, match=message) as refusal:
        list(document_ngrams(flat, lengths, max_n, words))
    limit = int(re.search(message, str(refusal.value))[1])  # type: ignore[index]
    assert limit**max_n < 2**63 <= (limit + 2) ** max_n
    assert "vocabulary.max_words" in str(refusal.value)


@given(keys=st.lists(KEYS, unique=True, max_size=60), others=st.lists(KEYS, max_size=60))
@settings(deadline=None)
def test_a_table_is_a_dict_of_keys_to_rows(keys: list[int], others: list[int]) -> None:
    table = Table(np.array(keys, np.int64))
    rows = {key: row for row, key in enumerate(keys)}
    queries = keys + others
    assert table.rows == len(keys)
    assert table.find(np.array(queries, np.int64)).tolist() == [rows.get(key, ABSENT) for key in queries]


def keys_of_group(count: int, bits: int, group: int) -> list[int]:
    """Keys that a table of this many bits assigns to the same group."""
    candidates = np.arange(1, 40_000)
    return candidates[hash_bits(candidates, bits - 2) == group][:count].tolist()


@pytest.mark.parametrize("group", [0, 3, 7])
def test_keys_of_the_same_group_get_different_slots(group: int) -> None:
    keys = keys_of_group(14, 5, group)
    table = Table(np.array(keys[:12], np.int64))
    assert table.bits == 5
    assert not np.delete(table.seeds, group).any()
    assert table.find(np.array(keys)).tolist() == [*range(12), ABSENT, ABSENT]


def test_a_table_finds_keys_in_arrays_of_any_shape() -> None:
    table = Table(np.arange(10, 60))
    keys = np.random.default_rng(0).integers(1, 99, (3, 4, 5))
    assert (table.find(keys) == np.where((keys >= 10) & (keys < 60), keys - 10, ABSENT)).all()


def test_keys_without_a_slot_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "MAX_SEEDS", 1)
    with pytest.raises(Refusal, match=r"^n-grams: \d+ of 1000 keys found no .*; lower ngrams.max_features$"):
        Table(np.random.default_rng(0).integers(1, 2**62, 1000))


def test_tables_of_zero_keys_and_of_one_key() -> None:
    keys = np.array([7, 8, 7, 2**62])
    assert Table(np.zeros(0, np.int64)).find(keys).tolist() == [ABSENT] * 4
    assert Table(np.array([7])).find(keys).tolist() == [0, ABSENT, 0, ABSENT]
    assert Table(np.array([7])).find(np.zeros(0, np.int64)).tolist() == []


def test_a_table_is_at_most_half_full() -> None:
    for count in (1, 7, 8, 9, 1000):
        assert len(Table(np.arange(1, count + 1)).slots) >= 2 * count


def test_buckets_are_fixed_and_in_range() -> None:
    keys = np.array([1, 2, 31, 32, 2**40 + 5, 2**63 - 1])
    assert Buckets(1000).find(keys).tolist() == [618, 236, 159, 777, 597, 751]
    for rows in (2, 3, 1000, 2**31 - 1):
        result = Buckets(rows).find(np.random.default_rng(1).integers(1, 2**63 - 1, 5000))
        assert result.min() >= 0
        assert result.max() < rows
        assert result.max() - result.min() >= rows // 2


def test_buckets_are_about_equally_full() -> None:
    parts = document_ngrams(np.arange(1, 4001), np.array([4000]), 2, 5000)
    counts = np.bincount(Buckets(100).find(np.concatenate([keys for keys, _ in parts])), minlength=100)
    assert counts.min() > 40
    assert counts.max() < 160


@given(
    documents=DOCUMENTS,
    max_n=st.integers(1, 4),
    min_df=st.integers(1, 3),
    max_features=st.sampled_from([1, 2, 5, 99]),
)
@settings(deadline=None, max_examples=200)
def test_selected_ngrams_equal_those_of_a_counter(
    documents: list[list[int]], max_n: int, min_df: int, max_features: int
) -> None:
    keys, counts = learn_ngrams(*flat_of(documents), max_n, V, min_df, max_features)
    within = Counter(
        (key_of(g), n) for n, document in enumerate(documents) for g in ngrams_of(document, max_n)
    )
    df = Counter(key for key, _ in within)
    frequent = sorted((-count, key) for key, count in df.items() if count >= min_df)
    assert keys.tolist() == sorted(key for _, key in frequent[:max_features])  # ties: the lower keys
    assert keys.dtype == np.int64
    assert counts.shape == (len(documents), len(keys))
    assert counts.toarray().tolist() == [[within[int(key), n] for key in keys] for n in range(len(documents))]


def a_corpus(count: int = 300) -> list[list[int]]:
    generator = np.random.default_rng(1)
    return [generator.zipf(1.5, generator.integers(0, 60)).clip(1, 499).tolist() for _ in range(count)]


def test_the_bytes_do_not_depend_on_the_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    flat, lengths = flat_of(a_corpus())
    results = []
    for cores in (1, 2, 3, None):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        keys, counts = learn_ngrams(flat, lengths, 3, 500, 2, 900)
        assert len(keys) == 900
        results.append([a.tobytes() for a in (keys, counts.data, counts.indices, counts.indptr)])
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("max_n", [1, 2, 3])
@pytest.mark.parametrize("min_df", [1, 2])
def test_counts_equal_those_of_scikit_learn(max_n: int, min_df: int) -> None:
    documents = a_corpus()
    train, test = documents[:250], [*documents[250:], []]
    texts = [[" ".join(map(str, document)) for document in part] for part in (train, test)]
    vectorizer = CountVectorizer(
        ngram_range=(1, max_n), min_df=min_df, token_pattern=r"\S+", lowercase=False, dtype=np.float32
    )
    expected = vectorizer.fit_transform(texts[0])
    columns = {key_of(tuple(map(int, name.split())), 500): n for name, n in vectorizer.vocabulary_.items()}
    keys, counts = learn_ngrams(*flat_of(train), max_n, 500, min_df, 10**9)
    assert set(keys.tolist()) == set(columns)
    order = [columns[key] for key in keys.tolist()]
    assert (expected[:, order] != counts).nnz == 0
    counts = count_ngrams(*flat_of(test), max_n, 500, Table(keys))
    assert counts.shape == (51, len(keys))
    assert (counts != vectorizer.transform(texts[1])[:, order]).nnz == 0


@pytest.mark.parametrize("finder", [Buckets(7), Table(np.arange(1, 60))])
def test_a_long_document_is_counted_in_pieces(
    finder: Buckets | Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat, lengths = flat_of(a_corpus()[:20])
    whole = count_ngrams(flat, lengths, 3, 500, finder)
    monkeypatch.setattr(keys_module, "PIECE", 10)
    pieces = count_ngrams(flat, lengths, 3, 500, finder)
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name))


@given(documents=DOCUMENTS, rows=st.integers(2, 30))
@settings(deadline=None)
def test_a_bucket_counts_all_its_ngrams(documents: list[list[int]], rows: int) -> None:
    finder = Buckets(rows)
    expected = np.zeros((len(documents), rows))
    for n, document in enumerate(documents):
        for ngram in ngrams_of(document, 2):
            expected[n, finder.find(np.array([key_of(ngram)]))[0]] += 1
    assert count_ngrams(*flat_of(documents), 2, V, finder).toarray().tolist() == expected.tolist()


@pytest.mark.parametrize("width", [3, 2**31 - 1])  # the second has more cells than 32 bits can number
def test_pairs_are_counted_in_the_order_of_rows_and_columns(width: int) -> None:
    row = np.array([2, 0, 2, 2, 1, 0, 5])
    column = np.array([1, 2, 0, 1, ABSENT, 2, width - 1])
    counts: csr_matrix = count_matrix(row, column, 6, width)
    assert counts.shape == (6, width)
    assert counts.indptr.tolist() == [0, 1, 1, 3, 3, 3, 4]
    assert counts.indices.tolist() == [2, 0, 1, width - 1]
    assert counts.data.tolist() == [2, 1, 2, 1]


def test_starts_of_groups_by_hand() -> None:
    assert group_starts(np.array([], np.int64)).tolist() == []
    assert group_starts(np.array([0, 0, 0])).tolist() == [0]
    assert group_starts(np.array([0, 1, 1, 9])).tolist() == [0, 1, 3]


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1), st.integers(1, 31))
def test_a_hash_is_the_upper_bits_of_knuths_product(keys: list[int], bits: int) -> None:
    products = [((k ^ (k >> 32)) * 0x9E3779B97F4A7C15) % 2**64 >> (64 - bits) for k in keys]
    assert hash_bits(np.array(keys), bits).tolist() == products


def test_adjacent_keys_have_distant_hashes() -> None:
    hashes = hash_bits(np.arange(1, 1001), 20)
    assert all(abs(a - b) > 1 for a, b in pairwise(hashes.tolist()))
