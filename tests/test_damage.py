"""Damaged files of every kind: each reader gives what is in them or refuses them, and raises nothing else."""

import collections
import gzip
import io
import json
import os
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.lib.command import Refusal
from stages.lib.corpora import Source, archive_members
from stages.lib.files import read_json, read_labels
from stages.lib.readers import reviews
from stages.lib.store import Row, Store, disk_checked
from stages.lib.tables import read_batches
from stages.lib.vectors import read_vectors
from stages.lib.wordsets import read_wordset

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))  # of each kind
ROWS = [{"text": f"a good film {n}", "label": n % 2} for n in range(4)]
LABELS: dict[str, Any] = {"labels": ["bad", "good"], "order": None, "positive": "good", "grouped": False}


def parquet() -> bytes:
    file = io.BytesIO()
    columns = {name: [row[name] for row in ROWS] for name in ("text", "label")}
    nested = {"tokens": [["a", "b"]] * 4, "kind": pa.array(["x", "y"] * 2).dictionary_encode()}
    pq.write_table(pa.table(columns | nested), file)
    return file.getvalue()


def tarred(pax: dict[str, str] | None = None, name: str = "pos/1.txt") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(2):
            member = tarfile.TarInfo(name if number else "neg/1.txt")
            member.size, member.pax_headers = 4, pax or {}
            archive.addfile(member, io.BytesIO(b"film"))
    return file.getvalue()


def zipped(name: str = "pos/1.txt") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "a good film")
    return file.getvalue()


CSV = "text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in ROWS)
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)
BINARY_VECTORS = b"2 2\n" + b"".join(word + struct.pack("<2f", 0.5, 1) + b"\n" for word in (b"the ", b"of "))
SEEDS: dict[str, bytes] = {
    "r.csv": CSV.encode(),
    "r.tsv": CSV.replace(",", "\t").encode(),
    "r.jsonl": JSONL.encode(),
    "r.json": json.dumps(ROWS).encode(),
    "r.parquet": parquet(),
    "r.csv.gz": gzip.compress(CSV.encode(), mtime=0),
    "r.tar": tarred(),
    "r.tar.gz": gzip.compress(tarred(), mtime=0),
    "r.zip": zipped(),
    "table.parquet": parquet(),
    "labels.json": json.dumps(LABELS).encode(),
    "text.vec": b"2 2\nthe 0.5 1\nof 2 3e-1\n",
    "binary.vec": BINARY_VECTORS,
    "words.tsv": b"tiger\tcat\t7.35\nfilm\tplot\t3.5\n",
}


def read(path: Path) -> None:
    """Reads a file as the stages read one of its name."""
    name = path.name
    if name.startswith("r."):
        archive = ".tar" in name or name.endswith("zip")
        folders = {"pos": {"split": "train", "label": "1"}, "neg": {"split": "test", "label": "0"}}
        columns = {"columns": {"text": "text", "label": "label"}}
        kind = {"folders": folders} if archive else columns
        for review in reviews(Source.model_validate({"file": name} | kind), path):
            "".join(part for part in review if part).encode()  # as the database of `raw` does
    elif name == "labels.json":
        read_labels(path)
    elif name == "table.parquet":
        for batch in read_batches(path, ["text", "label", "tokens"], ["tokens.list.element"]):
            batch.to_pylist()
    elif name == "words.tsv":
        read_wordset(path)
    else:
        read_vectors(path, {"the": 0, "of": 1}, np.zeros((2, 2), np.float32))


ODD = [
    b"",
    b"\0",
    b"\xff",
    b"\xf0\x9f",
    b"-1",
    b"9" * 30,
    b"9" * 5000,
    b"nan",
    b'"',
    b"\t",
    b",",
    b"\n",
    b"[" * 3000,
]
EDIT = st.tuples(
    st.floats(0, 1),  # where
    st.integers(0, 8),  # how many bytes are taken out there
    st.binary(max_size=4) | st.sampled_from(ODD),  # what is put in
)


def changed(content: bytes, edits: list[tuple[float, int, bytes]], name: str) -> bytes:
    data = bytearray(content)
    for place, length, inserted in edits:
        at = int(place * len(data))
        data[at : at + length] = inserted
    return bytes(tar_sums(data) if name == "r.tar" else data)


def tar_sums(data: bytearray) -> bytearray:
    """Corrects the checksum of each tar header, since a reader looks no further after a wrong one."""
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return data


@pytest.mark.parametrize("name", SEEDS)
def test_an_undamaged_file_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(SEEDS[name])
    read(tmp_path / name)


@pytest.mark.parametrize("name", SEEDS)
@given(edits=st.lists(EDIT, min_size=1, max_size=4), cut=st.floats(0.2, 1) | st.just(1.0))
@settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, name: str, edits: list[tuple[float, int, bytes]], cut: float
) -> None:
    content = changed(SEEDS[name], edits, name)
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
    content = zipped("pos/é.txt").replace("é".encode(), b"\xff\xfe")
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
    content = parquet().replace(b"tokens", b"tokenz")
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
    store.connection.execute("PRAGMA max_page_count = 4")  # as on a disk with 16 KB
    rows = [Row(str(number), "x" * 1000, None, None, None, 0.0, 0.0) for number in range(100)]
    with pytest.raises(Refusal, match=r"database in .*full; .* or set TMPDIR"), disk_checked():
        collections.deque(map(store.add, rows))
    store.connection.close()


def test_a_bug_in_a_query_is_not_taken_for_a_full_disk() -> None:
    with pytest.raises(sqlite3.ProgrammingError), disk_checked():
        Store().connection.execute("SELECT ?", ())
