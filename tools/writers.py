"""Writes rows as .csv, .tsv, .jsonl or .parquet in blocks; `stages.lib.rows` reads these files.

A file appears only when it is complete.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.command import Refusal
from stages.lib.files import atomic
from stages.lib.resources import memory_is_full
from stages.lib.rows import Row
from stages.lib.text import readable

FORMATS = ("csv", "tsv", "jsonl", "parquet")
Write = Callable[[Sequence[Row]], None]


def format_of(path: Path, option: str) -> str:
    """The format of a file, from the end of its name. Raises Refusal, with `option`, on any other name.

    >>> format_of(Path("reviews.CSV"), "--file")
    'csv'
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise Refusal(f"{option}: found {str(path)!r}, expected a name ending in .{', .'.join(FORMATS)}")
    return kind


@contextmanager
def writer(path: Path, schema: pa.Schema | None = None) -> Iterator[Write]:
    """A function that appends rows to a file, which appears at `path` when the block ends without an error.

    All rows have the columns of the first row, except in .jsonl, where each row has its own. `schema` is
    that of a parquet file; by default it is inferred from the first rows. The function raises Refusal on
    rows that the format cannot store.
    """
    kind = format_of(path, "--output")
    with atomic(path) as temporary:
        if kind == "parquet":
            with _parquet(temporary, path, schema) as write:
                yield write
        else:
            # Half an emoji, which JSON can hold: an escape in JSON, and a question mark elsewhere.
            lacking = "backslashreplace" if kind == "jsonl" else "replace"
            with temporary.open("w", encoding="utf-8", errors=lacking, newline="") as file:
                if kind == "jsonl":
                    yield lambda rows: file.writelines(f"{_json(row)}\n" for row in rows)
                elif kind == "csv":
                    yield _separated(path, csv.writer(file, lineterminator="\n").writerows)
                else:
                    yield _separated(path, lambda rows: file.writelines(_tabbed(row, path) for row in rows))


def _separated(path: Path, write: Callable[[Sequence[Sequence[Any]]], object]) -> Write:
    header: list[str] = []

    def add(rows: Sequence[Row]) -> None:
        if not header:
            header.extend(rows[0])
            write([header])
        write([_cells(row, header, path) for row in rows])

    return add


def _cells(row: Row, header: Sequence[str], path: Path) -> list[Any]:
    if len(row) > len(header) or (row.keys() - set(header)):
        other = next(name for name in row if name not in header)
        raise Refusal(f"{path}: column {other!r} is in a later row but not in the first; write .jsonl")
    return [_json(value) if isinstance(value, list | dict) else value for value in map(row.get, header)]


def _tabbed(cells: Sequence[Any], path: Path) -> str:
    texts = ["" if cell is None else str(cell) for cell in cells]
    for text in texts:
        if "\t" in text or "\n" in text or "\r" in text:
            raise Refusal(f"{path}: found a tab or a line break in {text[:40]!r}; write .csv")
    return "\t".join(texts) + "\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _encodable(value: Any) -> Any:
    """The value without text that UTF-8 cannot encode."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {readable(key): _encodable(item) for key, item in value.items()}
    return value


@contextmanager
def _parquet(temporary: Path, path: Path, schema: pa.Schema | None) -> Iterator[Write]:
    file: pq.ParquetWriter | None = None

    def add(rows: Sequence[Row]) -> None:
        nonlocal file
        try:
            table = pa.Table.from_pylist(_encodable(list(rows)), schema if file is None else file.schema)
            file = file or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            file.write_table(table)
        except (pa.ArrowException, OverflowError) as error:  # OverflowError: an integer of over 64 bits
            if memory_is_full(error):
                raise
            raise Refusal(f"{path}: the rows do not fit into one table ({error}); write .jsonl") from None

    try:
        yield add
    finally:
        if file is not None:
            file.close()
