"""Memory and disk space that run out, as each library reports it, in each stage."""

import errno
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from stages import STAGES
from stages.lib.command import Refusal
from stages.lib.files import atomic, write_csv, write_json
from stages.lib.outputs import outputs_kept
from stages.lib.resources import LESS_MEMORY, disk_is_full, memory_is_full, shortage
from stages.lib.rows import whole_parquet
from stages.lib.tables import table_writer, whole_table
from tests.conftest import ROOT, Params
from tests.tiny_run import prepare, run_stage, run_stages

SPACE = 4096  # bytes


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A limit on the size of files, which fails like a full disk: each byte after it is refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_arrays(path: Path) -> None:
    with atomic(path) as temporary:
        save_file({"a": np.zeros(SPACE)}, temporary)


def write_table(path: Path) -> None:
    with table_writer(path, pa.schema([("a", pa.float64())])) as writer:
        writer.write_table(pa.table({"a": np.random.default_rng(0).random(SPACE)}))


@pytest.mark.parametrize(
    "write",
    [
        write_arrays,
        write_table,
        lambda path: write_json(path, {"a": "b" * 2 * SPACE}),
        lambda path: write_csv(path, ["a"], [["b" * 2 * SPACE]]),
    ],
    ids=["arrays", "table", "json", "csv"],
)
def test_a_full_disk_is_an_error_with_the_path(tmp_path: Path, write: object) -> None:
    path = tmp_path / "a.out"
    path.write_text("old")
    with files_of_at_most(SPACE), pytest.raises(OSError, match="File too large") as caught:
        write(path)  # type: ignore[operator]
    assert caught.value.filename == str(path)
    assert (
        shortage(caught.value, "x")
        == f"{path}: File too large; free some space on that disk, and run it again"
    )
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.out"]


def test_an_error_inside_the_inner_of_two_files_names_that_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="space") as caught, atomic(tmp_path / "a"), atomic(tmp_path / "b"):
        raise OSError(errno.ENOSPC, "No space")
    assert caught.value.filename == str(tmp_path / "b")


def test_each_stage_keeps_its_outputs_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{('bad', 'good')[n % 2]} film {n % 7} {n % 11}" for n in range(120)]
    prepare(tmp_path, {"text": texts, "label": ["no" if n % 2 else "yes" for n in range(120)]})
    commands = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    run_stages(tmp_path)
    monkeypatch.chdir(tmp_path)
    for stage in STAGES:
        outs = [out for kind in ("outs", "metrics", "plots") for out in commands[stage].get(kind, [])]
        paths = [Path(out if isinstance(out, str) else next(iter(out))) for out in outs]
        before = {path: path.read_bytes() for path in paths}
        largest = max(len(content) for content in before.values())
        with files_of_at_most(largest // 2), pytest.raises(OSError, match="large") as caught:
            run_stage(stage)
        assert Path(caught.value.filename) in paths, stage
        assert {path: path.read_bytes() for path in paths} == before, stage
        assert list(tmp_path.glob("*/.*.part")) == []


def raised(work: object) -> BaseException:
    try:
        work()  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def raises(error: BaseException) -> object:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.empty(1 << 50),
        lambda: np.zeros(1 << 50),
        lambda: pa.allocate_buffer(1 << 50),
        raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")),
        raises(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
        raises(RuntimeError("can't start new thread")),
        raises(pa.ArrowException("Unknown error: Failed to launch worker thread: Resource ...")),
        raises(ImportError("_rust.abi3.so: failed to map segment from shared object")),
        raises(OSError(errno.ENOMEM, "Cannot allocate memory")),
    ],
)
def test_a_lack_of_memory_is_one_whatever_reports_it(work: object, tmp_path: Path) -> None:
    error = raised(work)
    assert memory_is_full(error)
    line = shortage(error, "tensors") or ""
    assert re.fullmatch(r"out of memory( \([\d.]+ \w+ more were needed\))?; lower tensors.max_length", line)
    assert "close other programs" in (shortage(error, "raw") or "")
    for reading in (whole_table(tmp_path), whole_parquet("a.parquet")):  # not a damaged file
        with pytest.raises(type(error)), reading:
            raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("out of memory"), OSError(2, "x")])
def test_other_errors_are_no_shortage(error: Exception) -> None:
    assert not memory_is_full(error)
    assert not disk_is_full(error)
    assert shortage(error, "raw") is None


def test_the_advice_names_parameters_that_exist(params: Params) -> None:
    assert LESS_MEMORY.keys() <= set(STAGES)
    for name in re.findall(r"\w+\.\w+", " ".join(LESS_MEMORY.values())):
        section, key = name.split(".")
        assert key in params[section], name


def test_outputs_that_cannot_be_put_back_are_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(stage: str) -> None:
        raise OSError(errno.ENOSPC, "No space")

    monkeypatch.setenv("DVC_STAGE", "one")
    monkeypatch.setattr("stages.lib.outputs.put_back", fail)
    with pytest.raises(Refusal, match="no") as caught, outputs_kept():
        raise Refusal("no")
    assert "dvc checkout" in caught.value.__notes__[0]
