"""What a table looks like: encodings, separators and columns."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from stages.lib.command import Refusal
from tools.sniff import columns_of, encoding_of, separator_of, splits_in

NONE: dict[str, str | None] = {}


def written(folder: Path, content: bytes, name: str = "r.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("Käse 🙃".encode(), "utf-8"),
        (b"\xef\xbb\xbf" + "Käse".encode(), "utf-8"),
        (("a" * (1 << 20) + "Käse").encode(), "utf-8"),
        ("Käse".encode("utf-16"), "utf-16"),
        ("text,label".encode("utf-16-le"), "utf-16-le"),
        ("text,label".encode("utf-16-be"), "utf-16-be"),
        ("Käse für 3 €".encode("cp1252"), "cp1252"),
        (b"K\x81se", "latin-1"),
        (b"", "utf-8"),
    ],
)
def test_the_encoding_is_found(tmp_path: Path, content: bytes, encoding: str) -> None:
    assert encoding_of(written(tmp_path, content)) == encoding


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_among_others_in_the_text(tmp_path: Path, separator: str) -> None:
    file = io.StringIO(newline="")
    rows = [(f"good, bad; or | both\t{n}", "ab"[n % 2]) for n in range(30)]
    csv.writer(file, delimiter=separator).writerows([("text", "label"), *rows])
    assert separator_of(written(tmp_path, file.getvalue().encode()), "utf-8") == separator


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_very_long_review_does_not_hide_the_separator(tmp_path: Path, encoding: str) -> None:
    content = f"text;label\nGood, für 3;pos\n{'long ' * 50_000};neg\nbad;neg\n"
    assert separator_of(written(tmp_path, content.encode(encoding)), encoding) == ";"


@pytest.mark.parametrize(("content", "match"), [(b"\n\n", "is empty"), (b"text\na\nb\n", "found one column")])
def test_a_file_without_separator_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    with pytest.raises(Refusal, match=match):
        separator_of(written(tmp_path, content), "utf-8")


def table(rows: int = 40, **columns: Any) -> list[dict[str, Any]]:
    """Rows with a text, and with what the functions of the row's number in `columns` return."""
    return [
        {"words": f"a rather long review, number {n}", **{name: of(n) for name, of in columns.items()}}
        for n in range(rows)
    ]


def test_columns_are_found_by_their_values() -> None:
    rows = table(
        id=lambda n: n,
        part=lambda n: ("train", "dev", "test")[n % 3],
        stars=lambda n: n % 5,
        title=lambda n: f"title {n}",
    )
    columns = columns_of(rows, NONE, "r.csv")
    assert columns == ("words", "stars", "part", "id", None, ())


def test_a_column_that_is_called_text_or_label_is_preferred() -> None:
    rows = table(Sentiment=lambda n: n % 20, likes=lambda n: n % 3, review_text=lambda n: f"short review {n}")
    columns = columns_of(rows, NONE, "r.csv")
    assert (columns.text, columns.label) == ("review_text", "Sentiment")


def test_other_columns_that_could_be_the_label_are_named() -> None:
    rows = table(colour=lambda n: "rgb"[n % 3], size=lambda n: "sl"[n % 2])
    columns = columns_of(rows, NONE, "r.csv")
    assert (columns.label, columns.others) == ("size", ("colour",))
    assert columns_of(rows, {"label": "colour"}, "r.csv").label == "colour"


def test_ids_that_repeat_are_not_used() -> None:
    assert columns_of(table(id=lambda n: n % 30, label=lambda n: n % 2), NONE, "r.csv").id is None


@pytest.mark.parametrize(
    ("rows", "named", "match"),
    [
        ([], NONE, "no rows below the header"),
        (table(label=lambda n: n % 2), {"text": "word"}, "no column 'word'; did you mean 'words'"),
        (table(number=lambda n: n), NONE, "none looks like a label; name one by --label, out of 'words'"),
        ([{"n": n, "m": n % 2} for n in range(40)], NONE, "no column has text"),
        ([{"a fine film": f"a film {n}", "good": "good"} for n in range(9)], {"label": "good"}, "no header"),
    ],
)
def test_a_table_without_text_or_label_is_refused(rows: Any, named: Any, match: str) -> None:
    with pytest.raises(Refusal, match=match):
        columns_of(rows, named, "r.csv")


def test_splits_are_known_by_several_names() -> None:
    assert splits_in(["Train", "val", "TEST", "unsup"]) == {
        "Train": "train", "val": "validation", "TEST": "test", "unsup": "unlabelled",
    }  # fmt: skip
    assert splits_in(["train", "train"]) == {}
