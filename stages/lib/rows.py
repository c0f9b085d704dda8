"""Reads the rows of a .csv, .tsv, .jsonl or .parquet file as dictionaries."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.command import Refusal
from stages.lib.params import nearest
from stages.lib.text import readable

Row = dict[str, object]


def read(file: IO[bytes], name: str, where: str) -> Iterator[Row]:
    """The rows of an open table, in the format of the ending of `name`.

    Raises Refusal, with `where` and the line, on what is not UTF-8 or not in that format.
    """
    kind = name.lower().rpartition(".")[2]
    if kind == "parquet":
        return _parquet(file, where)
    lines = _lines(file, where)
    return _jsonl(lines, where) if kind == "jsonl" else _separated(lines, kind, where)


def require(columns: Sequence[str], row: Mapping[str, object], where: str) -> None:
    """Raises Refusal unless the row has all columns."""
    for column in columns:
        if column not in row:
            raise Refusal(f"{where}: no column {column!r}{nearest(column, list(row))}")


def text_of(value: object) -> str | None:
    """A label, split or id as text: 1, 1.0 and "1" are equal; an empty cell is None.

    >>> [text_of(value) for value in (1.0, "1 ", True, "", None)]
    ['1', '1', 'True', None, None]
    """
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return readable(str(value)).strip() or None


def _lines(file: IO[bytes], where: str) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise Refusal(
                f"{where}, row {number}: not UTF-8 (byte {line[error.start]:#04x}, the {error.start + 1}. "
                "of the line); save the file as UTF-8"
            ) from None


def _separated(lines: Iterator[str], kind: str, where: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    # A tab-separated file has no quoting: quotation marks are part of the text.
    reader = (
        csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if kind == "tsv"
        else csv.reader(lines, strict=True)
    )
    header: list[str] = []
    try:
        for cells in reader:
            if not header:
                header = cells
                if repeated := [name for n, name in enumerate(header) if name in header[:n]]:
                    raise Refusal(f"{where}: column {repeated[0]!r} occurs twice; rename one")
            elif cells:
                if len(cells) != len(header):
                    raise Refusal(
                        f"{where}, row {reader.line_num}: {len(cells)} cells, but the header has "
                        f"{len(header)}; put quotation marks around text that contains a separator"
                    )
                yield dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise Refusal(f"{where}, row {reader.line_num}: {error}") from None
    if not header:
        raise Refusal(f"{where}: the file is empty; expected a header line and one line per review")


def _jsonl(lines: Iterator[str], where: str) -> Iterator[Row]:
    number = 0
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", "nested too deeply, or a number too long")
                raise Refusal(f"{where}, row {number}: not JSON: {reason}") from None
            if not isinstance(row, dict):
                raise Refusal(f"{where}, row {number}: found {row!r:.40}, expected an object {{...}}")
            yield row
    if not number:
        raise Refusal(f"{where}: the file is empty; expected one JSON object per line")


def _parquet(file: IO[bytes], where: str) -> Iterator[Row]:
    try:
        for batch in pq.ParquetFile(file).iter_batches(1024):
            yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise Refusal(f"{where}: not a parquet file: {error}") from None
