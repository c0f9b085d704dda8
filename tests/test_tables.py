"""Tables: written completely or not at all, read in order, and refused if invalid."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.command import Refusal
from stages.lib.tables import open_table, read_batches, table_writer
from tests.conftest import ROOT

SCHEMA = pa.schema([("n", pa.int32()), ("words", pa.list_(pa.string()))])


def batch_of(numbers: list[int], words: list[list[str]]) -> pa.RecordBatch:
    return pa.record_batch([pa.array(numbers, pa.int32()), pa.array(words, SCHEMA[1].type)], SCHEMA)


def write(path: Path, groups: list[list[int]]) -> Path:
    with table_writer(path, SCHEMA) as writer:
        for numbers in groups:
            writer.write_batch(batch_of(numbers, [[f"w{n}", "all"] for n in numbers]))
    return path


def fail_at(path: Path, error: BaseException) -> None:
    with table_writer(path, SCHEMA) as writer:
        writer.write_batch(batch_of([3], [["b"]]))
        raise error


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.parquet"
    with table_writer(path, SCHEMA) as writer:
        writer.write_batch(batch_of([1], [["a"]]))
        assert not path.exists()
    assert pq.read_table(path).to_pylist() == [{"n": 1, "words": ["a"]}]
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_raises_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_at(tmp_path / "table.parquet", ZeroDivisionError())
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_raises_keeps_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "table.parquet", [[1, 2]])
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        fail_at(path, KeyboardInterrupt())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@given(groups=st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=5), numbered=st.booleans())
@settings(deadline=None, max_examples=50)
def test_all_rows_are_read_in_order(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[int]], numbered: bool
) -> None:
    path = write(tmp_path_factory.mktemp("made") / "table.parquet", groups)
    batches = list(read_batches(path, ["n", "words"], ["words.list.element"] if numbered else []))
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert rows == [{"n": n, "words": [f"w{n}", "all"]} for numbers in groups for n in numbers]


def test_a_row_group_is_one_batch(tmp_path: Path) -> None:
    path = write(tmp_path / "table.parquet", [[1, 2], [3], [4, 5, 6]])
    assert [len(batch) for batch in read_batches(path, ["n"])] == [2, 1, 3]


def test_only_the_requested_columns_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "table.parquet", [[1]])
    assert [batch.schema.names for batch in read_batches(path, ["n"])] == [["n"]]


def test_numbered_columns_are_dictionary_arrays(tmp_path: Path) -> None:
    path = write(tmp_path / "table.parquet", [[3, 3, 4]])
    (batch,) = read_batches(path, ["words"], ["words.list.element"])
    words = batch["words"].values
    assert words.dictionary.to_pylist() == ["w3", "all", "w4"]
    assert words.indices.to_pylist() == [0, 1, 0, 1, 2, 1]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, [[1, 2], [3]]) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("content", [b"", b"id,text\n1,good\n", b"PAR1 and no more PAR1"])
def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"table\.parquet: not a parquet file"):
        open_table(path)
    with pytest.raises(Refusal, match=r"table\.parquet: not a parquet file"):
        list(read_batches(path, ["n"]))


def test_a_truncated_table_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "table.parquet", [[1, 2]])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Refusal, match="not a parquet file"):
        open_table(path)


def test_a_killed_process_leaves_no_table(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; import pyarrow as pa\n"
        "from stages.lib.tables import table_writer\n"
        "with table_writer(Path(sys.argv[1]), pa.schema([('n', pa.int32())])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "table.parquet"
    ended = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert ended.returncode == -9
    assert not path.exists()
