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
    weights_scale  (O,) float32
    cluster        (V,) uint8     the word's cluster
    clusters       text (K,)      a name of each cluster: its most central words
    labels         text (L,)
    facts          text (1,)      JSON: what else the page states
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.lib.arrays import Float32, Float64, UInt32
from stages.lib.page.pack import pack_strings

INT8, INT16 = 127, 32767
SHOWN = 100  # characters of a longer word


def space_of(
    words: Sequence[str],
    count: UInt32,
    vectors: Float32,
    coords: Float32,
    explained: Float32,
    weights: Float64,
    labels: Sequence[str],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The arrays of V words: vectors (V, D), coords (V, C), explained (C,), weights (V, O)."""
    small, scale = by_row(vectors)
    places, coords_scale = by_column(coords)
    evidence, weights_scale = by_column(weights)
    shown = [word if len(word) <= SHOWN else f"{word[:SHOWN]}…" for word in words]
    return {
        **pack_strings(shown, "words"),
        "count": count,
        "vectors": small,
        "scale": scale,
        "coords": places,
        "coords_scale": coords_scale,
        "explained": explained.astype(np.float32),
        "weights": evidence,
        "weights_scale": weights_scale,
        "cluster": np.zeros(len(words), np.uint8),
        **pack_strings(["all"], "clusters"),
        **pack_strings(labels, "labels"),
        **pack_strings([json.dumps(facts, sort_keys=True)], "facts"),
    }


def by_row(values: Any) -> tuple[Any, Float32]:
    """Values (V, D) as int8 and the scale (V,) of each row.

    >>> by_row(np.array([[0.5, -1.0]]))[0].tolist()
    [[64, -127]]
    """
    scale = np.abs(values).max(1, initial=0).astype(np.float64) / INT8
    small = np.rint(values / np.where(scale > 0, scale, 1)[:, None]).astype(np.int8)
    return small, scale.astype(np.float32)


def by_column(values: Any) -> tuple[Any, Float32]:
    """Values (V, C) as int16 and the scale (C,) of each column.

    >>> by_column(np.array([[0.5], [-1.0]]))[0].tolist()
    [[16384], [-32767]]
    """
    scale = np.abs(values).max(0, initial=0).astype(np.float64) / INT16
    small = np.rint(values / np.where(scale > 0, scale, 1)).astype(np.int16)
    return small, scale.astype(np.float32)
