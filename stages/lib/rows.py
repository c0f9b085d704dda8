"""Reads the rows of a .csv, .tsv, .jsonl, .json, .parquet or .xlsx file, each also .gz, as dictionaries."""

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import chain, islice
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.command import Refusal
from stages.lib.params import nearest
from stages.lib.resources import memory_is_full
from stages.lib.text import readable

Row = dict[str, object]

TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")
BINARY = (
    pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view
)  # fmt: skip
# Of a time in nanoseconds: what Python's str(datetime) leaves out.
ZERO_FRACTION = re.compile(r"\.0+$|(?<=\.\d{6})000$")
NESTED: dict[type, str] = {  # kinds of values that no cell with text may have
    bytes: "bytes that are not UTF-8",
    list: "a list",
    dict: "an object",
}
PEEKED = 2000  # lines of a .tsv that are looked at to tell whether its cells are in quotation marks


class Dialect(NamedTuple):
    """How the text of a .csv or .tsv is written. None: as its ending says, or as its lines look."""

    encoding: str = "utf-8"
    separator: str | None = None
    quotes: bool | None = None  # are cells with a separator in quotation marks?


UTF8 = Dialect()


def read(file: IO[bytes], name: str, where: str, dialect: Dialect = UTF8) -> Iterator[Row]:
    """The rows of an open table, in the format of the ending of `name`.

    Raises Refusal, with `where` and the line, on what is not in that encoding or not in that format.
    """
    name = name.lower()
    if name.endswith(".gz"):
        return _unpacked(file, name.removesuffix(".gz"), where, dialect)
    kind = name.rpartition(".")[2]
    if kind == "parquet":
        return _parquet(file, where)
    if kind == "xlsx":
        from stages.lib.spreadsheet import read_xlsx

        return read_xlsx(file, where)
    if kind == "json":
        return _json(file, where)
    lines = _lines(file, where, dialect.encoding)
    return _jsonl(lines, where) if kind == "jsonl" else _separated(lines, kind, where, dialect)


