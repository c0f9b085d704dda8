"""Reads the rows of a spreadsheet: the cells of the first sheet of an .xlsx file, by the standard library."""

import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO
from xml.etree import ElementTree  # nosec B405  # entities are refused below

from stages.lib.command import Refusal

MOST_BYTES = 1 << 30  # of a part when unpacked; a small file may hold an enormous one
SHEET = re.compile(r"xl/worksheets/sheet(\d+)\.xml")
TEXTS = "xl/sharedStrings.xml"


def read_xlsx(file: IO[bytes], where: str) -> Iterator[dict[str, object]]:
    """The rows below the header of the first sheet. Raises Refusal on what is no spreadsheet.

    Dates are numbers there: days since 1900.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            sheets = sorted((name for name in names if SHEET.fullmatch(name)), key=_number)
            if not sheets:
                raise Refusal(f"{where}: found no sheet in it; save it as .xlsx or .csv")
            texts = [_text(item) for item in _part(archive, TEXTS, where)] if TEXTS in names else []
            rows = [_cells(row, texts) for row in _part(archive, sheets[0], where).iterfind(".//{*}row")]
    except (zipfile.BadZipFile, zlib.error, ElementTree.ParseError, EOFError) as error:
        raise Refusal(f"{where}: not a whole .xlsx file: {error}; save it again") from None
    except (RuntimeError, NotImplementedError, ValueError, LookupError, OSError, MemoryError) as error:
        reason = str(error) or "it takes too much memory"
        raise Refusal(f"{where}: cannot read this .xlsx: {reason}; save it as .csv") from None
    rows = [row for row in rows if any(value is not None for value in row.values())]
    if len(rows) < 2:
        raise Refusal(f"{where}: the first sheet is empty; expected a header row and one row per review")
    header = {column: str(name) for column, name in rows[0].items() if name is not None}
    names = list(header.values())
    if repeated := [name for n, name in enumerate(names) if name in names[:n]]:
        raise Refusal(f"{where}: column {repeated[0]!r} occurs twice; rename one")
    for row in rows[1:]:
        yield {name: row.get(column) for column, name in header.items()}


def _number(name: str) -> int:
    matched = SHEET.fullmatch(name)
    return int(matched[1]) if matched else 0


def _part(archive: zipfile.ZipFile, name: str, where: str) -> ElementTree.Element:
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise Refusal(f"{where}: {name} is larger than {MOST_BYTES:,} bytes; save it as .csv")
    content = archive.read(name)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # no spreadsheet needs them, and attacks do
        raise Refusal(f"{where}: {name} declares XML entities; refused, save it as .csv")
    return ElementTree.fromstring(content)  # nosec B314  # without entities, see above


def _text(item: ElementTree.Element) -> str:
    """The text of a string, which may be in several formats."""
    return "".join(part.text or "" for part in item.iterfind(".//{*}t"))


def _cells(row: ElementTree.Element, texts: list[str]) -> dict[str, object]:
    """The values of a row by the letters of their columns."""
    cells: dict[str, object] = {}
    for position, cell in enumerate(row.iterfind("{*}c")):
        column = re.sub(r"\d", "", cell.get("r", "")) or str(position)
        cells[column] = _value(cell, texts)
    return cells


def _value(cell: ElementTree.Element, texts: list[str]) -> object:
    kind, content = cell.get("t", "n"), cell.find("{*}v")
    if kind == "inlineStr":
        return _text(cell)
    if content is None or content.text is None:
        return None
    if kind == "s":
        return texts[int(content.text)]
    if kind == "n":
        return float(content.text)
    return {"0": "False", "1": "True"}.get(content.text, content.text) if kind == "b" else content.text
