"""Projection: principal components, and the share of the variance they keep.

A hundred dimensions cannot be drawn. Principal component analysis rotates the word vectors so that the
first axis has the largest variance, the second the largest of all axes orthogonal to the first, and
so on. The first three axes make a picture. They keep only a share of the variance, which
metrics/projection.json states: words that are far apart in the picture are far apart, but words that are
close in the picture may not be close.

    python -m stages.projection --help

`<pad>` and `<unk>` are left out. The sign of a component is arbitrary; it is chosen so that the largest
weight is positive, and the picture does not flip between runs.

The vectors were made without labels. metrics/projection.png has the colours of the labels in whose train
documents the words occur more often: whether the space separates them can be seen.
"""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages import UNK
from stages.lib.arrays import Float32, Float64, read_arrays
from stages.lib.command import run
from stages.lib.files import atomic, read_labels, write_csv, write_json
from stages.lib.frequencies import document_frequencies, log_odds_ratios, residual_idf
from stages.lib.params import Section, read_params
from stages.lib.tables import batch_of, read_table, table_writer
from stages.lib.text import is_wordlike
from stages.lib.word_map import CERTAIN, WordPoints, save_png, word_map

AXES = ("x", "y", "z")
CONSIDERED = 20_000  # most frequent words from which those of the picture are chosen
FREQUENT = 100  # of them, those that may be content words
PICTURED = 150  # words in metrics/projection_words.csv; the picture has those that there is room for


class Params(Section):
    # At most, and at most as many as the vectors have dimensions. 3 make a picture; the explorer shows up to
    # 10, and more show how fast the variance falls.
    components: int = Field(ge=2, le=1000)


def principal_components(vectors: Float32, components: int) -> tuple[Float64, Float64]:
    """PCA by the eigenvectors of the covariance matrix: exact, and independent of the number of threads.

    vectors (V, D) -> coordinates (V, components) and the share of the variance of each component.

    >>> principal_components(np.array([[0, 1], [0, 3], [1, 2]], np.float32), 1)[1].round(2).tolist()
    [0.75]
    """
    centred = vectors.astype(np.float64)
    centred -= centred.mean(0)
    variance, axes = np.linalg.eigh(centred.T @ centred)  # ascending; (D,), (D, D)
    variance = np.maximum(variance[::-1], 0)
    axes = axes[:, ::-1][:, :components]
    largest = np.abs(axes).argmax(0)
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    total = variance.sum() or 1.0
    return centred @ axes, variance[:components] / total


def axis_names(components: int) -> list[str]:
    """The columns of the projection.

    >>> axis_names(4)
    ['x', 'y', 'z', 'pc4']
    """
    return [*AXES, *(f"pc{n}" for n in range(4, components + 1))][:components]


def words_to_show(
    words: Sequence[str], counts: Float64, frequencies: Float64, documents: Float64
) -> list[int]:
    """The row numbers of PICTURED words, the most important first.

    Three of four are those that tell the labels apart best: with the highest lower bound of a log-odds ratio.
    One of four is a content word: of frequent words, one that is spread most unevenly over the documents.
    The most frequent words, which make up half of a text and are function words in any language, are not
    among these, and content words are rarer still. All words follow by frequency. counts (V,),
    frequencies (L, V), documents (L,).
    """
    rows = np.array([row for row, word in enumerate(words) if is_wordlike(word)], np.int64)
    before = (np.cumsum(counts) - counts)[rows] / counts.sum()  # share of the text that is more frequent
    telling, content = rows[before >= 1 / 2], rows[before >= 2 / 3][:FREQUENT]
    ratios, errors = log_odds_ratios(frequencies[:, telling], documents)
    bounds = (ratios - CERTAIN * errors).max(0)
    telling = telling[np.argsort(-bounds, kind="stable")][: (bounds > 0).sum()]
    unevenness = residual_idf(counts[content], frequencies[:, content].sum(0), documents.sum())
    content = content[np.argsort(-unevenness, kind="stable")]
    in_turn = zip_longest(*(telling[first::3].tolist() for first in range(3)), content.tolist())
    chosen = [row for turn in in_turn for row in turn if row is not None]
    return list(dict.fromkeys([*chosen, *rows.tolist()]))[:PICTURED]


def main(
    params: Path,
    ids: Path,
    labels: Path,
    embeddings: Path,
    vocabulary: Path,
    projection: Path,
    metrics: Path,
    words_csv: Path,
    png: Path,
) -> None:
    choices = read_params(params, "projection", Params)
    table = read_table(vocabulary, columns=["token", "count"])[UNK + 1 :]
    words: list[str] = table["token"].to_pylist()
    vectors = read_arrays(embeddings, "embeddings")["embeddings"][UNK + 1 :]
    if vectors.shape[1] == 1:  # a picture has two axes; nothing varies on the second
        vectors = np.pad(vectors, ((0, 0), (0, 1)))
    components = min(choices.components, vectors.shape[1])
    points, explained = principal_components(vectors, components)
    axes = axis_names(components)
    schema = pa.schema([("token", pa.string()), *((axis, pa.float32()) for axis in axes)])
    with table_writer(projection, schema) as writer:
        writer.write_batch(batch_of([words, *points.T.astype(np.float32)], schema))
    variances = dict(zip(axes, explained.tolist(), strict=True))
    write_json(metrics, {"explained": variances, "kept": float(explained.sum())}, sort=False)

    names = read_labels(labels)["labels"]
    frequencies, documents = document_frequencies(ids, UNK + 1 + len(words), len(names))
    frequencies = frequencies[:, UNK + 1 :][:, :CONSIDERED]
    ratios, errors = log_odds_ratios(frequencies, documents)
    considered = WordPoints(
        words[:CONSIDERED], points[:CONSIDERED, :2], ratios.T, (ratios / errors).T, tuple(documents)
    )
    counts = table["count"].to_numpy().astype(np.float64)[:CONSIDERED]
    shown = words_to_show(considered.tokens, counts, frequencies, documents)
    best = (ratios / errors).argmax(0).tolist()  # the label that each word is evidence for
    rows = ([words[n], *points[n, :3].tolist(), names[best[n]], float(ratios[best[n], n])] for n in shown)
    write_csv(words_csv, ["token", *axes[:3], "label", "log_odds_ratio"], rows)
    with atomic(png) as temporary:
        save_png(word_map(considered.of(shown), considered, explained[:2].tolist(), names), temporary)


if __name__ == "__main__":
    run(main)
