"""tools.new: tables of every kind become corpora, and nothing else does."""

import gzip
import json
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
import yaml
from dvc.repo import Repo

from stages.lib.command import Refusal
from stages.lib.corpora import is_corpus_name, read_source
from tests.conftest import ROOT
from tests.test_spreadsheet import SHEET
from tools import new, revisions

GERMAN = ("schön 😀", "öde 😡")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped params, in which DVC is left out."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(new, "add_to_dvc", lambda folder: None)
    return tmp_path


@pytest.mark.filterwarnings("error")
def test_dvc_keeps_a_corpus_where_warnings_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Repo.init().close()
    Path("data/shop").mkdir(parents=True)
    Path("data/shop/rows.csv").write_text("text,label", encoding="utf-8")
    new.add_to_dvc(Path("data/shop"))
    assert Path("data/shop.dvc").is_file()
    assert capsys.readouterr().out == ""


def test_a_process_of_dvc_does_not_treat_warnings_as_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    run = Mock(return_value=Mock(returncode=3))
    monkeypatch.setattr(subprocess, "run", run)
    assert revisions.dvc("status") == 3
    assert run.call_args.args[0][-1] == "status"
    assert "PYTHONWARNINGS" not in run.call_args.kwargs["env"]


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_does_not_treat_warnings_as_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    command = ["make", "--eval", 'show:; @echo "<$$PYTHONWARNINGS>"', "show"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "<>" in printed.splitlines()  # `make test` has lines on the folder as well


def rows_of(number: int = 120, labels: tuple[Any, ...] = ("no", "yes")) -> list[dict[str, Any]]:
    return [
        {"Review Text": f'A "good", or; bad kettle | number {n}', "recommended": labels[n % len(labels)]}
        for n in range(number)
    ]


def as_xlsx(path: Path, rows: list[dict[str, Any]]) -> None:
    import zipfile
    from xml.sax.saxutils import escape

    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    cells = [
        "<row>"
        + "".join(f'<c t="inlineStr"><is><t>{escape(str(cell))}</t></is></c>' for cell in row)
        + "</row>"
        for row in table
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", SHEET.format("".join(cells)))


def written(name: str, rows: list[dict[str, Any]]) -> str:
    path, table = Path("in") / name, pd.DataFrame(rows)
    kind = name.removesuffix(".gz").rpartition(".")[2]
    if kind == "xlsx":
        as_xlsx(path, rows)
    elif kind == "parquet":
        table.to_parquet(path)
    elif kind == "json":
        table.to_json(path)
    elif kind in ("jsonl", "ndjson"):
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep={"tsv": "\t", "txt": ";"}.get(kind, ","))
    return str(path)


@pytest.mark.parametrize(
    "name",
    [
        "r.csv", "r.csv.gz", "r.tsv", "r.tsv.gz", "r.jsonl", "r.jsonl.gz", "r.json", "r.json.gz", "r.parquet",
        "r.xlsx", "r.txt", "r.ndjson",
    ],
)  # fmt: skip
def test_every_format_gives_the_same_corpus(
    project: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new.main([written(name, rows_of())])
    shown = capsys.readouterr().out
    assert "text      column 'Review Text'" in shown
    assert "label     column 'recommended'" in shown
    assert "label     'yes', 60 rows" in shown
    assert "positive  'yes'" in shown
    assert "reviews   test 23, train 86, validation 11" in shown
    assert "warning: validation has 11 of the reviews" in shown
    assert shown.rstrip().endswith("dvc exp run -S corpus=r")
    source = read_source(project / "data/corpora/r")
    assert source.positive == "yes"
    assert [path.name for path in (project / "data/corpora").iterdir()] == ["r"]


def test_a_csv_stars_and_german_with_emoji_are_understood(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new.main([written("Shop Reviews (2).csv", rows_of())])
    assert "data/corpora/shop_reviews_2/source.yaml: shop_reviews_2.csv (utf-8)" in capsys.readouterr().out
    stars = [{"stars": n % 5 + 1, "body": f"A kettle, number {n}"} for n in range(200)]
    new.main([written("stars.jsonl", stars)])
    assert "order     1 < 2 < 3 < 4 < 5" in capsys.readouterr().out
    german = [
        {"satz": f"Der Film war {GERMAN[n % 2]}, {n}", "meinung": ("gut", "schlecht")[n % 2]}
        for n in range(99)
    ]
    new.main([written("filme.tsv", german)])
    assert "label     'schlecht', 49 rows" in capsys.readouterr().out


def test_another_encoding_and_separator_are_written_down(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["Tëxt;no", *(f"Käse {n};{'ab'[n % 2]}" for n in range(99))]
    Path("in/r.csv").write_bytes("\n".join(lines).encode("cp1252"))
    new.main(["in/r.csv"])
    assert "r.csv (cp1252, separated by semicolon)" in capsys.readouterr().out
    source = read_source(project / "data/corpora/r")
    assert (source.encoding, source.separator) == ("cp1252", ";")
    assert source.columns is not None
    assert (source.columns.text, source.columns.label) == ("Tëxt", "no")


def test_splits_are_mapped_and_columns_may_be_named(project: Path) -> None:
    rows = [
        row | {"part": ("train", "train", "dev", "test")[n % 4], "shop": n % 3}
        for n, row in enumerate(rows_of())
    ]
    new.main([written("r.csv", rows), "--group", "shop", "--name", "mine"])
    source = read_source(project / "data/corpora/mine")
    assert source.columns is not None
    assert (source.columns.split, source.columns.group) == ("part", "shop")
    assert source.splits == {"dev": "validation"}


def test_a_large_table_is_referred_to(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new, "LARGE", 10)
    new.main([written("r.csv", rows_of())])
    source = read_source(project / "data/corpora/r")
    assert source.path == str(project / "in/r.csv")
    assert source.checksum is not None
    assert [path.name for path in (project / "data/corpora/r").iterdir()] == ["source.yaml"]


@pytest.mark.parametrize(
    ("rows", "preset"),
    [
        ([("很好吃" + str(n), n % 2) for n in range(99)], "-S tokens.unit=characters"),
        ([("word " * 150 + str(n), n % 2) for n in range(5000)], "$(cat presets/long.args)"),
    ],
)
def test_a_preset_is_proposed(
    project: Path, rows: list[Any], preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new.main([written("r.csv", [{"text": text, "label": label} for text, label in rows])])
    assert capsys.readouterr().out.rstrip().endswith(f"dvc exp run -S corpus=r {preset}")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("r.csv", b"", r"^r\.csv: the file is empty"),
        ("r.csv", b"text\na\nb\n", r"^r\.csv: found one column"),
        ("r.csv", b"text,text\na,b\n", "column 'text' occurs twice"),
        ("r.csv", b"text,label\n" + b"a,b\n" * 30, "found the labels"),
        ("r.csv.gz", gzip.compress(b"text,label\n" * 999, mtime=0)[:-9], "not a whole gzip file"),
        ("r.json", json.dumps({"a": 1}).encode(), "expected a list of objects"),
        ("r.png", b"", "found a file of the kind 'png', expected one of .csv"),
    ],
)
def test_what_is_no_corpus_is_refused_and_leaves_nothing(
    project: Path, name: str, content: bytes, match: str
) -> None:
    Path("in", name).write_bytes(content)
    with pytest.raises(Refusal, match=match):
        new.main([f"in/{name}"])
    assert list((project / "data/corpora").iterdir()) == []


def test_a_corpus_is_replaced_only_if_asked_and_kept_if_the_new_one_is_refused(project: Path) -> None:
    table = written("r.csv", rows_of())
    new.main([table])
    with pytest.raises(Refusal, match="exists already; give another --name, or --replace it"):
        new.main([table])
    before = (project / "data/corpora/r/r.csv").read_bytes()
    Path(table).write_text("text\n")
    with pytest.raises(Refusal, match="one column"):
        new.main([table, "--replace"])
    assert (project / "data/corpora/r/r.csv").read_bytes() == before
    new.main([written("r.csv", rows_of(90)), "--replace"])
    assert (project / "data/corpora/r/r.csv").read_bytes() != before


@pytest.mark.parametrize("name", ["../x", "sample", "a b", "a;b", "$(a)", "-a", "é", "a\n"])
def test_a_name_that_is_no_folder_or_taken_is_refused(project: Path, name: str) -> None:
    with pytest.raises(Refusal, match="--name: found"):
        new.main([written("r.csv", rows_of()), f"--name={name}"])


def test_the_name_of_a_file_becomes_a_name_that_check_accepts() -> None:
    for table in ("a;touch X.csv", "$(touch X).csv", "-a.csv", ".csv", "отзывы.csv", "\n.csv", "é b.csv"):
        assert is_corpus_name(new.name_for(table))


def test_text_that_yaml_reads_as_something_else_is_quoted() -> None:
    source = {"columns": {"text": "1e5", "label": "yes", "id": "null", "split": "a: b # c"}, "file": "r.csv"}
    text = new.as_yaml(source)
    assert yaml.safe_load(text) == source
    assert yaml.load(text, new.Loader) == source


def test_a_url_that_cannot_be_reached_is_refused(project: Path) -> None:
    with pytest.raises(Refusal, match=r"cannot download http://127\.0\.0\.1:9/r\.csv: ConnectionError"):
        new.main(["http://127.0.0.1:9/r.csv"])
