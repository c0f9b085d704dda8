"""Columns of every kind that pyarrow writes: converted where the meaning is plain, refused otherwise."""

import datetime
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.lib.command import Refusal
from stages.lib.corpora import Source
from stages.lib.readers import Review, reviews

SOURCE = Source.model_validate({"file": "r.parquet", "columns": {"text": "text", "label": "label"}})
DAY, TIME = datetime.date(2020, 1, 2), datetime.time(1, 2, 3)
MOMENT = datetime.datetime(2020, 1, 2, 3)
NANOSECONDS = 1_577_934_000_000_000_000

PLAIN: dict[str, tuple[pa.Array, str]] = {
    "bool": (pa.array([True]), "True"),
    "int8": (pa.array([-1], pa.int8()), "-1"),
    "int64": (pa.array([7], pa.int64()), "7"),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), str(2**64 - 1)),
    "float16": (pa.array([0.5], pa.float16()), "0.5"),
    "float32": (pa.array([0.1], pa.float32()), "0.1"),
    "float64": (pa.array([3.0]), "3"),
    "decimal128": (pa.array([Decimal("4.00")], pa.decimal128(5, 2)), "4"),
    "decimal256": (pa.array([Decimal("4.50")], pa.decimal256(50, 2)), "4.5"),
    "date32": (pa.array([DAY]), "2020-01-02"),
    "date64": (pa.array([DAY], pa.date64()), "2020-01-02"),
    "year 29349": (pa.array([10_000_000], pa.date32()), "29349-01-26"),
    "time32": (pa.array([TIME], pa.time32("s")), "01:02:03"),
    "time64": (pa.array([TIME], pa.time64("us")), "01:02:03"),
    "timestamp[us]": (pa.array([MOMENT], pa.timestamp("us")), "2020-01-02 03:00:00"),
    "timestamp[ns]": (pa.array([NANOSECONDS], pa.timestamp("ns")), "2020-01-02 03:00:00"),
    "nanoseconds": (pa.array([NANOSECONDS + 1], pa.timestamp("ns")), "2020-01-02 03:00:00.000000001"),
    "with zone": (pa.array([MOMENT], pa.timestamp("us", "UTC")), "2020-01-02 03:00:00+00:00"),
    "string": (pa.array(["good film"]), "good film"),
    "large_string": (pa.array(["good film"], pa.large_string()), "good film"),
    "string_view": (pa.array(["good film"], pa.string_view()), "good film"),
    "binary": (pa.array([b"good film"]), "good film"),
    "large_binary": (pa.array([b"good film"], pa.large_binary()), "good film"),
    "binary_view": (pa.array([b"good film"], pa.binary_view()), "good film"),
    "fixed_size_binary": (pa.array([b"good film"], pa.binary(9)), "good film"),
    "dictionary": (pa.array(["good film"]).dictionary_encode(), "good film"),
    "dictionary of binary": (pa.array([b"good film"]).dictionary_encode(), "good film"),
}
NESTED: dict[str, tuple[pa.Array, str]] = {
    "list": (pa.array([["a"]]), "a list"),
    "large_list": (pa.array([["a"]], pa.large_list(pa.string())), "a list"),
    "fixed_size_list": (pa.array([["a"]], pa.list_(pa.string(), 1)), "a list"),
    "map": (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())), "a list"),
    "struct": (pa.array([{"a": 1}]), "an object"),
    "binary": (pa.array([b"\xff\xfe"]), "bytes that are not UTF-8"),
}


def read(folder: Path, text: Any, label: Any) -> list[Review]:
    path = folder / "r.parquet"
    pq.write_table(pa.table({"text": text, "label": label}), path)
    return list(reviews(SOURCE, path))


@pytest.mark.parametrize("kind", PLAIN)
def test_a_label_of_a_plain_kind_is_converted(tmp_path: Path, kind: str) -> None:
    column, expected = PLAIN[kind]
    assert [review.label for review in read(tmp_path, ["a"], column)] == [expected]


@pytest.mark.parametrize(
    "kind", ["string", "binary", "large_binary", "fixed_size_binary", "dictionary of binary"]
)
def test_a_text_of_a_plain_kind_is_converted(tmp_path: Path, kind: str) -> None:
    assert [review.text for review in read(tmp_path, PLAIN[kind][0], ["1"])] == ["good film"]


@pytest.mark.parametrize("column", ["text", "label"])
@pytest.mark.parametrize("kind", NESTED)
def test_a_column_without_plain_text_is_refused_with_its_name_and_type(
    tmp_path: Path, kind: str, column: str
) -> None:
    values, name = NESTED[kind]
    cells = {"text": ["a"], "label": ["1"], column: values}
    with pytest.raises(Refusal, match=rf"r\.parquet, review 1: column '{column}' has {name}"):
        read(tmp_path, **cells)


def test_missing_values_of_every_kind_stay_missing(tmp_path: Path) -> None:
    for column in (pa.array([None]), *(pa.array([None], array.type) for array, _ in PLAIN.values())):
        assert [(review.text, review.label) for review in read(tmp_path, column, column)] == [("", None)]


def test_a_nested_column_that_is_not_used_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"text": ["a"], "label": ["1"], "other": [["x"]]}), path)
    assert [review.text for review in reviews(SOURCE, path)] == ["a"]


@pytest.mark.parametrize(("value", "name"), [(["a"], "a list"), ({"a": 1}, "an object")])
def test_a_nested_value_of_json_is_refused(tmp_path: Path, value: object, name: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"text": value, "label": "1"}) + "\n")
    source = Source.model_validate({"file": "r.jsonl", "columns": {"text": "text", "label": "label"}})
    with pytest.raises(Refusal, match=f"column 'text' has {name}"):
        list(reviews(source, path))


def test_a_parquet_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, ["text", "text"]), path)
    with pytest.raises(Refusal, match="column 'text' occurs twice"):
        list(reviews(SOURCE, path))


def test_text_that_is_not_utf8_and_integers_of_128_bits_are_refused(tmp_path: Path) -> None:
    import polars as pl

    path = tmp_path / "r.parquet"
    damaged = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    with pytest.raises(Refusal, match=r"r\.parquet: not a parquet file, damaged"):
        read(tmp_path, damaged, ["1"])
    buffer = io.BytesIO()
    pl.DataFrame({"text": ["a"], "label": pl.Series([2**100], dtype=pl.Int128)}).write_parquet(buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(Refusal, match="more than 64 bits"):
        list(reviews(SOURCE, path))
