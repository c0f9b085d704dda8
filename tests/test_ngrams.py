"""N-grams: their numbers by hand, a table against a dict, counts against a Counter and scikit-learn."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from stages.lib import ngrams
from stages.lib.command import Refusal
from stages.lib.ngrams import (
    ABSENT,
    Buckets,
    Table,
    hashed,
    incidence,
    keys_of,
    learn,
    runs,
    table_of,
)

Ints = NDArray[np.int64]

V = 12
REVIEWS = st.lists(st.lists(st.integers(1, V - 1), max_size=8), max_size=9)
KEYS = st.one_of(st.integers(1, 40), st.integers(1, 2**63 - 1))


def flat_of(reviews: list[list[int]]) -> tuple[Ints, Ints]:
    lengths = np.array([len(review) for review in reviews], np.int64)
    return np.array([word for review in reviews for word in review], np.int64), lengths


def key_of(run: tuple[int, ...], words: int = V) -> int:
    """A run as a number in base `words`, with Python's own whole numbers."""
    key = 0
    for word in run:
        key = key * words + word
    return key


def runs_of(review: list[int], longest: int) -> list[tuple[int, ...]]:
    return [
        tuple(review[n : n + order])
        for order in range(1, longest + 1)
        for n in range(len(review) - order + 1)
    ]


def test_the_numbers_of_runs_by_hand() -> None:
    flat, lengths = flat_of([[3, 7, 4], [], [5], [3, 7]])
    found = [(keys.tolist(), review.tolist()) for keys, review in runs(flat, lengths, 3, 10)]
    assert found == [
        ([3, 7, 4, 5, 3, 7], [0, 0, 0, 2, 3, 3]),
        ([37, 74, 37], [0, 0, 3]),
        ([374], [0]),
    ]


def test_a_run_longer_than_all_reviews_and_no_reviews_are_nothing() -> None:
    for reviews in ([[1]], [[]], []):
        found = list(runs(*flat_of(reviews), 4, 10))
        assert [len(keys) for keys, _ in found] == [len(reviews and reviews[0]), 0, 0, 0]


@given(reviews=REVIEWS, longest=st.integers(1, 5))
@settings(deadline=None)
def test_no_run_goes_from_one_review_to_the_next(reviews: list[list[int]], longest: int) -> None:
    found = list(runs(*flat_of(reviews), longest, V))
    assert len(found) == longest
    told = Counter((int(r), int(k)) for keys, review in found for k, r in zip(keys, review, strict=True))
    wanted = Counter((n, key_of(run)) for n, review in enumerate(reviews) for run in runs_of(review, longest))
    assert told == wanted


@given(reviews=REVIEWS, longest=st.integers(1, 5), padding=st.integers(0, 3))
@settings(deadline=None)
def test_padded_reviews_have_the_same_runs(reviews: list[list[int]], longest: int, padding: int) -> None:
    wide = max(map(len, reviews), default=0) + padding
    ids = np.array([review + [0] * (wide - len(review)) for review in reviews], np.int32)
    ids = ids.reshape(len(reviews), wide)
    told = Counter(
        (review, key)
        for order, keys in enumerate(keys_of(ids, longest, V))
        for review, row in enumerate(np.where(ids[:, order:] == 0, 0, keys).tolist())
        for key in row
        if key
    )
    found = runs(*flat_of(reviews), longest, V)
    assert told == Counter(
        (int(r), int(k)) for keys, review in found for k, r in zip(keys, review, strict=True)
    )


