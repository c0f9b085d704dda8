"""Rows: tables of all formats read row by row, and errors reported with their row."""

import csv
import gzip
import io
import json
from collections.abc import Iterable
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.command import Refusal
from stages.lib.rows import Dialect, Row, read, require, text_of

CELLS = st.text(max_size=12)
PLAIN = st.text(
    st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), min_size=1, max_size=12
)
JSON = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), CELLS)


def table(name: str, content: bytes | str) -> list[Row]:
    data = content.encode() if isinstance(content, str) else content
    return list(read(io.BytesIO(data), name, "folder/file"))


def as_csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", 'text,label\n"good, and ""long""",1\nbad,0\n'),
        ("r.CSV", '\ufefftext,label\r\n"good, and ""long""",1\r\n\r\nbad,0'),
        ("r.tsv", 'text\tlabel\ngood, and "long"\t1\nbad\t0\n'),
        ("r.tsv", '\ufefftext\tlabel\r\ngood, and "long"\t1\r\nbad\t0\r\n'),
        ("r.jsonl", '{"text": "good, and \\"long\\"", "label": "1"}\n\n{"text": "bad", "label": "0"}\n'),
        ("r.jsonl", '\ufeff{"text": "good, and \\"long\\"", "label": "1"}\r\n{"text": "bad", "label": "0"}'),
    ],
)
def test_all_text_formats_give_the_expected_rows(name: str, content: str) -> None:
    assert table(name, content) == [{"text": 'good, and "long"', "label": "1"}, {"text": "bad", "label": "0"}]


def test_parquet_rows_are_read_across_row_groups() -> None:
    file = io.BytesIO()
    numbers = list(range(3000))
    pq.write_table(pa.table({"text": [str(n) for n in numbers], "label": numbers}), file, row_group_size=700)
    assert table("r.parquet", file.getvalue()) == [{"text": str(n), "label": n} for n in numbers]


def test_tsv_cells_may_contain_a_single_quotation_mark() -> None:
    assert table("r.tsv", 'text\n"\na " b\n') == [{"text": '"'}, {"text": 'a " b'}]


def test_quoted_cells_may_contain_line_breaks_and_commas() -> None:
    assert table("r.csv", 'text,label\n"a,\r\nb\n",1\n') == [{"text": "a,\r\nb\n", "label": "1"}]


def test_cells_may_exceed_the_default_limit_of_csv() -> None:
    assert len(str(table("r.csv", f"text\n{'x' * 200_000}\n")[0]["text"])) == 200_000


@given(rows=st.lists(st.tuples(CELLS, CELLS)))
@settings(deadline=None)
def test_csv_round_trip(rows: list[tuple[str, str]]) -> None:
    assert table("r.csv", as_csv([("a", "b"), *rows])) == [{"a": a, "b": b} for a, b in rows]


@given(rows=st.lists(st.tuples(PLAIN, PLAIN)))
@settings(deadline=None)
def test_tsv_round_trip(rows: list[tuple[str, str]]) -> None:
    lines = "".join(f"{a}\t{b}\n" for a, b in [("a", "b"), *rows])
    assert table("r.tsv", lines) == [{"a": a, "b": b} for a, b in rows]


@given(rows=st.lists(st.dictionaries(CELLS, JSON), min_size=1))
@settings(deadline=None)
def test_jsonl_round_trip(rows: list[Row]) -> None:
    assert table("r.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)) == rows


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("r.csv", b"", "the file is empty"),
        ("r.csv", b"\n\r\n", "the file is empty"),
        ("r.tsv", b"", "the file is empty"),
        ("r.jsonl", b"", "the file is empty"),
        ("r.parquet", b"", "not a parquet file"),
        ("r.parquet", b"text,label\n", "not a parquet file"),
        ("r.csv", b"text,label\na,1\nb,1,2\n", "row 3: 3 cells, but the header has 2; put quotation marks"),
        ("r.csv", b'text,label\n"a\nb",1\nb\n', "row 4: 1 cells, but the header has 2"),
        ("r.csv", b'text,label\na,1\n"b,1\n', "row 3: unexpected end of data"),
        ("r.csv", b'text,label\n"a"b,1\n', "row 2: "),
        (
            "r.csv",
            b"text,label\ra,1\rb,2",
            "row [01]: a carriage return outside quotation marks; save the table with",
        ),
        ("r.tsv", b"text\tlabel\na\tb\t1\n", "row 2: 3 cells, but the header has 2"),
        ("r.csv", "text,label\na,1\nnaïve,1\n".encode("latin-1"), r"row 3: not UTF-8 \(byte 0xef, the 3\."),
        ("r.csv", "text,label\na,1\n".encode("utf-16"), r"row 1: not UTF-8 \(byte 0xff, the 1\."),
        ("r.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "row 2: not UTF-8"),
        ("r.jsonl", b'{"a": 1}\n{"a": 1,}\n', "row 2: not JSON"),
        ("r.jsonl", b'{"a": 1}\n\n{"a": 1\n', "row 3: not JSON"),
        ("r.jsonl", b'{"a": 1}\n["a", 1]\n', r"row 2: found \['a', 1\], expected an object"),
        ("r.jsonl", b"null\n", "row 1: found None"),
        ("r.jsonl", b"[" * 100_000, "row 1"),
    ],
)
def test_invalid_files_are_refused_with_the_row(name: str, content: bytes, match: str) -> None:
    with pytest.raises(Refusal, match=f"^folder/file(, |: ){match}"):
        table(name, content)


