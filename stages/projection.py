"""Projection: three principal components, and the share of the variance they keep.

A hundred dimensions cannot be drawn. Principal component analysis rotates the word vectors so that the
first axis has the largest variance, the second the largest of all axes orthogonal to the first, and
so on. The first three axes make a picture. They keep only a share of the variance, which
metrics/projection.json states: words that are far apart in the picture are far apart, but words that are
close in the picture may not be close.

    python -m stages.projection --help

`<pad>` and `<unk>` are left out. The sign of a component is arbitrary; it is chosen so that the largest
weight is positive, and the picture does not flip between runs.
"""

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import load_file

from stages import UNK
from stages.lib.command import run
from stages.lib.files import atomic, write_csv, write_json
from stages.lib.params import Section, read_params
from stages.lib.tables import batch_of, table_writer
from stages.lib.text import is_wordlike

PICTURED = 150  # words in the static picture; with more, labels overlap
AXES = ("x", "y", "z")


class Params(Section):
    # At most, and at most as many as the vectors have dimensions. 3 make a picture; the explorer shows up to
    # 10, and more show how fast the variance falls.
    components: int = Field(ge=2, le=1000)


def principal_components(
    vectors: NDArray[np.float32], components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


def picture(words: list[str], points: NDArray[np.float64], explained: NDArray[np.float64]) -> Figure:
    """The most frequent words on the first two principal components, coloured by the third."""
    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    plot = figure.subplots()
    depth = points[:, 2] if points.shape[1] > 2 else np.zeros(len(points))
    plot.scatter(points[:, 0], points[:, 1], c=depth, cmap="viridis", s=14)
    for word, (x, y) in zip(words, points[:, :2], strict=True):
        # matplotlib reads a dollar sign as the start of a formula.
        plot.annotate(word.replace("$", r"\$"), (x, y), xytext=(3, 2), textcoords="offset points", fontsize=8)
    plot.set_xlabel(f"principal component 1, {explained[0]:.1%} of the variance")
    plot.set_ylabel(f"principal component 2, {explained[1]:.1%}")
    plot.set_title(
        f"The {len(words)} most frequent words" + (", coloured by component 3" if depth.any() else "")
    )
    plot.spines[["top", "right"]].set_visible(False)
    return figure


def main(
    params: Path,
    embeddings: Path,
    vocabulary: Path,
    projection: Path,
    metrics: Path,
    words_csv: Path,
    png: Path,
) -> None:
    choices = read_params(params, "projection", Params)
    words: list[str] = pq.read_table(vocabulary, columns=["token"])["token"].to_pylist()[UNK + 1 :]
    vectors = load_file(embeddings)["embeddings"][UNK + 1 :]
    if vectors.shape[1] == 1:  # a picture has two axes; nothing varies on the second
        vectors = np.pad(vectors, ((0, 0), (0, 1)))
    components = min(choices.components, vectors.shape[1])
    points, explained = principal_components(vectors, components)
    axes = axis_names(components)
    schema = pa.schema([("token", pa.string()), *((axis, pa.float32()) for axis in axes)])
    columns = [words, *points.T.astype(np.float32)]
    with table_writer(projection, schema) as writer:
        writer.write_batch(batch_of(columns, schema))
    shown = [n for n, word in enumerate(words) if is_wordlike(word)][:PICTURED]
    tokens = [words[n] for n in shown]
    write_csv(words_csv, ["token", *axes[:3]], ([words[n], *points[n, :3].tolist()] for n in shown))
    with atomic(png) as temporary, warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes.
        warnings.simplefilter("ignore", UserWarning)
        picture(tokens, points[shown], explained).savefig(
            temporary, format="png", metadata={"Software": None}
        )
    write_json(
        metrics,
        {"explained": dict(zip(axes, explained.tolist(), strict=True)), "kept": float(explained.sum())},
    )


if __name__ == "__main__":
    run(main)
