"""Projection: three directions of most spread, and the share of it they keep.

Nobody sees in a hundred dimensions. Principal component analysis turns the cloud of word vectors so
that its widest direction comes first, the widest at right angles to that second, and so on; the
first three make a picture. They keep only a share of the spread, which metrics/projection.json
states: two words far apart in the picture are far apart, two that are near may not be near.

    python -m stages.projection --help

`<pad>` and `<unk>` are no words and stay out. A direction has no sign by nature; each is given the
one that makes its largest weight positive, so that the picture does not flip between runs.
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
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, write_csv, write_json
from stages.lib.params import Section, read_params
from stages.lib.tables import batch_of, table_writer

PICTURED = 150  # words in the static picture; more of them hide each other
AXES = ("x", "y", "z")


class Params(Section):
    components: int = Field(ge=2, le=1000)  # 3 make the picture; more tell how the rest falls off


def principal_components(
    vectors: NDArray[np.float32], components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PCA by the covariance matrix: exact, and independent of the number of threads.

    vectors (V, D) -> coordinates (V, components) and the share of the variance that each explains.

    >>> principal_components(np.array([[0, 1], [0, 3], [1, 2]], np.float32), 1)[1].round(2).tolist()
    [0.75]
    """
    centred = vectors.astype(np.float64)
    centred -= centred.mean(0)
    variance, directions = np.linalg.eigh(centred.T @ centred)  # ascending; (D,), (D, D)
    variance = np.maximum(variance[::-1], 0)
    directions = directions[:, ::-1][:, :components]
    largest = np.abs(directions).argmax(0)
    directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    total = variance.sum() or 1.0
    return centred @ directions, variance[:components] / total


def axis_names(components: int) -> list[str]:
    """The columns of the projection.

    >>> axis_names(4)
    ['x', 'y', 'z', 'pc4']
    """
    return [*AXES, *(f"pc{n}" for n in range(4, components + 1))][:components]


def picture(words: list[str], points: NDArray[np.float64], shares: NDArray[np.float64]) -> Figure:
    """The commonest words on the first two directions; the third is their colour."""
    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    plot = figure.subplots()
    depth = points[:, 2] if points.shape[1] > 2 else np.zeros(len(points))
    plot.scatter(points[:, 0], points[:, 1], c=depth, cmap="viridis", s=14)
    for word, (x, y) in zip(words, points[:, :2], strict=True):
        # A dollar sign would begin a formula.
        plot.annotate(word.replace("$", r"\$"), (x, y), xytext=(3, 2), textcoords="offset points", fontsize=8)
    plot.set_xlabel(f"first direction, {shares[0]:.1%} of the spread")
    plot.set_ylabel(f"second direction, {shares[1]:.1%}")
    plot.set_title(
        f"The {len(words)} commonest words" + (", coloured by the third direction" if depth.any() else "")
    )
    plot.spines[["top", "right"]].set_visible(False)
    return figure


def is_wordlike(token: str) -> bool:
    """Whether a token is worth its place in a small picture: a word, and not a mark or number."""
    return any(map(str.isalpha, token)) and not any(map(str.isdigit, token))


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
    dim = vectors.shape[1]
    if choices.components > dim:
        raise Refusal(
            f"{params}: projection.components: found {choices.components}, but the vectors have {dim} "
            "dimensions; lower it or raise embeddings.dim"
        )
    points, shares = principal_components(vectors, choices.components)
    axes = axis_names(choices.components)
    schema = pa.schema([("token", pa.string()), *((axis, pa.float32()) for axis in axes)])
    columns = [words, *points.T.astype(np.float32)]
    with table_writer(projection, schema) as writer:
        writer.write_batch(batch_of(columns, schema))
    commonest = [n for n, word in enumerate(words) if is_wordlike(word)][:PICTURED]
    shown = [words[n] for n in commonest]
    write_csv(words_csv, ["token", *axes[:3]], ([words[n], *points[n, :3].tolist()] for n in commonest))
    with atomic(png) as temporary, warnings.catch_warnings():
        # Letters that the picture's font has no shape for are boxes.
        warnings.simplefilter("ignore", UserWarning)
        picture(shown, points[commonest], shares).savefig(
            temporary, format="png", metadata={"Software": None}
        )
    write_json(
        metrics,
        {"explained": dict(zip(axes, shares.tolist(), strict=True)), "kept": float(shares.sum())},
    )


if __name__ == "__main__":
    run(main)
