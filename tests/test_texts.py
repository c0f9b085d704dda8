"""Texts: those of some rows, by id."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.texts import texts_of


def test_the_texts_of_some_rows_are_read(tmp_path: Path) -> None:
    table = pa.table({"id": list("abcd"), "label": [0, 1, 0, 1], "text": ["A", "B", "", "D"]})
    pq.write_table(table, tmp_path / "raw.parquet", row_group_size=2)
    assert texts_of(tmp_path / "raw.parquet", ["d", "c", "a", "z"]) == {"a": "A", "c": "", "d": "D"}
    assert texts_of(tmp_path / "raw.parquet", []) == {}
