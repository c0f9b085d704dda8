"""The model in the page: what is packed, and what is left out."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from stages.lib.arrays import Int32
from stages.lib.ngram.chars import CharModel
from stages.lib.ngram.keys import ABSENT
from stages.lib.ngram.model import NGramConfig, NGramModel
from stages.lib.page import reduction
from stages.lib.page.pack import pack, unpack
from stages.lib.page.reduction import fitted, ngram_logits, recoded, reduced, rounded, whole_numbers
from stages.lib.page.scorer import Limits, Scorer, described_tokeniser, joined, scorer_of, shortened
from stages.lib.page.trie import Trie, strongest, trie_of
from stages.lib.reviews import Documents
from stages.tokens import learn_subwords
from tests.test_scorer_page import REVIEWS, Case, case_of

CASE = case_of(ngrams={"char_max_n": 3}, texts=REVIEWS)


def never() -> tuple[Documents, Int32]:
    """Test documents that must not be read."""
    raise AssertionError


def scorer_with(case: Case, **limits: int) -> Scorer:
    return case.scorer(Limits(**({"ngrams": 10**9, "vocabulary": 10**9} | limits)))


def keys_of(trie: Trie, base: int) -> dict[int, int]:
    """The key of each n-gram of a trie, and its row."""
    found, first = {}, 1
    keys = [0] * (len(trie.digits) + 1)
    for parent, count in enumerate(trie.children.tolist()):
        digit = 0
        for node in range(first, first + count):
            digit += int(trie.digits[node - 1])
            keys[node] = keys[parent] * base + digit
            if trie.rows[node - 1] != ABSENT:
                found[keys[node]] = int(trie.rows[node - 1])
        first += count
    return found


def test_a_trie_has_all_keys() -> None:
    random = np.random.default_rng(0)
    keys = np.unique(
        random.integers(1, 7, (500, 4)) @ np.array([343, 49, 7, 1]) // 7 ** random.integers(0, 4, 500)
    )
    random.shuffle(keys)
    assert keys_of(trie_of(keys, 7), 7) == {key: row for row, key in enumerate(keys.tolist())}
    assert trie_of(keys[:0], 7).children.tolist() == [0]


def test_a_trie_has_nodes_for_beginnings_that_are_no_ngrams() -> None:
    trie = trie_of(np.array([374]), 10)
    assert trie.rows.tolist() == [ABSENT, ABSENT, 0]
    assert keys_of(trie, 10) == {374: 0}


def test_the_strongest_ngrams_are_kept_with_their_beginnings() -> None:
    keys, strength = np.array([2, 3, 25, 31, 257]), np.array([1.0, 0.1, 0.2, 0.3, 5.0])
    assert strongest(keys, 10, strength, 3).tolist() == [0, 2, 4]
    assert strongest(keys, 10, strength, 4).tolist() == [0, 1, 2, 4]
    assert strongest(keys, 10, strength, 5).tolist() == [0, 1, 2, 3, 4]
    keys, strength = np.array([2, 3, 25, 26]), np.array([0.1, 0.5, 0.3, 0.3])
    assert strongest(keys, 10, strength, 2).tolist() == [0, 1]
    assert strongest(keys, 10, strength, 1).tolist() == [1]


def test_where_nothing_is_left_out_the_test_reviews_are_not_read() -> None:
    predictor = CASE.predictor
    every = Limits(10**9, 10**9)
    scorer = scorer_of(predictor.model, list(predictor.numbers), CASE.description, every, never)
    ngrams = predictor.model.ngrams
    assert ngrams is not None
    assert ngrams.chars is not None
    assert scorer.facts == {
        "words": [len(predictor.numbers)] * 2,
        "ngrams": [len(ngrams.keys)] * 2,
        "letters": [len(ngrams.chars.keys)] * 2,
        "complete": True,
    }


def test_limits_are_kept_and_their_effect_is_measured() -> None:
    scorer = scorer_with(CASE, ngrams=1000, vocabulary=200)
    facts = scorer.facts
    assert not facts["complete"]
    assert facts["words"] == [200, len(CASE.predictor.numbers)]
    assert 500 < facts["ngrams"][0] + facts["letters"][0] <= 1000
    assert facts["reviews"] == len(REVIEWS)
    probabilities = CASE.predictor.probabilities(REVIEWS)
    labels = np.arange(len(REVIEWS)) % 2
    assert facts["accuracy"] == (CASE.predictor.model.predicted(probabilities) == labels).mean()
    assert 0 < facts["changed"] < 0.5
    assert facts["accuracy_here"] == pytest.approx(facts["accuracy"], abs=facts["changed"])


def test_without_test_reviews_there_is_no_accuracy() -> None:
    predictor = CASE.predictor

    def test() -> tuple[Documents, Int32]:
        return Documents(np.zeros(0, np.int32), np.zeros(0, np.int64), []), np.zeros(0, np.int32)

    words = list(predictor.numbers)
    scorer = scorer_of(predictor.model, words, CASE.description, Limits(0, 10), test)
    assert (scorer.facts["reviews"], scorer.facts["accuracy"], scorer.facts["changed"]) == (0, 0.0, 0.0)
    assert scorer.facts["ngrams"][0] == scorer.facts["letters"][0] == 0


def test_rare_words_become_unknown() -> None:
    documents = Documents(np.array([2, 5, -1, 4, 5], np.int32), np.array([3, 2]), ["x"])
    result = recoded(documents, ["a", "b", "c", "d"], rows=4)
    assert [result.unknown[-1 - code] if code < 0 else code for code in result.codes] == [
        2,
        "d",
        "x",
        "c",
        "d",
    ]
    assert recoded(documents, ["a", "b", "c", "d"], rows=6).codes.tolist() == documents.codes.tolist()


def test_ngrams_of_words_that_are_left_out_are_left_out() -> None:
    model = CASE.predictor.model
    small = reduced(model, 10**9, 50)
    assert small.words.rows == 52
    assert small.ngrams is not None
    assert small.ngrams.chars is not None
    assert model.ngrams is not None
    assert len(small.ngrams.chars.word_count) == 52
    base = model.ngrams.config.words
    digits = [small.ngrams.keys // base**n % base for n in range(3)]
    assert all((part < 52).all() for part in digits)
    assert 0 < len(small.ngrams.keys) < len(model.ngrams.keys)


def ngrams_of(pool: str, count: int = 200) -> tuple[NGramModel, Documents]:
    """N-grams of one word with weights 1, 2, ..., and documents that have all of them."""
    config = NGramConfig(
        max_n=1,
        char_max_n=0,
        buckets=None,
        binary=True,
        pool=pool,
        ending_boost=0,
        words=count + 2,
        vocabulary="0",
    )
    weight = np.arange(1, count + 1, dtype=np.float32)[:, None]
    keys = np.arange(2, count + 2)
    return NGramModel(weight, np.zeros(1), keys, config), Documents(
        keys.astype(np.int32), np.array([count]), []
    )


@pytest.mark.parametrize("pool", ["mean", "sqrt", "sum"])
def test_the_scale_makes_up_for_ngrams_that_are_left_out(pool: str) -> None:
    ngrams, documents = ngrams_of(pool)
    whole = CASE.predictor.model
    model = type(whole)(whole.config, whole.words, ngrams)
    small = reduced(model, 100, 10**9)
    assert small.ngrams is not None
    assert small.ngrams.keys.tolist() == ngrams.keys[100:].tolist()
    scaled = fitted(small, model, documents, documents).ngrams
    assert scaled is not None
    assert ngram_logits(scaled, documents) == pytest.approx(ngram_logits(ngrams, documents), rel=1e-3)
    assert fitted(model, model, documents, documents) is model


def test_small_weights_of_buckets_become_zero() -> None:
    case = case_of(ngrams={"buckets": 64, "max_n": 2})
    scorer = scorer_with(case, ngrams=16)
    assert scorer.facts["ngrams"] == [16, 64]
    assert scorer.facts["changed"] < 1


def test_many_labels_leave_room_for_fewer_words_and_ngrams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "MAX_NUMBERS", 120)
    case = case_of(labels=3, ngrams={})
    facts = scorer_with(case).facts
    assert facts["ngrams"][0] == facts["words"][0] == 40 < facts["words"][1]
    monkeypatch.setattr(reduction, "MAX_NUMBERS", 300)
    assert scorer_with(case_of(pool="max", labels=3)).facts["words"][0] == 300 // 8


def test_weights_are_rounded_to_the_nearest_number() -> None:
    weight = np.random.default_rng(0).normal(0, [1, 100], (50, 2)).astype(np.float32)
    whole, scale = whole_numbers(weight, 1000)
    assert np.abs(whole).max(0).tolist() == [1000, 1000]
    assert (np.abs(whole * scale - weight) <= scale * 0.501).all()
    assert whole_numbers(np.zeros((3, 1), np.float32))[0].tolist() == [[0]] * 3
    assert np.abs(whole_numbers(weight)[0]).max() == 2**18 - 1
    assert np.abs(whole_numbers(np.tile(weight, 6))[0]).max() == 2**14 - 1
    assert whole_numbers(np.zeros((0, 1), np.float32))[0].shape == (0, 1)


def test_rounding_twice_changes_nothing() -> None:
    once = rounded(CASE.predictor.model)
    twice = rounded(once)
    for name, array in once.words.arrays.items():
        assert (array == twice.words.arrays[name]).all()
    assert once.ngrams is not None
    assert twice.ngrams is not None
    assert (once.ngrams.weight == twice.ngrams.weight).all()


def test_sums_are_not_rounded() -> None:
    case = case_of(pool="sum", ngrams={"pool": "sum"})
    arrays: dict[str, Any] = case.scorer().arrays
    assert not {"weight_scale", "ngrams_weight_scale"} & arrays.keys()
    assert (arrays["weight"] == case.predictor.model.words.arrays["weight"]).all()


def test_a_packed_model_is_the_same_bytes_again() -> None:
    again = case_of(ngrams={"char_max_n": 3}, texts=REVIEWS)
    assert pack(again.scorer().arrays) == pack(CASE.scorer().arrays)
    assert unpack(pack(CASE.scorer().arrays)).keys() == CASE.scorer().arrays.keys()


def test_long_words_are_shortened_and_differ() -> None:
    words = ["x" * 10**6 + end for end in "ab"]
    assert shortened(words[0]) != shortened(words[1])
    assert all(len(shortened(word)) < 130 for word in words)
    assert joined(["a\nb", "c"]).split("\n") == ["a b", "c"]


def test_a_model_of_letters_alone_is_packed() -> None:
    chars = CharModel.of_words(
        ["<pad>", "<unk>", "ab"],
        np.array([97, 98], np.int32),
        np.array([3, 4]),
        np.ones((2, 1), np.float32),
        1,
    )
    ngrams, _ = ngrams_of("sqrt", 0)
    whole = CASE.predictor.model
    config = ngrams.config.model_copy(update={"max_n": 0, "char_max_n": 1})
    none = NGramModel(np.zeros((0, 1), np.float32), np.zeros(1), np.zeros(0, np.int64), config, chars)
    scorer = scorer_of(
        type(whole)(whole.config, whole.words, none), [], '{"unit": "words"}', Limits(9, 10**9), never
    )
    assert scorer.facts["letters"] == [2, 2]


def test_byte_pair_encoding_is_described_by_its_merges() -> None:
    text = learn_subwords(iter(["good food " * 9]), 100, lowercase=True).to_str()
    described, arrays = described_tokeniser(text)
    assert described == {"unit": "subwords", "lowercase": True, "special": ["<pad>", "<unk>"]}
    pieces, ends = arrays["pieces"].tobytes(), [0, *arrays["pieces_ends"].tolist()]
    each = [pieces[a:b].decode() for a, b in pairwise(ends)]
    merges = [each[n] for n in arrays["merges"][0]]
    assert each[:2] == ["<pad>", "<unk>"]
    assert len(merges) > 4
    assert all("".join(pair) in each for pair in zip(merges[::2], merges[1::2], strict=True))
    other = learn_subwords(iter(["a b"]), 100, lowercase=False).to_str()
    assert described_tokeniser(other)[0]["lowercase"] is False
