"""Tables of a user as Firth reads them and as pandas and pyarrow do: equal cells, of odd but valid files."""

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.lib import rows

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
# No surrogates, which UTF-8 does not have, and no NUL, where pandas ends a cell.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ODD_TEXT = st.sampled_from(
    ["", " ", '"', '""', 'so "good"', "a,b", "a;b", "a\tb", "a\nb", "a\r\nb", "a\rb", "\n", "\u2028", "\x85",
     "🙃", "é", "\ufeff", "NA", "null", "nan", "1", "0.10", "-", "#", "'", "\\", "\\n", "=1+1"]
)  # fmt: skip
CELL = TEXT | ODD_TEXT
# A mark at the very beginning is that of the encoding.
NAME = CELL.filter(lambda name: bool(name.strip()) and name[0] != "\ufeff")
HEADERS = st.lists(NAME, min_size=2, max_size=4, unique=True)


def ours(content: bytes, name: str, **dialect: Any) -> list[dict[str, object]]:
    return list(rows.read(io.BytesIO(content), name, name, rows.Dialect(**dialect)))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    header = draw(HEADERS)
    row = st.lists(CELL, min_size=len(header), max_size=len(header))
    return header, draw(st.lists(row, min_size=1, max_size=6))


def quoted(cell: str, separator: str, everywhere: bool) -> str:
    """A cell as RFC 4180 writes it. (Python's csv leaves a carriage return alone.)"""
    doubled = '"' + cell.replace('"', '""') + '"'
    return doubled if everywhere or not cell or set(cell) & {separator, '"', "\r", "\n"} else cell


@given(
    table=tables(),
    separator=st.sampled_from(",;\t|"),
    everywhere=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
    ends=st.booleans(),
    blank=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@settings(max_examples=EXAMPLES)
@example((["text", "label"], [["two\r\nlines", ""]]), ",", False, "\r\n", False, True, "utf-8-sig")
def test_csv_is_read_as_pandas_reads_it(
    table: tuple[list[str], list[list[str]]],
    separator: str,
    everywhere: bool,
    end: str,
    ends: bool,
    blank: bool,
    encoding: str,
) -> None:
    header, cells = table
    lines = [separator.join(quoted(cell, separator, everywhere) for cell in row) for row in (header, *cells)]
    lines[1:1] = [""] * blank
    content = (end.join(lines) + end * ends).encode(encoding)
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    read = ours(content, "r.csv", encoding=name, separator=separator)
    frame = pd.read_csv(
        io.BytesIO(content),
        sep=separator,
        dtype=str,
        keep_default_na=False,
        na_filter=False,
        encoding=encoding,
        index_col=False,
        engine="python" if encoding == "utf-16" else "c",
    )
    assert read == [dict(zip(header, row, strict=True)) for row in cells]
    assert [list(row.values()) for row in read] == frame.to_numpy().tolist()
    assert list(read[0]) == list(frame.columns)


NUMBERS = st.integers(-(2**63), 2**63 - 1)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"text": st.none() | CELL},
        optional={
            "label": st.none() | NUMBERS,
            "score": st.floats(allow_nan=False, allow_infinity=False),
            "kept": st.booleans(),
        },
    ),
    min_size=1,
    max_size=6,
)
KINDS = {"text": pa.string(), "label": pa.int64(), "score": pa.float64(), "kept": pa.bool_()}


def same(read: list[dict[str, object]], table: pa.Table) -> bool:
    """Whether rows have the cells of a table; one that is missing is null there."""
    return [{name: row.get(name) for name in KINDS} for row in read] == table.to_pylist()


@given(
    ROWS,
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from([(", ", ": "), (",", ":"), (" ,\t", " : ")]),
)
@settings(max_examples=EXAMPLES)
def test_jsonl_is_read_as_pyarrow_reads_it(
    objects: list[dict[str, Any]], ascii_only: bool, end: str, ends: bool, signs: tuple[str, str]
) -> None:
    lines = [json.dumps(one, ensure_ascii=ascii_only, separators=signs) for one in objects]
    content = (end.join(lines) + end * ends).encode()
    read = ours(content, "r.jsonl")
    options = pj.ParseOptions(explicit_schema=pa.schema(KINDS), unexpected_field_behavior="error")
    assert read == objects
    assert same(read, pj.read_json(io.BytesIO(content), parse_options=options))
    assert ours(json.dumps(objects).encode(), "r.json") == objects


@given(ROWS, st.sampled_from(["plain", "large", "numbered", "binary", "view"]), st.integers(1, 3))
@settings(max_examples=EXAMPLES)
def test_parquet_is_read_as_pandas_reads_it(objects: list[dict[str, Any]], kind: str, group: int) -> None:
    columns: Mapping[str, list[Any]] = {name: [row.get(name) for row in objects] for name in KINDS}
    table = pa.table(columns, schema=pa.schema(KINDS))
    narrow = pa.array(columns["score"], pa.float64()).cast(pa.float32(), safe=False)
    stored = {
        "plain": table["text"],
        "large": table["text"].cast(pa.large_string()),
        "numbered": table["text"].dictionary_encode(),
        "binary": table["text"].cast(pa.binary()),
        "view": table["text"].cast(pa.string_view()),
    }
    file = io.BytesIO()
    written = table.set_column(0, "text", stored[kind]).append_column("narrow", narrow)
    pq.write_table(written, file, row_group_size=group)
    read = ours(file.getvalue(), "r.parquet")
    assert same(read, table)
    frame = pd.read_parquet(io.BytesIO(file.getvalue()))
    for row, text, score in zip(read, frame["text"], frame["narrow"], strict=True):
        assert row["text"] == (text.decode() if isinstance(text, bytes) else None if pd.isna(text) else text)
        number = row["narrow"]
        assert np.isnan(score) if number is None else np.float32(number) == score  # type: ignore[arg-type]
