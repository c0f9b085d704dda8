"""Character n-grams: counts and logits against scikit-learn, unknown words, contributions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from stages.lib import reviews
from stages.lib.arrays import Float32, Int64
from stages.lib.ngram.chars import CharCounts, CharModel, learn_chars, occurring_words, words_present
from stages.lib.reviews import Documents

VOCABULARY = ["<pad>", "<unk>", "to", "too", "abba", "ab", "x" * 70, ""]
# Texts whose words are of the vocabulary, or other words of the same letters and of others.
WORD = st.sampled_from(VOCABULARY[2:]) | st.text(st.sampled_from("aboté🙃"), max_size=5) | st.just("b" * 80)
TEXTS = st.lists(st.lists(WORD, max_size=9), min_size=1, max_size=6)


def documents_of(texts: Sequence[Sequence[str]]) -> Documents:
    numbers = {word: n for n, word in enumerate(VOCABULARY) if n >= 2}
    unknown = list(dict.fromkeys(word for text in texts for word in text if word not in numbers))
    numbers |= {word: -1 - n for n, word in enumerate(unknown)}
    codes = np.array([numbers[word] for text in texts for word in text], np.int32)
    return Documents(codes, np.array([len(text) for text in texts], np.int32), unknown)


def framed(word: str) -> str:
    """A word between two boundaries, which are no letters of any word. Only 64 letters are read."""
    return f"\x02{word[:64]}\x02"


def ngrams_of(text: Sequence[str], max_n: int) -> list[str]:
    """The character n-grams of the distinct words of a text."""
    words = [framed(word) for word in dict.fromkeys(text)]
    return [w[a : a + n] for w in words for n in range(1, max_n + 1) for a in range(len(w) - n + 1)]


def grams_of(keys: Int64, chars: CharCounts | CharModel, max_n: int) -> list[str]:
    """The letters of each key, as strings."""
    letters = ["", "\x01", "\x02", *map(chr, chars.alphabet.tolist())]
    result = []
    for key in keys.tolist():
        digits = [key // len(letters) ** n % len(letters) for n in range(max_n)]
        result.append("".join(letters[digit] for digit in reversed(digits)))
    return result


def model_of(texts: Sequence[Sequence[str]], max_n: int, outputs: int, min_df: int = 1) -> CharModel:
    """A model with weights for the n-grams of some texts."""
    chars = learn_chars(documents_of(texts), VOCABULARY, max_n, min_df)
    weight = np.random.default_rng(1).normal(size=(len(chars.keys), outputs)).astype(np.float32)
    return CharModel.of_words(VOCABULARY, chars.alphabet, chars.keys, weight, max_n)


@given(texts=TEXTS.filter(any), max_n=st.integers(1, 4), most=st.integers(1, 40))
@settings(deadline=None, max_examples=50)
def test_the_most_frequent_ngrams_of_letters_are_kept_and_those_with_lower_keys_first(
    texts: list[list[str]], max_n: int, most: int
) -> None:
    every, kept = (learn_chars(documents_of(texts), VOCABULARY, max_n, 1, n) for n in (2**31 - 1, most))
    df = np.asarray(every.present.sum(0)).ravel() @ every.counts.sign()
    expected = sorted(sorted(range(len(every.keys)), key=lambda n: (-df[n], n))[:most])
    assert kept.keys.tolist() == every.keys[expected].tolist()
    assert (kept.counts != every.counts[:, expected]).nnz == 0


@given(
    texts=TEXTS.filter(any),
    others=TEXTS,
    max_n=st.integers(1, 4),
    outputs=st.sampled_from([1, 3]),
    data=st.data(),
)
@settings(deadline=None, max_examples=100)
def test_logits_equal_counted_ngrams_times_weights(
    texts: list[list[str]], others: list[list[str]], max_n: int, outputs: int, data: st.DataObject
) -> None:
    min_df = data.draw(st.integers(1, 3))
    counter: Any = CountVectorizer(analyzer=lambda text: ngrams_of(text, max_n))
    expected = counter.fit_transform(texts).toarray()
    # An n-gram's document frequency is added up over the words that have it.
    one_word = CountVectorizer(analyzer=lambda word: ngrams_of([word], max_n), vocabulary=counter.vocabulary_)
    df = sum((one_word.transform(list(dict.fromkeys(t))).toarray() > 0).sum(0) for t in texts if t)
    grams = counter.get_feature_names_out()
    frequent = {gram: n for n, gram in enumerate(grams) if df[n] >= min_df}

    chars = learn_chars(documents_of(texts), VOCABULARY, max_n, min_df)
    found = grams_of(chars.keys, chars, max_n)
    assert sorted(found) == sorted(frequent)
    columns = [frequent[gram] for gram in found]
    counts = expected[:, columns]
    assert ((chars.present @ chars.counts).toarray() == counts).all()
    root = np.sqrt(counts.sum(1, keepdims=True).clip(min=1))
    assert (chars.pooled @ chars.counts).toarray() == pytest.approx(counts / root, abs=1e-5)

    model = model_of(texts, max_n, outputs, min_df)
    for part in (texts, others):
        of_part = counter.transform(part).toarray()[:, columns]
        pooled = of_part / np.sqrt(of_part.sum(1, keepdims=True).clip(min=1))
        assert np.allclose(model.logits(documents_of(part)), pooled @ model.weight, atol=1e-4)


@given(texts=TEXTS, max_n=st.integers(1, 3), outputs=st.sampled_from([1, 3]))
@settings(deadline=None)
def test_contributions_sum_to_the_logits(texts: list[list[str]], max_n: int, outputs: int) -> None:
    model = model_of(texts, max_n, outputs)
    for text in [*texts, ["zz", "to", "zz"]]:
        document = documents_of([text])
        parts = model.contributions(document)
        assert len(parts) == len(text)
        total = sum(parts, np.zeros(outputs))
        assert np.allclose(total, model.logits(document)[0], atol=1e-5)
        for word, part in zip(text, parts, strict=True):  # equal for each occurrence
            assert (part == parts[text.index(word)]).all()


def test_an_unknown_word_is_scored_as_one_of_the_vocabulary() -> None:
    model = model_of([["to", "too", "abba"]], 3, 1)
    known = documents_of([["abba", "to"]])
    unknown = Documents(np.array([-2, -1], np.int32), np.array([2]), ["to", "abba"])
    assert model.logits(unknown) == pytest.approx(model.logits(known))
    assert model.logits(known)[0, 0] != 0
    weight, count = model.spelled(["abba", "zzz", ""])
    assert weight[0] == pytest.approx(model.word_weight[4])
    assert count.tolist() == [6 + 5 + 4, 2, 2]  # of "zzz" and "" the boundaries
    assert model.word_count.tolist()[2:5] == [4 + 3 + 2, 5 + 4 + 3, 6 + 5 + 4]


def test_a_word_counts_once_per_document() -> None:
    model = model_of([["to", "too", "abba"]], 2, 1)
    once, often = documents_of([["to", "too"]]), documents_of([["to", "too", "to", "to"]])
    assert model.logits(often) == pytest.approx(model.logits(once))


def test_logits_do_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [["to", "bab"], [], ["abba", "zz", "too"], ["x" * 70]]
    model, documents = model_of(texts[:3], 3, 3), documents_of(texts)
    whole = model.logits(documents)
    monkeypatch.setattr(reviews, "BATCH_DOCUMENTS", 1)
    assert (model.logits(documents) == whole).all()
    assert (whole[1] == 0).all()
    assert model.logits(documents_of([])).shape == (0, 3)


def test_a_model_of_no_words_gives_zero() -> None:
    model = model_of([[]], 3, 1)
    assert len(model.keys) == 0
    assert model.logits(documents_of([["to"], [], ["zz"]])).tolist() == [[0], [0], [0]]
    assert [part.tolist() for part in model.contributions(documents_of([["to", "zz"]]))] == [[0], [0]]


def test_a_scaled_model_has_scaled_logits() -> None:
    model = model_of([["to", "too", "abba"]], 3, 3)
    documents = documents_of([["to", "bab"], ["too"]])
    assert np.allclose(model.scaled(0.3).logits(documents), 0.3 * model.logits(documents), atol=1e-6)


def test_arrays_make_the_same_model() -> None:
    model = model_of([["to", "too", "abba"]], 3, 3)
    copy = CharModel(**model.arrays(), max_n=3)
    documents = documents_of([["to", "bab"], ["too"]])
    assert (copy.logits(documents) == model.logits(documents)).all()
    assert set(model.arrays()) == set(CharModel.ARRAYS)


@pytest.mark.parametrize("name", ["weight", "word_weight"])
@pytest.mark.parametrize("shape", [(1, 3), (3,), (0, 2)])
def test_arrays_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...]) -> None:
    arrays = model_of([["to", "too", "abba"]], 3, 3).arrays()
    other: Float32 = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match="found weights of shapes"):
        CharModel(**(arrays | {name: other}), max_n=3)


def test_occurring_words_keep_their_order() -> None:
    words, present = occurring_words(documents_of([["too", "zz", "too"], [], ["to", "zz", "é"]]), VOCABULARY)
    assert words == ["to", "too", "zz", "é"]
    assert present.toarray().tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 1]]


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=5))
def test_present_words_are_sets(documents: list[list[int]]) -> None:
    flat = np.array([row for document in documents for row in document], np.int32)
    present = words_present(flat, np.array([len(d) for d in documents], np.int32), 6)
    assert present.toarray().tolist() == [
        [float(row in document) for row in range(6)] for document in documents
    ]
