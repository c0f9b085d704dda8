"""Baselines: majority, Naive Bayes, NBSVM and TF-IDF, by hand and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from stages.lib import baselines
from stages.lib.baselines import PENALTIES, majority, naive_bayes, nbsvm, tfidf, word_counts
from stages.lib.ngram import regression
from stages.lib.reviews import Reviews


def test_the_majority_baseline_predicts_the_shares_of_the_labels() -> None:
    assert majority(np.array([0, 1, 1, 1]), 2, 2).tolist() == [[0.25, 0.75]] * 2


def reviews_of(texts: list[list[int]], labels: list[int]) -> Reviews:
    rows = np.zeros((len(texts), 4), np.int32)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = text
    lengths = np.array([len(text) for text in texts], np.int32)
    return Reviews(rows, lengths, np.array(labels, np.int32), [])


def test_naive_bayes_by_hand() -> None:
    train = reviews_of([[2, 2, 3], [3]], [1, 0])
    probabilities = naive_bayes(train, reviews_of([[2], []], [1, 0]), words=4, labels=2)
    # Counts plus one over all four rows: second label (1, 1, 3, 2) / 7, first (1, 1, 1, 2) / 5.
    second, first = 3 / 7, 1 / 5
    assert probabilities[0, 1] == pytest.approx(second / (second + first))
    assert probabilities[1].tolist() == pytest.approx([0.5, 0.5])


def test_padding_is_not_counted() -> None:
    assert word_counts(reviews_of([[2, 3, 2], []], [0, 1]), 4).toarray().tolist() == [
        [0, 0, 2, 1],
        [0, 0, 0, 0],
    ]


def clear_cut(labels: int, rows: int, seed: int) -> Reviews:
    """Reviews of six words, one of which determines the label."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, labels, rows)
    texts = draw.integers(2, 8, (rows, 6))
    texts[:, 2], texts[:, 3] = 8, 8 + label
    return Reviews(texts.astype(np.int32), np.full(rows, 6, np.int32), label.astype(np.int32), [])


def test_nbsvm_is_a_logistic_regression_on_scaled_presence() -> None:
    train, test = clear_cut(2, 60, 1), clear_cut(2, 20, 2)
    noisy = train._replace(labels=train.labels ^ (np.arange(60) % 5 == 0))
    result = nbsvm(noisy, test, words=16, labels=2)
    counts = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"\S+", lowercase=False)
    text = [[" ".join(map(str, row)) for row in part.ids.tolist()] for part in (noisy, test)]
    present, scored = counts.fit_transform(text[0]).toarray(), counts.transform(text[1]).toarray()
    labels = noisy.labels
    inside, outside = 1 + present[labels == 1].sum(0), 1 + present[labels == 0].sum(0)
    ratios = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(present * ratios, labels)
    weights = 0.5 * np.abs(model.coef_[0]).mean() + 0.5 * model.coef_[0]
    expected = 1 / (1 + np.exp(-(scored * ratios @ weights + model.intercept_)))
    assert result[:, 1] == pytest.approx(expected, abs=1e-3)
    assert result.sum(1) == pytest.approx(np.ones(20))


@pytest.mark.parametrize("labels", [2, 3])
def test_nbsvm_learns_pairs_and_ignores_padding(labels: int) -> None:
    train, test = clear_cut(labels, 90, 1), clear_cut(labels, 30, 2)
    probabilities = nbsvm(train, test, 16, labels)
    assert (probabilities.argmax(1) == test.labels).all()
    assert probabilities.sum(1) == pytest.approx(np.ones(30))
    assert (nbsvm(train, test, 16, labels) == probabilities).all()
    padded = test._replace(ids=np.pad(test.ids, ((0, 0), (0, 3))))
    assert (nbsvm(train, padded, 16, labels) == probabilities).all()


@pytest.mark.parametrize("baseline", ["nbsvm", "tfidf"])
def test_with_many_labels_the_most_frequent_ngrams_are_used(
    baseline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    monkeypatch.setattr(regression, "MANY_LABELS", 2)
    monkeypatch.setattr(regression, "MOST_COEFFICIENTS", 15)
    real = baselines.learn_ngrams
    monkeypatch.setattr(
        baselines, "learn_ngrams", lambda *given, **others: used.append(real(*given, **others)) or used[-1]
    )
    for count in (2, 3):
        reviews = clear_cut(count, 30, seed=1)
        parts = (reviews, reviews) if baseline == "nbsvm" else (reviews, reviews, reviews)
        probabilities = getattr(baselines, baseline)(*parts, 30, count)
        assert probabilities.shape == (30, count)
    few, many = (len(keys) for keys, _ in used)
    assert few > 5 == many


def test_nbsvm_without_known_words_predicts_its_intercept() -> None:
    train = reviews_of([[2, 3], [3], [2, 4], [4, 4], [3, 3]], [1, 0, 1, 1, 0])
    unseen, empty = nbsvm(train, reviews_of([[5, 6], []], [0, 0]), words=9, labels=2)
    assert unseen.tolist() == empty.tolist()


@given(seed=st.integers(0, 1000), labels=st.integers(2, 4))
@settings(deadline=None, max_examples=25)
def test_naive_bayes_equals_scikit_learn(seed: int, labels: int) -> None:
    train, test = clear_cut(labels, 40, seed), clear_cut(labels, 10, seed + 1)
    train.labels[:labels] = np.arange(labels)  # every label occurs
    oracle = MultinomialNB(alpha=1.0).fit(word_counts(train, 16), train.labels)
    expected = oracle.predict_proba(word_counts(test, 16))
    assert naive_bayes(train, test, 16, labels) == pytest.approx(expected)


@pytest.mark.parametrize("labels", [2, 3])
def test_tfidf_equals_scikit_learn_with_the_penalty_that_validation_selects(labels: int) -> None:
    train, validation, test = (clear_cut(labels, rows, seed) for rows, seed in ((90, 1), (40, 2), (20, 3)))
    noisy = train._replace(labels=(train.labels + (np.arange(90) % 4 == 0)) % labels)
    text = [[" ".join(map(str, row)) for row in part.ids.tolist()] for part in (noisy, validation, test)]
    vectors = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+", lowercase=False
    ).fit(text[0])
    inputs, checked, scored = map(vectors.transform, text)
    models = [
        LogisticRegression(C=1 / l2, tol=1e-8, max_iter=1000).fit(inputs, noisy.labels) for l2 in PENALTIES
    ]
    accuracies = [model.score(checked, validation.labels) for model in models]
    assert len(set(accuracies)) > 1  # the penalty matters here
    best = models[int(np.argmax(accuracies))]
    result = tfidf(noisy, validation, test, 16, labels)
    assert result == pytest.approx(best.predict_proba(scored), abs=2e-3)


def test_tfidf_of_unseen_and_empty_texts_is_its_intercept() -> None:
    train = reviews_of([[2, 3], [3], [2, 4], [4, 4], [3, 3]], [1, 0, 1, 1, 0])
    none = reviews_of([], [])
    unseen, empty = tfidf(train, none, reviews_of([[5, 6], []], [0, 0]), words=9, labels=2)
    assert unseen.tolist() == empty.tolist()
    assert np.isfinite(unseen).all()
