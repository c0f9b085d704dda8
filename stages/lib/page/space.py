"""The space of words as a page carries it: small integers, which a browser searches in milliseconds.

    array          shape          meaning
    words          text (V,)      the words, the most frequent first (see `pack_strings`)
    count          (V,) uint32    how often each occurs
    vectors        (V, D) int8    vector = vectors * scale
    scale          (V,) float32
    coords         (V, C) int16   coordinate = coords * coords_scale, on the principal components
    coords_scale   (C,) float32
    explained      (C,) float32   share of the variance of each component
    weights        (V, O) int16   weight = weights * weights_scale: what the word alone adds to the log-odds
    weights_scale  (O,) float32   of the second of two labels, or to the logit of each of more labels
    cluster        (V,) uint8     the word's cluster
    clusters       text (K,)      a name of each cluster: its most central words
    labels         text (L,)
    facts          text (1,)      JSON: what else the page states (see `stages.explorer.facts_of`)

V words, D dimensions, C components (2 to 10), K clusters (1 to 255), L labels; O is 1 for two labels,
else L.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.lib.arrays import Float32, Float64, UInt32
from stages.lib.neighbours import unit_rows
from stages.lib.page.pack import pack_strings

INT8, INT16 = 127, 32767
SHOWN = 100  # characters of a longer word


@dataclass(frozen=True)
class Space:
    """V words with their vectors and everything that is known of each."""

    words: Sequence[str]
    count: UInt32  # (V,)
    vectors: Any  # (V, D)
    coords: Any  # (V, C)
    explained: Float64  # (C,)
    weights: Float64  # (V, O)
    cluster: Any  # (V,)
    clusters: Sequence[str]  # K names
    labels: Sequence[str]

    def arrays(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays of the table above."""
        vectors, scale = by_row(self.vectors)
        coords, coords_scale = by_column(self.coords)
        weights, weights_scale = by_column(self.weights)
        return {
            **pack_strings([shortened(word) for word in self.words], "words"),
            "count": self.count,
            "vectors": vectors,
            "scale": scale,
            "coords": coords,
            "coords_scale": coords_scale,
            "explained": self.explained.astype(np.float32),
            "weights": weights,
            "weights_scale": weights_scale,
            "cluster": self.cluster.astype(np.uint8),
            **pack_strings(self.clusters, "clusters"),
            **pack_strings([shortened(label) for label in self.labels], "labels"),
            **pack_strings([json.dumps(facts, sort_keys=True)], "facts"),
        }


def shortened(text: str, length: int = SHOWN) -> str:
    """The first characters of a long text.

    >>> shortened("goooood", 3)
    'goo…'
    """
    return text if len(text) <= length else f"{text[:length]}…"


def top_directions(vectors: Any, dims: int) -> Float64:
    """Vectors (V, D) on the `dims` directions that keep their cosines best: (V, dims).

    These are the first right singular vectors of the unit vectors, not centred: no other projection to `dims`
    dimensions is closer to the table of all cosines (Eckart and Young 1936). They are the eigenvectors of a
    (D, D) matrix, whose sign is chosen so that the largest weight is positive.

    >>> top_directions(np.array([[0.0, 2, 0], [0, 0, 1], [0, -1, 0]]), 1).tolist()
    [[2.0], [0.0], [-1.0]]
    """
    unit = unit_rows(vectors).astype(np.float64)
    axes = np.linalg.eigh(unit.T @ unit)[1][:, ::-1][:, :dims]  # (D, dims)
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    result: Float64 = np.asarray(vectors, np.float64) @ axes
    return result


def by_row(values: Any) -> tuple[Any, Float32]:
    """Values (V, D) as int8 and the scale (V,) of each row.

    >>> by_row(np.array([[0.5, -1.0]]))[0].tolist()
    [[64, -127]]
    """
    scale = (np.abs(values).max(1, initial=0) / INT8).astype(np.float32)
    return integers(values, scale[:, None], INT8).astype(np.int8), scale


def by_column(values: Any) -> tuple[Any, Float32]:
    """Values (V, C) as int16 and the scale (C,) of each column.

    >>> by_column(np.array([[0.5], [-1.0]]))[0].tolist()
    [[16384], [-32767]]
    """
    scale = (np.abs(values).max(0, initial=0) / INT16).astype(np.float32)
    return integers(values, scale, INT16).astype(np.int16), scale


def integers(values: Any, scale: Any, largest: int) -> Any:
    """The nearest multiples of the scale, at most `largest`: the scale is rounded to float32, which for the
    smallest numbers is much. A scale of 0 stands for values that are all 0."""
    return np.clip(np.rint(values / np.where(scale > 0, scale, 1)), -largest, largest)