@given(words=st.integers(2, 2**20), data=st.data())
@settings(deadline=None, max_examples=200)
def test_different_runs_never_share_a_number(words: int, data: st.DataObject) -> None:
    longest = next(n for n in range(8, 0, -1) if words**n < 2**63)
    word = st.sampled_from(sorted({1, 2 % words or 1, words // 2 or 1, words - 1}))
    review = data.draw(st.lists(word | st.integers(1, words - 1), max_size=12))
    keys = np.concatenate([keys for keys, _ in runs(*flat_of([review]), longest, words)])
    met: dict[int, tuple[int, ...]] = {}
    for key, run in zip(keys.tolist(), runs_of(review, longest), strict=True):
        assert key == key_of(run, words) > 0
        assert met.setdefault(key, run) == run


@pytest.mark.parametrize(
    ("words", "longest", "fits"),
    [(2**20, 3, True), (2**21 - 1, 3, True), (2**21, 3, False), (2**32, 2, False), (300, 8, False)],
)
def test_runs_that_do_not_fit_into_63_bits_are_refused(words: int, longest: int, fits: bool) -> None:
    flat, lengths = flat_of([[words - 1] * 8])
    if fits:
        keys, _ = list(runs(flat, lengths, longest, words))[-1]
        assert keys[0] == words**longest - 1 < 2**63
        return
    told = rf"^ngrams\.longest: found {longest} with {words} words; .* among (\d+) words: lower it"
    with pytest.raises(Refusal, match=told) as refusal:
        list(runs(flat, lengths, longest, words))
    most = int(re.search(told, str(refusal.value))[1])  # type: ignore[index]
    assert most**longest < 2**63 <= (most + 2) ** longest
    assert "vocabulary.max_words" in str(refusal.value)


@given(
    keys=st.lists(KEYS, unique=True, max_size=60),
    others=st.lists(KEYS, max_size=60),
)
@settings(deadline=None)
def test_a_table_finds_what_was_put_in_and_nothing_else(keys: list[int], others: list[int]) -> None:
    table = Table(np.array(keys, np.int64))
    known = {key: row for row, key in enumerate(keys)}
    asked = keys + others
    assert table.rows == len(keys)
    assert table.find(np.array(asked, np.int64)).tolist() == [known.get(key, ABSENT) for key in asked]


def neighbours(count: int, bits: int, bucket: int) -> list[int]:
    """Keys that a table of so many bits deals to the same bucket."""
    candidates = np.arange(1, 40_000)
    return candidates[hashed(candidates, bits - 2) == bucket][:count].tolist()


@pytest.mark.parametrize("bucket", [0, 3, 7])
def test_keys_of_one_bucket_get_a_slot_each(bucket: int) -> None:
    keys = neighbours(14, 5, bucket)
    table = Table(np.array(keys[:12], np.int64))
    assert table.bits == 5
    assert not np.delete(table.turns, bucket).any()
    assert table.find(np.array(keys)).tolist() == [*range(12), ABSENT, ABSENT]


def test_a_table_is_asked_in_any_shape() -> None:
    table = Table(np.arange(10, 60))
    asked = np.random.default_rng(0).integers(1, 99, (3, 4, 5))
    assert (table.find(asked) == np.where((asked >= 10) & (asked < 60), asked - 10, ABSENT)).all()


def test_keys_that_find_no_slot_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "TURNS", 1)
    with pytest.raises(Refusal, match=r"^n-grams: \d+ of 1000 found no slot .* lower ngrams.limit$"):
        Table(np.random.default_rng(0).integers(1, 2**62, 1000))


def test_a_table_of_no_key_and_of_one() -> None:
    asked = np.array([7, 8, 7, 2**62])
    assert Table(np.zeros(0, np.int64)).find(asked).tolist() == [ABSENT] * 4
    assert Table(np.array([7])).find(asked).tolist() == [0, ABSENT, 0, ABSENT]
    assert Table(np.array([7])).find(np.zeros(0, np.int64)).tolist() == []


def test_a_table_is_at_most_half_full() -> None:
    for count in (1, 7, 8, 9, 1000):
        assert len(Table(np.arange(1, count + 1)).slots) >= 2 * count


def test_a_bucket_is_the_same_on_every_machine_and_in_range() -> None:
    asked = np.array([1, 2, 31, 32, 2**40 + 5, 2**63 - 1])
    assert Buckets(1000).find(asked).tolist() == [618, 236, 159, 777, 597, 751]
    for rows in (2, 3, 1000, 2**31 - 1):
        found = Buckets(rows).find(np.random.default_rng(1).integers(1, 2**63 - 1, 5000))
        assert found.min() >= 0
        assert found.max() < rows
        assert found.max() - found.min() >= rows // 2


def test_buckets_are_about_as_full_as_each_other() -> None:
    keys = np.concatenate([keys for keys, _ in runs(np.arange(1, 4001), np.array([4000]), 2, 5000)])
    often = np.bincount(Buckets(100).find(keys), minlength=100)
    assert often.min() > 40
    assert often.max() < 160


def counted(reviews: list[list[int]], longest: int) -> tuple[Counter[int], Counter[tuple[int, int]]]:
    """In how many reviews each run is, and how often in each."""
    within = Counter((key_of(run), n) for n, review in enumerate(reviews) for run in runs_of(review, longest))
    return Counter(key for key, _ in within), within


@given(
    reviews=REVIEWS, longest=st.integers(1, 4), least=st.integers(1, 3), limit=st.sampled_from([1, 2, 5, 99])
)
@settings(deadline=None, max_examples=200)
def test_learning_is_counting(reviews: list[list[int]], longest: int, least: int, limit: int) -> None:
    keys, places = learn(*flat_of(reviews), longest, V, least, limit)
    often, within = counted(reviews, longest)
    enough = sorted((-count, key) for key, count in often.items() if count >= least)
    assert keys.tolist() == sorted(key for _, key in enough[:limit])  # of equal ones the lower keys
    assert keys.dtype == np.int64
    assert places.shape == (len(keys), len(reviews))
    wanted = [[within[int(key), n] for n in range(len(reviews))] for key in keys]
    assert places.toarray().tolist() == wanted


def bytes_of(table: csr_matrix) -> list[bytes]:
    return [part.tobytes() for part in (table.data, table.indices, table.indptr)]


def a_corpus(count: int = 300) -> list[list[int]]:
    draw = np.random.default_rng(1)
    return [draw.zipf(1.5, draw.integers(0, 60)).clip(1, 499).tolist() for _ in range(count)]


def test_threads_change_no_byte() -> None:
    flat, lengths = flat_of(a_corpus())
    found = [learn(flat, lengths, 3, 500, 2, 900, threads) for threads in (1, 2, 3)]
    assert len(found[0][0]) == 900
    for keys, places in found[1:]:
        assert keys.tobytes() == found[0][0].tobytes()
        assert bytes_of(places) == bytes_of(found[0][1])


@pytest.mark.parametrize("longest", [1, 2, 3])
@pytest.mark.parametrize("least", [1, 2])
def test_counts_are_scikit_learns(longest: int, least: int) -> None:
    reviews = a_corpus()
    seen, fresh = reviews[:250], [*reviews[250:], []]
    texts = [[" ".join(map(str, review)) for review in part] for part in (seen, fresh)]
    peer = CountVectorizer(
        ngram_range=(1, longest), min_df=least, token_pattern=r"\S+", lowercase=False, dtype=np.float32
    )
    counts = peer.fit_transform(texts[0])
    names = {key_of(tuple(map(int, name.split())), 500): n for name, n in peer.vocabulary_.items()}
    keys, places = learn(*flat_of(seen), longest, 500, least, 10**9)
    assert set(keys.tolist()) == set(names)
    columns = [names[key] for key in keys.tolist()]
    assert (counts[:, columns] != places.T).nnz == 0
    found = incidence(*flat_of(fresh), longest, 500, Table(keys))
    assert found.shape == (51, len(keys))
    assert (found != peer.transform(texts[1])[:, columns]).nnz == 0


@given(reviews=REVIEWS, rows=st.integers(2, 30))
@settings(deadline=None)
def test_a_bucket_counts_all_runs_that_fall_into_it(reviews: list[list[int]], rows: int) -> None:
    finder = Buckets(rows)
    found = incidence(*flat_of(reviews), 2, V, finder).toarray()
    wanted = np.zeros((len(reviews), rows))
    for n, review in enumerate(reviews):
        for run in runs_of(review, 2):
            wanted[n, finder.find(np.array([key_of(run)]))[0]] += 1
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("wide", [3, 2**31 - 1])  # more cells than 32 bits can number
def test_pairs_are_counted_in_the_order_of_rows_and_columns(wide: int) -> None:
    row = np.array([2, 0, 2, 2, 1, 0, 5])
    column = np.array([1, 2, 0, 1, ABSENT, 2, wide - 1])
    found = table_of(row, column, 6, wide)
    assert found.shape == (6, wide)
    assert found.indptr.tolist() == [0, 1, 1, 3, 3, 3, 4]
    assert found.indices.tolist() == [2, 0, 1, wide - 1]
    assert found.data.tolist() == [2, 1, 2, 1]


def test_where_each_value_begins() -> None:
    assert ngrams.first_of_each(np.array([], np.int64)).tolist() == []
    assert ngrams.first_of_each(np.array([0, 0, 0])).tolist() == [0]
    assert ngrams.first_of_each(np.array([0, 1, 1, 9])).tolist() == [0, 1, 3]


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1), st.integers(1, 31))
def test_a_hash_is_knuths_product_and_its_upper_bits(keys: list[int], bits: int) -> None:
    mixed = [((k ^ (k >> 32)) * 0x9E3779B97F4A7C15) % 2**64 >> (64 - bits) for k in keys]
    assert hashed(np.array(keys), bits).tolist() == mixed


def test_neighbouring_numbers_are_dealt_far_apart() -> None:
    slots = hashed(np.arange(1, 1001), 20)
    assert all(abs(a - b) > 1 for a, b in pairwise(slots.tolist()))
