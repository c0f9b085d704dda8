"""Damaged files of every kind: each reader gives what is in them or refuses them, and raises nothing else.

`make fuzz` (tests/fuzz.py) does the same for as long as one likes.
"""

import gc
import io
import json
import os
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import TRAIN
from stages.lib.command import Refusal
from stages.lib.corpora import archive_members
from stages.lib.files import read_json
from stages.lib.store import Store, disk_checked
from stages.lib.tables import read_batches
from tests.fuzz import ODD, changed, read
from tests.odd_files import LABELS, SEEDS, plain_parquet, tarred, zipped

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))  # of each kind
EDIT = st.tuples(
    st.floats(0, 1),  # where
    st.integers(0, 8),  # how many bytes are taken out there
    st.binary(max_size=4) | st.sampled_from(ODD),  # what is put in
)


@pytest.mark.parametrize("name", SEEDS)
def test_an_undamaged_file_is_read(tmp_path: Path, name: str) -> None:
    for content in SEEDS[name]:
        (tmp_path / name).write_bytes(content)
        read(tmp_path / name)


@pytest.mark.parametrize("name", SEEDS)
@given(
    seed=st.integers(0, 9), edits=st.lists(EDIT, min_size=1, max_size=4), cut=st.floats(0.2, 1) | st.just(1.0)
)
@settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, name: str, seed: int, edits: list[tuple[float, int, bytes]], cut: float
) -> None:
    content = changed(SEEDS[name][seed % len(SEEDS[name])], edits, name)
    path = tmp_path / name
    path.write_bytes(content[: int(cut * len(content))])
    with suppress(Refusal):
        read(path)


def refusal_of(path: Path, content: bytes, reader: Callable[[Path], object] = read) -> str:
    path.write_bytes(content)
    with pytest.raises(Refusal) as caught:
        reader(path)
    message = str(caught.value)
    assert str(path) in message
    return message


def test_a_zip_with_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    content = zipped({"pos/é.txt": b"a film"}).replace("é".encode(), b"\xff\xfe")
    assert "damaged archive" in refusal_of(tmp_path / "r.zip", content)


def test_a_zip_with_an_empty_name_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", "film")
        archive.filelist[0].filename = ""
    assert "an empty name" in refusal_of(tmp_path / "r.zip", file.getvalue())


def test_a_tar_with_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("pos/é.txt"))
    assert "is not a name in UTF-8" in refusal_of(tmp_path / "r.tar", file.getvalue())


@pytest.mark.parametrize(
    "pax",
    [
        {"size": "many"},
        {"GNU.sparse.map": "a,b"},
        {"GNU.sparse.size": "x", "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,1"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4"},
    ],
)
def test_a_tar_with_numbers_that_are_none_is_refused_or_read(tmp_path: Path, pax: dict[str, str]) -> None:
    (tmp_path / "r.tar").write_bytes(tarred(pax))
    with suppress(Refusal):
        list(archive_members(tmp_path / "r.tar"))


def test_a_table_with_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    damaged = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    pq.write_table(pa.table({"text": damaged}), file)
    message = refusal_of(
        tmp_path / "table.parquet", file.getvalue(), lambda path: list(read_batches(path, ["text"]))
    )
    assert "dvc repro" in message


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    content = plain_parquet().replace(b"tokens", b"tokenz")
    assert "dvc repro" in refusal_of(tmp_path / "table.parquet", content)


@pytest.mark.parametrize("content", [b"9" * 5000 + b" 2\nthe 1 2\n", b"2 " + b"9" * 5000 + b"\nthe 1 2\n"])
def test_a_vector_file_with_a_header_of_5000_digits_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "a number of 5,000 digits" in refusal_of(tmp_path / "a.vec", content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON at line 1"),
        (b'{"labels": [', "not JSON at line 1"),
        (b'{"labels": "\xff"}', "not UTF-8 at byte 12"),
        (b"[]", r"found [], expected an object"),
        (b"null", "found None"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b'{"labels": ' + b"9" * 5000 + b"}", "a number too long"),
    ],
)
def test_damaged_json_is_refused_with_the_command_that_makes_it_again(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    message = refusal_of(tmp_path / "x.json", content, read_json)
    assert reason in message
    assert "run `dvc repro`" in message


@pytest.mark.parametrize(
    "edits",
    [
        {"labels": None},
        {"labels": "good"},
        {"labels": ["good"]},
        {"labels": ["good", "good"]},
        {"labels": [0, 1]},
        {"order": ["bad"]},
        {"order": 1},
        {"order": [["bad"], "good"]},
        {"positive": "better"},
        {"positive": ["good"]},
        {"grouped": 2},
    ],
)
def test_damaged_labels_are_refused(tmp_path: Path, edits: dict[str, object]) -> None:
    message = refusal_of(tmp_path / "labels.json", json.dumps(LABELS | edits).encode())
    assert "run `dvc repro`" in message


def test_a_full_folder_for_temporary_files_is_refused() -> None:
    store = Store()
    store.connection.execute("PRAGMA max_page_count = 4")  # as on a disk with 64 KB
    rows = [(str(number), "x" * 1000, None, TRAIN, None, 0.0, 0.0) for number in range(100)]
    with pytest.raises(Refusal, match=r"database in .*full; .* or set TMPDIR"), disk_checked():
        store.add(rows)
    store.connection.close()


def test_a_bug_in_a_query_is_not_taken_for_a_full_disk() -> None:
    with pytest.raises(sqlite3.ProgrammingError), disk_checked():
        Store().connection.execute("SELECT ?", ())


def test_a_spreadsheet_whose_directory_is_nowhere_is_refused(tmp_path: Path) -> None:
    content = bytearray(SEEDS["r.xlsx"][0])
    content[-6] = 255  # of the place of the directory in a zip file
    assert "cannot read this .xlsx: " in refusal_of(tmp_path / "r.xlsx", bytes(content))


@pytest.mark.parametrize("name", ["r.zip", "r.xlsx"])
def test_an_archive_that_demands_all_memory_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def demand(*_: object) -> bytes:  # as LZMA does, of which a flipped bit may ask for 4 GB
        raise MemoryError

    monkeypatch.setattr("zipfile.ZipExtFile.read", demand)
    assert "it takes too much memory" in refusal_of(tmp_path / name, SEEDS[name][0])


@pytest.mark.parametrize("end", [b"\x00\xd8\x00\xd8", b"\x00\xdc"])
def test_a_table_that_only_begins_like_utf16_is_refused(tmp_path: Path, end: bytes) -> None:
    content = "text,label\n".encode("utf-16") + end
    assert "not utf-16, though it begins so" in refusal_of(tmp_path / "new.csv", content)


def test_a_refused_table_in_another_encoding_is_closed_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback on the way out of a generator cannot be caught, and would be printed."""
    raised: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", raised.append)
    refusal_of(tmp_path / "r.cp1252.csv", "text,mood\né,1\n".encode("cp1252"))
    gc.collect()
    assert raised == []


@pytest.mark.parametrize("part", [b'"unk_token":"<unk>"', b'"<unk>":1'])
def test_a_tokeniser_without_its_unknown_token_is_refused(tmp_path: Path, part: bytes) -> None:
    content = SEEDS["tokeniser.json"][1].replace(part, part.replace(b"unk>", b"unx>"))
    assert "no tokeniser of this version" in refusal_of(tmp_path / "tokeniser.json", content)
