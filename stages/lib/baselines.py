"""Baselines: models that use less than ours, on the same tokens and without word vectors.

    majority       the share of each label in the training documents, whatever the text
    naive_bayes    word counts, every word independent of the others
    nbsvm          a linear model of words and word pairs, scaled by Naive Bayes

Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification".
"""

import numpy as np
from scipy.sparse import csr_matrix

from stages.lib.arrays import Float32, Float64, Int32
from stages.lib.model import probabilities
from stages.lib.ngram.inputs import Inputs
from stages.lib.ngram.keys import Table, count_ngrams, learn_ngrams
from stages.lib.ngram.model import document_counts, log_count_ratios
from stages.lib.ngram.regression import logistic_regression
from stages.lib.reviews import Reviews, unpadded

L2 = 1.0  # penalty of NBSVM's linear models
INTERPOLATION = 0.5  # between the mean weight and the weights; Wang and Manning: 1/4 to 1/2 do well


def majority(labels: Int32, count: int, rows: int) -> Float64:
    """The shares of the training labels (N,) for every document: (rows, L)."""
    frequencies = np.bincount(labels, minlength=count) / len(labels)
    return np.tile(frequencies, (rows, 1))


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
    keys, counts = learn_ngrams(*documents, 2, words, min_df=1, max_features=2 * len(documents[0]))
    present = document_counts(counts, binary=True)  # (N, F)
    ratios = log_count_ratios(present, train.labels, labels)  # (F, O)
    scored = count_ngrams(*unpadded(test.ids, test.lengths), 2, words, Table(keys))
    scored = document_counts(scored, binary=True)

    def log_odds(label: int, ratio: Float32) -> Float64:
        weights = np.ones(len(train.labels))
        is_label = (train.labels == label).astype(np.int32)
        v, bias = logistic_regression(Inputs([[present]]), is_label, ratio[:, None], L2, weights)
        v = (1 - INTERPOLATION) * np.abs(v).mean() + INTERPOLATION * v  # (F, 1)
        odds: Float64 = (scored @ (v[:, 0] * ratio).astype(np.float64)) + bias[0]
        return odds

    if labels == 2:
        return probabilities(log_odds(1, ratios[:, 0])[:, None])
    odds = np.stack([log_odds(label, ratios[:, label]) for label in range(labels)], 1)
    chance = np.exp(-np.logaddexp(0, -odds))  # sigmoid
    normalized: Float64 = chance / chance.sum(1, keepdims=True)
    return normalized
