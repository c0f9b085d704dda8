"""In how many documents words occur, and what an occurrence says about the label."""

from pathlib import Path

import numpy as np
import pytest

from stages.lib.frequencies import document_frequencies, log_odds_ratios, residual_idf
from tests.test_agreement import TOKENS, inputs


def test_document_frequencies_by_hand(tmp_path: Path) -> None:
    frequencies, documents = document_frequencies(inputs(tmp_path)[0], len(TOKENS))
    assert frequencies.tolist() == [[0, 0, 0, 0, 2, 1], [0, 1, 1, 1, 0, 2]]
    assert documents.tolist() == [2, 2]


def test_labels_without_documents_have_rows_of_zeros(tmp_path: Path) -> None:
    frequencies, documents = document_frequencies(inputs(tmp_path)[0], len(TOKENS), 4)
    assert frequencies[2:].tolist() == [[0] * 6] * 2
    assert documents.tolist() == [2, 2, 0, 0]


def test_the_ratio_and_its_error_by_hand() -> None:
    ratios, errors = log_odds_ratios(np.array([[3.0], [0.0]]), np.array([4.0, 4.0]))
    assert ratios[:, 0] == pytest.approx([np.log(3.5 * 4.5 / (1.5 * 0.5)), -np.log(3.5 * 4.5 / (1.5 * 0.5))])
    assert errors[:, 0] == pytest.approx([(1 / 3.5 + 1 / 1.5 + 1 / 0.5 + 1 / 4.5) ** 0.5] * 2)


def test_more_documents_make_the_error_smaller() -> None:
    small = log_odds_ratios(np.array([[4.0], [2.0]]), np.array([10.0, 10.0]))[1]
    large = log_odds_ratios(np.array([[400.0], [200.0]]), np.array([1000.0, 1000.0]))[1]
    assert (large < small / 5).all()


def test_with_three_labels_the_others_are_one_group() -> None:
    ratios, _ = log_odds_ratios(np.array([[9.0], [1.0], [1.0]]), np.array([10.0, 5.0, 5.0]))
    assert ratios[0] == log_odds_ratios(np.array([[9.0], [2.0]]), np.array([10.0, 10.0]))[0][0]


def test_a_word_that_is_spread_by_chance_has_no_residual_idf() -> None:
    generator = np.random.default_rng(0)
    documents, counts = 5000, np.array([50.0, 500, 5000])
    spread = [len(np.unique(generator.integers(0, documents, int(count)))) for count in counts]
    assert residual_idf(counts, np.array(spread, float), documents) == pytest.approx([0, 0, 0], abs=0.05)
    # The same number of occurrences in a tenth of the documents.
    assert (residual_idf(counts, np.array(spread) / 10, documents) > 3).all()
    assert residual_idf(np.array([0.0]), np.array([0.0]), documents).tolist() == [0]
