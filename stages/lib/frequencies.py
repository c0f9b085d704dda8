"""In how many documents words occur, and what an occurrence says about the label."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from stages import TRAIN
from stages.lib.arrays import Float64
from stages.lib.tables import read_batches


def document_frequencies(ids: Path, words: int, labels: int = 0) -> tuple[Float64, Float64]:
    """In how many train documents of each label each word occurs, (L, V), and how many there are, (L,).

    L is at least `labels`, also if train has no document of the last ones.
    """
    label_parts, cells = [], []
    first = 0
    for batch in read_batches(ids, ["split", "label", "ids"]):
        part = batch.filter(pc.equal(batch["split"], TRAIN))
        lists = part["ids"]
        number = np.repeat(np.arange(first, first + len(part)), pc.list_value_length(lists))
        cells.append(np.unique(number * words + lists.flatten().to_numpy()))
        label_parts.append(part["label"].to_numpy())
        first += len(part)
    label, cell = np.concatenate(label_parts).astype(np.int64), np.concatenate(cells)
    labels = max(labels, int(label.max()) + 1)
    pairs = label[cell // words] * words + cell % words
    frequencies = np.bincount(pairs, minlength=labels * words).reshape(labels, words)
    return frequencies.astype(np.float64), np.bincount(label, minlength=labels).astype(np.float64)


def log_odds_ratios(frequencies: Float64, documents: Float64) -> tuple[Float64, Float64]:
    """The log-odds of each word's occurrence in the documents of a label, minus those in all others: (L, V).

    Returns them and their standard errors, (L, V), from frequencies (L, V) and documents (L,). 1 / 2
    is added to each count (Haldane 1956, Anscombe 1956).

    >>> ratios, errors = log_odds_ratios(np.array([[9.0, 5], [1, 5]]), np.array([10.0, 10]))
    >>> ratios.round(1).tolist(), errors.round(1).tolist()
    ([[3.7, 0.0], [-3.7, 0.0]], [[1.2, 0.9], [1.2, 0.9]])
    """
    inside = frequencies
    outside = frequencies.sum(0) - frequencies
    cells = [inside, documents[:, None] - inside, outside, (documents.sum() - documents)[:, None] - outside]
    a, b, c, d = (cell + 0.5 for cell in cells)  # (L, V)
    ratios = np.log(a * d) - np.log(b * c)
    return ratios, np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


def residual_idf(counts: Float64, frequencies: Float64, documents: float) -> Float64:
    """How much rarer a word is among the documents than chance explains, (V,), in bits.

    A word that means something occurs several times in the few texts that are about it; a function word is
    spread evenly, as if by chance (Church and Gale 1995, "Inverse Document Frequency (IDF): A Measure of
    Deviations from Poisson"). counts (V,) of all occurrences, frequencies (V,) of documents.

    >>> residual_idf(np.array([8.0, 8.0]), np.array([2.0, 8.0]), 100).round(1).tolist()
    [1.9, -0.1]
    """
    expected = documents * -np.expm1(
        -counts / documents
    )  # documents with the word, by a Poisson distribution
    result: Float64 = np.log2(np.maximum(expected, 1e-9) / np.maximum(frequencies, 1e-9))
    return result
