"""The first difference between two versions of an output, with both values.

.json           the path of the key
.csv            the line and the column
.parquet        the row and the column, both counted from 0
.safetensors    the tensor and the index in it
others          the offset of the byte, counted from 0
"""

import csv
import json
from collections.abc import Callable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from stages.lib.terminal import printable

SHOWN, BEFORE = 60, 15  # characters of a value, and of those before the difference in a longer one
BLOCK = 1 << 20  # bytes compared at a time
ABSENT = object()


def difference(recorded: Path, made: Path, name: str) -> str:
    """The first difference of two files that are not equal; `name` has the ending of their format."""
    compare = {".json": _json, ".csv": _csv, ".parquet": _parquet, ".safetensors": _safetensors}
    kind: Callable[[Path, Path], str] | None = compare.get(Path(name).suffix)
    if kind is None:
        return _bytes(recorded, made)
    try:
        return kind(recorded, made) or f"the same values, written otherwise: {_bytes(recorded, made)}"
    except (ValueError, OSError, RecursionError, pa.ArrowException, csv.Error, SafetensorError):
        return _bytes(recorded, made)


def values(a: Any, b: Any) -> str:
    """Two values as `A recorded, B made`; of long ones the part around the first difference.

    >>> values(0.5, "x")
    "0.5 recorded, 'x' made"
    """
    one, other = ("nothing" if value is ABSENT else repr(value) for value in (a, b))
    start = max(0, _common(one, other) - BEFORE) if max(len(one), len(other)) > SHOWN else 0
    parts = (
        ("…" if start else "") + text[start : start + SHOWN] + ("…" if len(text) > start + SHOWN else "")
        for text in (one, other)
    )
    return printable("{} recorded, {} made".format(*parts))


def _common(one: str | bytes, other: str | bytes) -> int:
    """How many characters or bytes two texts have in common at their beginnings."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def within(a: Any, b: Any, path: str = "") -> str:
    """The first difference of two values, lists or mappings, or the empty string.

    >>> within({"a": [1, 2]}, {"a": [1, 3]})
    'a[1]: 2 recorded, 3 made'
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        pairs = [(f"{path}.{key}".lstrip("."), a.get(key, ABSENT), b.get(key, ABSENT)) for key in {**a, **b}]
    elif isinstance(a, list) and isinstance(b, list):
        numbered = enumerate(zip_longest(a, b, fillvalue=ABSENT))
        pairs = [(f"{path}[{n}]", one, other) for n, (one, other) in numbered]
    else:
        equal = type(a) is type(b) and (a == b or a != a != b != b)  # NaN is not equal to itself
        return "" if equal else f"{printable(path)}{path and ': '}{values(a, b)}"
    return next((text for name, one, other in pairs if (text := within(one, other, name))), "")


def _json(recorded: Path, made: Path) -> str:
    return within(*(json.loads(path.read_bytes()) for path in (recorded, made)))


def _csv(recorded: Path, made: Path) -> str:
    with recorded.open(encoding="utf-8", newline="") as a, made.open(encoding="utf-8", newline="") as b:
        header: list[str] = []
        empty: list[str] = []
        lines = zip_longest(csv.reader(a), csv.reader(b), fillvalue=empty)
        for number, (one, other) in enumerate(lines, 1):
            header = header or one
            for n, cells in enumerate(zip_longest(one, other, fillvalue=ABSENT)):
                if cells[0] != cells[1]:
                    column = printable(header[n]) if n < len(header) else str(n)
                    return f"line {number}, column {column}: {values(*cells)}"
    return ""


def _parquet(recorded: Path, made: Path) -> str:
    a, b = pq.ParquetFile(recorded), pq.ParquetFile(made)
    kinds = [{field.name: str(field.type) for field in file.schema_arrow} for file in (a, b)]
    if text := within(kinds[0], kinds[1]):
        return f"column {text}"
    start = 0
    for one, other in zip(a.iter_batches(4096), b.iter_batches(4096), strict=False):
        rows = min(len(one), len(other))
        one, other = one.slice(0, rows), other.slice(0, rows)
        changed = {
            column: (one[column].to_pylist(), other[column].to_pylist())
            for column in one.schema.names
            if not one[column].equals(other[column])
        }
        for row in range(rows):
            for column, (left, right) in changed.items():
                if text := within(left[row], right[row]):
                    return f"row {start + row}, column {column}{'' if text[0] == '[' else ': '}{text}"
        start += rows
    counts = (a.metadata.num_rows, b.metadata.num_rows)
    return "" if counts[0] == counts[1] else f"number of rows: {values(*counts)}"


def _safetensors(recorded: Path, made: Path) -> str:
    with safe_open(recorded, "np") as a, safe_open(made, "np") as b:
        names = [{name: file.get_slice(name) for name in sorted(file.keys())} for file in (a, b)]
        kinds = [
            {name: f"{part.get_dtype()} {part.get_shape()}" for name, part in parts.items()}
            for parts in names
        ]
        if text := within(kinds[0], kinds[1]):
            return f"tensor {text}"
        for name in names[0]:
            one, other = a.get_tensor(name), b.get_tensor(name)
            if one.tobytes() != other.tobytes():
                index = _first_index(one, other)
                numbers = (array[tuple(index)].item() for array in (one, other))
                return f"tensor {name}, index {index}: {values(*numbers)}"
        text = within(a.metadata() or {}, b.metadata() or {})
        return f"metadata {text}" if text else ""


def _first_index(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> list[int]:
    """The index of the first element whose bytes differ."""
    width = (-1, one.dtype.itemsize)
    bits = [np.frombuffer(array.tobytes(), np.uint8).reshape(width) for array in (one, other)]
    flat = int((bits[0] != bits[1]).any(1).argmax())
    return [int(n) for n in np.unravel_index(flat, one.shape)]


def _bytes(recorded: Path, made: Path) -> str:
    offset = 0
    with recorded.open("rb") as a, made.open("rb") as b:
        while True:
            one, other = a.read(BLOCK), b.read(BLOCK)
            if one != other or not one:
                break
            offset += len(one)
    at = _common(one, other)
    start = max(0, at - BEFORE)
    parts = (part[start : at + BEFORE] for part in (one, other))
    if at == min(len(one), len(other)):
        sizes = (recorded.stat().st_size, made.stat().st_size)
        return f"byte {offset + at}: the end of the shorter one; {values(*sizes)} as the number of bytes"
    return f"byte {offset + at}: {values(one[at], other[at])}; in {values(*parts)}"
