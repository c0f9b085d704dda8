"""Spreadsheets: cells of every type, and what is no spreadsheet."""

import io
import zipfile
from typing import Any

import pytest

from stages.lib import rows
from stages.lib.command import Refusal

SHEET = """<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">
<sheetData>{}</sheetData></worksheet>"""
TEXTS = """<?xml version="1.0"?><sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">
<si><t>text</t></si><si><t>stars</t></si><si><r><t>A bold </t></r><r><t>film 🙃</t></r></si></sst>"""
ROWS = """<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>
<row r="2"><c r="A2" t="s"><v>2</v></c><c r="B2"><v>5</v></c></row>
<row r="3"><c r="B3"><v>1.5</v></c></row>
<row r="4"><c r="A4" t="inlineStr"><is><t>plain</t></is></c><c r="B4" t="b"><v>1</v></c></row>
<row r="5"/>"""


def xlsx(sheet: str = ROWS, **others: str) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet2.xml", SHEET.format(""))
        archive.writestr("xl/worksheets/sheet1.xml", SHEET.format(sheet))
        for name, content in {"sharedStrings": TEXTS, **others}.items():
            archive.writestr(f"xl/{name}.xml", content)
    file.seek(0)
    return file


def read(file: io.BytesIO) -> list[dict[str, Any]]:
    return list(rows.read(file, "r.xlsx", "r.xlsx"))


def test_cells_of_every_type_are_read_from_the_first_sheet() -> None:
    assert read(xlsx()) == [
        {"text": "A bold film 🙃", "stars": 5.0},
        {"text": None, "stars": 1.5},
        {"text": "plain", "stars": "True"},
    ]


@pytest.mark.parametrize(
    ("file", "match"),
    [
        (io.BytesIO(b"no zip"), "not a whole .xlsx file"),
        (xlsx(""), "the first sheet is empty"),
        (xlsx(ROWS[:130]), "not a whole .xlsx file"),
        (xlsx(sharedStrings="<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"), "declares XML entities; refused"),
        (xlsx(ROWS.replace("<v>2</v>", "<v>9</v>")), "cannot read this .xlsx"),
        (xlsx(ROWS.replace('B1" t="s"><v>1', 'B1" t="s"><v>0')), "column 'text' occurs twice"),
    ],
)
def test_what_is_no_spreadsheet_is_refused(file: io.BytesIO, match: str) -> None:
    with pytest.raises(Refusal, match=match):
        read(file)


def test_an_enormous_part_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.lib.spreadsheet.MOST_BYTES", 100)
    with pytest.raises(Refusal, match="larger than 100 bytes"):
        read(xlsx())
