"""Baselines: models that use less than ours, on the same tokens and without word vectors.

    majority       the share of each label in the training documents, whatever the text
    naive_bayes    word counts, every word independent of the others
    nbsvm          a linear model of words and word pairs, scaled by Naive Bayes
    tfidf          a linear model of words and word pairs, scaled by TF-IDF: what most people try first

Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification".
"""

import numpy as np
from scipy.sparse import csr_matrix

from stages.lib.arrays import Float32, Float64, Int32
from stages.lib.model import cross_entropy, probabilities
from stages.lib.ngram.inputs import Inputs
from stages.lib.ngram.keys import Table, count_ngrams, learn_ngrams
from stages.lib.ngram.model import document_counts, log_count_ratios
from stages.lib.ngram.regression import MANY_LABELS, logistic_regression, most_inputs
from stages.lib.reviews import Reviews, logits_for, unpadded

L2 = 1.0  # penalty of NBSVM's linear models
PENALTIES = (1.0, 0.1, 0.01)  # of TF-IDF's linear model, 1 / C; validation selects one
INTERPOLATION = 0.5  # between the mean weight and the weights; Wang and Manning: 1/4 to 1/2 do well


def majority(labels: Int32, count: int, rows: int) -> Float64:
    """The shares of the training labels (N,) for every document: (rows, L)."""
    frequencies = np.bincount(labels, minlength=count) / len(labels)
    return np.tile(frequencies, (rows, 1))


def most_features(tokens: int, labels: int) -> int:
    """How many words and pairs of documents with so many tokens are used: all of them, unless many labels
    limit them.

    >>> most_features(1_000_000, 2), most_features(1_000_000, 1000)
    (2000000, 6000)
    """
    return min(2 * tokens, most_inputs(labels))


def word_counts(reviews: Reviews, words: int) -> csr_matrix:
    """How often each document has each word: (N, V)."""
    tokens, lengths = unpadded(reviews.ids, reviews.lengths)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    counts = csr_matrix((np.ones(len(tokens)), tokens, ends), shape=(len(lengths), words))
    counts.sum_duplicates()
    return counts


def naive_bayes(train: Reviews, test: Reviews, words: int, labels: int) -> Float64:
    """Multinomial Naive Bayes on word counts with one added to every count: (N, L)."""
    is_label = np.eye(labels)[train.labels]  # (N, L)
    counts = (word_counts(train, words).T @ is_label).T + 1.0  # (L, V)
    log_prior = np.log(is_label.sum(0) / len(is_label))
    log_likelihood = np.log(counts) - np.log(counts.sum(1, keepdims=True))
    joint: Float64 = word_counts(test, words) @ log_likelihood.T + log_prior
    return np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))


def nbsvm(train: Reviews, test: Reviews, words: int, labels: int) -> Float64:
    """A linear model of words and pairs, binary and scaled by their log-count ratios: (N, L).

    Wang and Manning 2012 with logistic regression, which gives probabilities, instead of a support vector
    machine. With more than two labels each is separated from the rest, and the probabilities are normalised.
    """
    documents = unpadded(train.ids, train.lengths)
    keys, counts = learn_ngrams(*documents, 2, words, 1, most_features(len(documents[0]), labels))
    present = document_counts(counts, binary=True)  # (N, F)
    ratios = log_count_ratios(present, train.labels, labels)  # (F, O)
    scored = count_ngrams(*unpadded(test.ids, test.lengths), 2, words, Table(keys))
    scored = document_counts(scored, binary=True)

    def log_odds(label: int, ratio: Float32) -> Float64:
        weights = np.ones(len(train.labels))
        is_label = (train.labels == label).astype(np.int32)
        inputs, rough = Inputs([[present]]), labels > MANY_LABELS
        v, bias = logistic_regression(inputs, is_label, ratio[:, None], L2, weights, rough=rough)
        v = (1 - INTERPOLATION) * np.abs(v).mean() + INTERPOLATION * v  # (F, 1)
        odds: Float64 = (scored @ (v[:, 0] * ratio).astype(np.float64)) + bias[0]
        return odds

    if labels == 2:
        return probabilities(log_odds(1, ratios[:, 0])[:, None])
    odds = np.stack([log_odds(label, ratios[:, label]) for label in range(labels)], 1)
    chance = np.exp(-np.logaddexp(0, -odds))  # sigmoid
    normalized: Float64 = chance / chance.sum(1, keepdims=True)
    return normalized


def tfidf(train: Reviews, validation: Reviews, test: Reviews, words: int, labels: int) -> Float64:
    """Logistic regression on the TF-IDF of words and word pairs: (N, L).

    As scikit-learn's `TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)` and `LogisticRegression`. The
    penalty is the one of PENALTIES with the highest accuracy on validation, then with the lowest loss; if
    there are no validation reviews, the first.
    """
    documents = unpadded(train.ids, train.lengths)
    keys, counts = learn_ngrams(*documents, 2, words, 1, most_features(len(documents[0]), labels))
    df = np.bincount(counts.indices, minlength=len(keys))  # (F,)
    idf = (np.log((1 + len(train.labels)) / (1 + df)) + 1).astype(np.float32)
    inputs, scale = weighted(counts, idf), np.ones((len(keys), logits_for(labels)), np.float32)

    def rows(reviews: Reviews) -> csr_matrix:
        return weighted(count_ngrams(*unpadded(reviews.ids, reviews.lengths), 2, words, Table(keys)), idf)

    scored, checked = rows(test), rows(validation)  # (N, F)
    candidates: list[tuple[float, float, float, Float32, Float32]] = []
    for l2 in PENALTIES:
        start = candidates[-1][-2:] if candidates and labels > MANY_LABELS else None  # which saves time
        weights = np.ones(len(train.labels))
        w, bias = logistic_regression(Inputs([[inputs]]), train.labels, scale, l2, weights, start)
        logits = (checked @ w).astype(np.float64) + bias
        correct = probabilities(logits).argmax(1) == validation.labels
        loss = cross_entropy(logits, validation.labels).sum()
        candidates.append((-correct.sum(), loss, l2, w, bias))
    *_, w, bias = min(candidates, key=lambda candidate: candidate[:2])
    return probabilities((scored @ w).astype(np.float64) + bias)


def weighted(counts: csr_matrix, idf: Float32) -> csr_matrix:
    """TF-IDF from counts (N, F) and the inverse document frequencies (F,), with rows of length 1.

    >>> weighted(csr_matrix(np.float32([[1, 1], [0, 0]])), np.float32([3, 4])).toarray().round(1).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    values = (1 + np.log(counts.data)) * idf[counts.indices]
    squares = np.add.reduceat(np.append(values**2, 0), counts.indptr[:-1]) * (np.diff(counts.indptr) > 0)
    norms = np.repeat(np.sqrt(squares), np.diff(counts.indptr))
    return csr_matrix(((values / norms).astype(np.float32), counts.indices, counts.indptr), counts.shape)
