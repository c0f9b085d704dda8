"""The table for Embedding Atlas: its columns, and the neighbours of each word."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.lib.command import Refusal
from stages.lib.tables import batch_of, table_writer
from tests.test_export import TOKENS, VECTORS, exported, project
from tools.exports import atlas

__all__ = ["project"]  # the fixture


def test_the_columns_are_those_that_the_program_reads(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(exported("atlas", "words.parquet"))
    assert capsys.readouterr().out == "words.parquet: 8 words, each with 7 neighbours\n"
    assert table.schema.equals(atlas.SCHEMA)
    rows = table.to_pylist()
    assert [row["text"] for row in rows] == TOKENS[2:]
    assert [row["count"] for row in rows] == list(range(2, 10))
    assert [(row["x"], row["y"]) for row in rows] == [(x, y) for x, y, _ in VECTORS[2:].tolist()]
    for number, row in enumerate(rows):
        ids, distances = row["neighbors"]["ids"], row["neighbors"]["distances"]
        assert sorted([number, *ids]) == list(range(8))  # numbers of rows
        assert distances == sorted(distances)


@pytest.mark.parametrize("block", [3, 1024])
def test_neighbours_are_those_of_highest_cosine(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "BLOCK", block)
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    vectors[7] = 0
    ids, distances = atlas.nearest(vectors, 6)
    for row, vector in enumerate(vectors):
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
        cosines = vectors @ vector / np.where(lengths, lengths, 1)
        cosines[row] = -np.inf
        if row != 7:
            assert ids[row].tolist() == np.argsort(-cosines)[:6].tolist()
        assert distances[row] == pytest.approx(1 - cosines[ids[row]], abs=1e-6)


def test_no_distance_is_below_zero() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    _, distances = atlas.nearest(np.repeat(vectors, 2, axis=0), 1)  # of a copy, rounded
    assert distances.min() >= 0
    assert distances.max() < 1e-6


def test_equal_vectors_are_in_the_order_of_rows_and_one_word_has_no_neighbour() -> None:
    same = np.full((4, 3), 0.1, np.float32)
    assert atlas.nearest(same, 3)[0].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert atlas.nearest(same[:1], 0)[0].shape == (1, 0)


def test_the_projection_of_another_run_is_refused(project: Path) -> None:
    schema = pa.schema([("token", pa.string()), ("x", pa.float32()), ("y", pa.float32())])
    with table_writer(atlas.PROJECTION, schema) as writer:
        writer.write_batch(batch_of([["film"], [0.0], [0.0]], schema))
    with pytest.raises(Refusal, match=r"projection\.parquet: other words than in data/vocabulary\.parquet"):
        exported("atlas")
    atlas.PROJECTION.unlink()
    with pytest.raises(Refusal, match=r"projection\.parquet: no such file; run the pipeline first"):
        exported("atlas")
    assert not Path("out").exists()
