"""Words for Embedding Atlas: a table of points with their nearest neighbours.

embedding-atlas words.parquet --text text --x x --y y --neighbors neighbors

text, count     the word, and how often it occurs in the texts that the vectors are trained on
x, y            its first two principal components, those of data/projection.parquet
neighbors       {ids, distances}: the rows of the nearest words by cosine distance, the nearest first
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from stages import UNK
from stages.lib.arrays import Float32, Int32
from stages.lib.command import Refusal
from stages.lib.tables import batch_of, open_table, table_writer
from tools.exports.targets import VOCABULARY, beside, require_no_loss, write_facts
from tools.exports.words import read_words

PROJECTION = Path("data/projection.parquet")
NEIGHBOURS = 15  # of each word: as many as Embedding Atlas computes by itself
BLOCK = 1024  # words whose distances to all words are computed at a time

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("count", pa.int64()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("neighbors", pa.struct([("ids", pa.list_(pa.int32())), ("distances", pa.list_(pa.float32()))])),
    ]
)


def write_atlas(path: Path) -> str:
    """Writes the table, and the facts. Raises Refusal if the projection is of another run."""
    words = read_words()
    if not PROJECTION.is_file():
        raise Refusal(f"{PROJECTION}: no such file; run the pipeline first: dvc repro projection")
    with open_table(PROJECTION) as table:
        points = table.read(columns=["token", "x", "y"]).to_pydict()
    tokens, counts, vectors = words.tokens[UNK:], words.counts[UNK:], words.vectors[UNK:]  # without <unk>
    if points["token"] != tokens:
        raise Refusal(f"{PROJECTION}: other words than in {VOCABULARY}; run dvc repro projection")
    require_no_loss(path, [beside(path, "json")])
    ids, distances = nearest(vectors, max(min(NEIGHBOURS, len(tokens) - 1), 0))
    lists = [
        pa.array(ids.tolist(), pa.list_(pa.int32())),
        pa.array(distances.tolist(), pa.list_(pa.float32())),
    ]
    neighbours = pa.StructArray.from_arrays(lists, fields=list(SCHEMA.field("neighbors").type))
    with table_writer(path, SCHEMA) as writer:
        writer.write_batch(batch_of([tokens, counts, points["x"], points["y"], neighbours], SCHEMA))
    write_facts(beside(path, "json"))
    return f"{len(tokens):,} words, each with {ids.shape[1]} neighbours"


def nearest(vectors: Float32, count: int) -> tuple[Int32, Float32]:
    """The rows of the nearest other vectors, and their cosine distances, 0 to 2: (V, D) -> (V, count) each.

    A vector of zeros has the distance 1 to all others. Of equal distances the lower row is first.

    >>> nearest(np.array([[1, 0], [0, 2], [1, 1]], np.float32), 1)[0].tolist()
    [[2], [2], [0]]
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(lengths, lengths, 1)
    ids, distances = [np.empty((0, count), np.int32)], [np.empty((0, count), np.float32)]
    for first in range(0, len(units), BLOCK):
        block = 1 - units[first : first + BLOCK] @ units.T  # (B, V)
        rows = np.arange(len(block))
        block[rows, first + rows] = np.inf  # a word is no neighbour of itself
        closest = np.sort(np.argpartition(block, count - 1, axis=1)[:, :count], axis=1)
        order = np.argsort(np.take_along_axis(block, closest, 1), axis=1, kind="stable")
        closest = np.take_along_axis(closest, order, 1)
        ids.append(closest.astype(np.int32))
        distances.append(np.clip(np.take_along_axis(block, closest, 1), 0, 2))
    return np.concatenate(ids), np.concatenate(distances)