@given(content=st.binary(max_size=60), name=st.sampled_from(["r.csv", "r.tsv", "r.jsonl", "r.parquet"]))
@settings(deadline=None)
def test_any_bytes_give_rows_or_a_refusal(content: bytes, name: str) -> None:
    with suppress(Refusal):
        assert all(isinstance(row, dict) for row in table(name, content))


def test_rows_before_an_invalid_one_are_returned() -> None:
    rows = read(io.BytesIO(b"text\na\nb\xff\n"), "r.csv", "file")
    assert next(rows) == {"text": "a"}
    with pytest.raises(Refusal, match="row 3"):
        next(rows)


@pytest.mark.parametrize(
    ("expected", "match"),
    [
        ("txt", r"file: no column 'txt'; did you mean 'text'\? Allowed: 'text', 'label'"),
        ("Label", "no column 'Label'; did you mean 'label'"),
        ("zzz", "no column 'zzz'; Allowed: 'text', 'label'"),
    ],
)
def test_a_missing_column_is_refused_with_the_nearest_name(expected: str, match: str) -> None:
    require(["text", "label"], {"text": "a", "label": None}, "file")
    with pytest.raises(Refusal, match=match):
        require(["text", expected], {"text": "a", "label": None}, "file")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        (" 1 ", "1"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (0, "0"),
        (False, "False"),
        ("good film", "good film"),
        ("", None),
        (" \t", None),
        (None, None),
        (float("nan"), None),
        (float("inf"), "inf"),
    ],
)
def test_labels_of_any_type_become_text_or_none(value: object, text: str | None) -> None:
    assert text_of(value) == text


@given(number=st.integers(-(2**53), 2**53))
@settings(deadline=None)
def test_an_integer_label_is_equal_in_every_type(number: int) -> None:
    assert text_of(number) == text_of(float(number)) == text_of(str(number)) == str(number)


def test_the_encoding_and_the_separator_may_be_given() -> None:
    content = "text|label\nKäse für 3 €|good\n".encode("cp1252")
    dialect = Dialect(encoding="cp1252", separator="|")
    assert list(read(io.BytesIO(content), "r.csv", "r.csv", dialect)) == [
        {"text": "Käse für 3 €", "label": "good"}
    ]
    with pytest.raises(
        Refusal, match=r"r\.csv: not ascii \(after row 0\); correct `encoding` in source\.yaml"
    ):
        list(read(io.BytesIO(b"text,label\n\xe4,b\n"), "r.csv", "r.csv", Dialect(encoding="ascii")))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"a ""good"" film"', 'a "good" film'),  # as pandas writes it
        ('"good" film', '"good" film'),
        ('6" of rain', '6" of rain'),
    ],
)
def test_a_tsv_is_unquoted_if_all_its_quotation_marks_are_those_of_cells(cell: str, text: str) -> None:
    content = f"text\tlabel\n{cell}\tx\nplain\ty\n".encode()
    assert [row["text"] for row in read(io.BytesIO(content), "r.tsv", "r.tsv")] == [text, "plain"]
    as_it_is = read(io.BytesIO(content), "r.tsv", "r.tsv", Dialect(quotes=False))
    assert next(as_it_is)["text"] == cell


def test_json_is_a_list_of_rows_or_the_columns_of_pandas() -> None:
    expected = [{"text": "a", "label": 1}, {"text": "b", "label": 2}]
    for content in (
        expected,
        {"data": expected, "version": "1"},
        {"text": {"0": "a", "1": "b"}, "label": {"0": 1, "1": 2}},
    ):
        file = io.BytesIO(json.dumps(content).encode())
        assert list(read(file, "r.json", "r.json")) == expected


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"[1]", "expected a list of objects"), (b"[]", "is empty"), (b"{", "not JSON"), (b"\xff", "not UTF-8")],
)
def test_json_that_is_no_table_is_refused(content: bytes, match: str) -> None:
    with pytest.raises(Refusal, match=match):
        list(read(io.BytesIO(content), "r.json", "r.json"))


@pytest.mark.parametrize("name", ["r.csv.gz", "r.parquet.gz"])
def test_a_packed_table_is_unpacked_while_it_is_read(name: str) -> None:
    file = io.BytesIO()
    if "parquet" in name:
        pq.write_table(pa.table({"text": ["a"], "label": ["b"]}), file)
    else:
        file.write(b"text,label\na,b\n")
    packed = gzip.compress(file.getvalue())
    assert list(read(io.BytesIO(packed), name, name)) == [{"text": "a", "label": "b"}]
    with pytest.raises(Refusal, match="not a whole gzip file"):
        list(read(io.BytesIO(packed[:-9]), name, name))