@contextmanager
def whole_gzip(where: str) -> Iterator[None]:
    """Raises Refusal if reading inside the block fails because a gzip file is damaged."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Refusal(f"{where}: not a whole gzip file: {error}; download or pack it again") from None


def _unpacked(file: IO[bytes], name: str, where: str, dialect: Dialect) -> Iterator[Row]:
    with whole_gzip(where), gzip.open(file) as unpacked:
        # A parquet file or a spreadsheet is not read from its beginning to its end.
        whole = name.endswith((".parquet", ".xlsx"))
        source = io.BytesIO(unpacked.read()) if whole else unpacked
        yield from read(source, name, where, dialect)  # type: ignore[arg-type]


def require(columns: Sequence[str], row: Mapping[str, object], where: str) -> None:
    """Raises Refusal unless the row has all columns."""
    for column in columns:
        if column not in row:
            raise Refusal(f"{where}: no column {column!r}{nearest(column, list(row), shown=repr)}")


def cell(row: Mapping[str, object], column: str, where: str, number: int) -> object:
    """The value of a cell. Raises Refusal, with `where` and the number of the review, if it is a list, an
    object or bytes, which have no plain text."""
    value = row.get(column)
    if (kind := NESTED.get(type(value))) is not None:
        raise Refusal(
            f"{where}, review {number}: column {column!r} has {kind} ({value!r:.40}); expected text or a "
            "number: name another column in source.yaml, or convert this one"
        )
    return value


def plain(row: Mapping[str, object], column: str, where: str, number: int) -> str | None:
    """`text_of` the `cell`, in one step for most cells."""
    value = row.get(column)
    if type(value) is str and value.isascii():
        return value.strip() or None
    return text_of(cell(row, column, where, number))


def text_of(value: object) -> str | None:
    """A label, split or id as text: 1, 1.0 and "1" are equal; an empty cell is None.

    >>> [text_of(value) for value in (1.0, "1 ", True, "", None)]
    ['1', '1', 'True', None, None]
    """
    if value is None or value != value:
        return None
    if isinstance(value, Decimal) and value.is_finite():
        value = format(value.normalize(), "f")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return readable(str(value)).strip() or None


def _lines(file: IO[bytes], where: str, encoding: str = "utf-8") -> Iterator[str]:
    if encoding != "utf-8":
        yield from _decoded(file, where, encoding)
        return
    for number, line in enumerate(file, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise Refusal(
                f"{where}, row {number}: not UTF-8 (byte {line[error.start]:#04x}, the {error.start + 1}. "
                "of the line); save the file as UTF-8, or name its encoding in source.yaml"
            ) from None


def _decoded(file: IO[bytes], where: str, encoding: str) -> Iterator[str]:
    text = io.TextIOWrapper(file, encoding, newline="")
    number = 1
    try:
        for line in text:
            yield line
            number += 1
    except UnicodeError:
        raise Refusal(
            f"{where}: not {encoding} (after row {number - 1}); correct `encoding` in source.yaml"
        ) from None
    finally:
        with suppress(ValueError):  # if it is closed already, since only some rows were read
            text.detach()  # the file is closed where it was opened


def is_quoted(lines: Sequence[str], separator: str) -> bool:
    """Whether cells of a table are in quotation marks, as pandas and spreadsheets write them.

    Some cell must begin with a quotation mark, and each that does must end with one and double those inside.

    >>> is_quoted(['a\\t"so ""good"", again"'], "\\t"), is_quoted(['a\\t"so good" again'], "\\t")
    (True, False)
    """
    cells = [cell for line in lines for cell in line.rstrip("\r\n").split(separator) if cell.startswith('"')]
    return bool(cells) and all(re.fullmatch(r'"(?:[^"]|"")*"', cell) for cell in cells)


def _separated(lines: Iterator[str], kind: str, where: str, dialect: Dialect) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    separator = dialect.separator or ("\t" if kind == "tsv" else ",")
    quotes = dialect.quotes
    if quotes is None:  # many tab-separated files have no quoting: quotation marks are part of the text
        seen = list(islice(lines, PEEKED)) if kind == "tsv" else []
        quotes, lines = kind == "csv" or is_quoted(seen, separator), chain(seen, lines)
    reader = (
        csv.reader(lines, delimiter=separator, strict=True)
        if quotes
        else csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
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
        reason = str(error)
        if "new-line character" in reason:  # Python's message is about its own way of opening files
            reason = "a carriage return outside quotation marks; save the table with the line ends of Unix"
        raise Refusal(f"{where}, row {reader.line_num}: {reason}") from None
    if not header:
        raise Refusal(f"{where}: the file is empty; expected a header line and one line per review")


def _json(file: IO[bytes], where: str) -> Iterator[Row]:
    try:
        content = json.loads(file.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refusal(f"{where}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "nested too deeply, or a number too long")
        raise Refusal(f"{where}: not JSON: {reason}; one object per line is .jsonl") from None
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        columns = list(content.values())
        if len(lists) == 1:  # {"data": [rows]}
            content = lists[0]
        elif columns and all(isinstance(value, dict) for value in columns):  # columns, as pandas writes them
            content = [{name: column.get(row) for name, column in content.items()} for row in columns[0]]
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise Refusal(f"{where}: found {content!r:.40}, expected a list of objects [{{...}}, ...]")
    if not content:
        raise Refusal(f"{where}: the file is empty; expected a list of objects, one per review")
    yield from content


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


@contextmanager
def whole_parquet(where: str) -> Iterator[None]:
    """Raises Refusal if reading inside the block fails because a parquet file is damaged or unsupported."""
    try:
        yield
    except (pa.ArrowException, ValueError, OverflowError, OSError, KeyError, IndexError) as error:
        if memory_is_full(error):
            raise
        raise Refusal(
            f"{where}: not a parquet file, damaged, or with types that cannot be read: {error!s:.200}; "
            "write it again, with text and numbers only"
        ) from None


def _parquet(file: IO[bytes], where: str) -> Iterator[Row]:
    with whole_parquet(where):
        for batch in pq.ParquetFile(file).iter_batches(1024):
            names = batch.schema.names
            if repeated := [name for n, name in enumerate(names) if name in names[:n]]:
                raise Refusal(f"{where}: column {repeated[0]!r} occurs twice; rename one")
            columns = [_values(column) for column in batch.columns]
            yield from (dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True))


def _values(column: pa.Array) -> list[object]:
    """The values of a parquet column in the types that the other formats have, as far as it can be done.

    Binary text is decoded, and a number of 32 bits is the one that it is written as: 0.1.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if any(is_kind(kind) for is_kind in BINARY):
        return [_decoded_or_bytes(value) for value in column.to_pylist()]
    if pa.types.is_float32(kind):
        column = column.cast(pa.string()).cast(pa.float64())
    try:
        values: list[object] = column.to_pylist()
    except (ValueError, OverflowError):  # nanoseconds, and years after 9999
        if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind)):
            raise
        values = [value and ZERO_FRACTION.sub("", value) for value in column.cast(pa.string()).to_pylist()]
    return values


def _decoded_or_bytes(value: bytes | None) -> str | bytes | None:
    try:
        return value if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return value
