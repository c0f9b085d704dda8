"""Memory: more than the free memory is refused in one line, whether the machine, a control group or `ulimit`
sets the limit; exactly the free memory is not refused."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stages.lib.command import Refusal
from stages.lib.memory import free_memory, require_memory
from tests.conftest import ROOT

FREE = 2_000_000_000  # bytes of the machine


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=FREE)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)


def test_only_more_than_the_free_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.lib.memory.free_memory", lambda: FREE)
    require_memory(FREE, "a: found 1, which", "lower it")
    message = r"^a: found 1, which needs 3\.0 GB of memory, and 2\.0 GB are free; lower it$"
    with pytest.raises(Refusal, match=message):
        require_memory(3_000_000_000, "a: found 1, which", "lower it")


def test_the_free_memory_of_a_device_can_be_given() -> None:
    require_memory(1000, "a: found 1, which", "lower it", free=1000)
    with pytest.raises(Refusal, match="are free"):
        require_memory(1001, "a: found 1, which", "lower it", free=1000)


def write_group(folder: Path, names: tuple[str, str, str], limit: object, use: int, files: int) -> None:
    """The files of a control group, `files` bytes of whose use are copies of files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{use}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]}inactive_file {files}\n{names[2]}active_file 0\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
V2 = ("memory.max", "memory.current", "")
NO_LIMIT = {V1: 9223372036854771712, V2: "max"}


@pytest.mark.parametrize(
    ("names", "base", "membership"),
    [(V1, "sys/fs/cgroup/memory", "3:cpu:/\n4:hugetlb,memory:{}\n0::/\n"), (V2, "sys/fs/cgroup", "0::{}\n")],
    ids=["version 1", "version 2"],
)
def test_a_control_group_and_those_around_it_limit_the_memory(
    tmp_path: Path, names: tuple[str, str, str], base: str, membership: str
) -> None:
    proc, groups = tmp_path / "proc/self", tmp_path / base
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(membership.format("/user/one"))
    write_group(groups / "user/one", names, NO_LIMIT[names], 400, 0)
    assert free_memory(tmp_path) == FREE
    write_group(groups / "user/one", names, 700_000_000, 500_000_000, 100_000_000)
    assert free_memory(tmp_path) == 300_000_000
    write_group(groups / "user", names, 600_000_000, 500_000_000, 0)
    assert free_memory(tmp_path) == 100_000_000
    write_group(groups / "user", names, 600_000_000, 600_000_001, 0)
    assert free_memory(tmp_path) == 0
    # A container that sees its own group as the outermost one, and the path of the machine as its own.
    (proc / "cgroup").write_text(membership.format("/docker/1234"))
    assert free_memory(tmp_path) == FREE
    write_group(groups, names, 700_000_000, 1, 1)
    assert free_memory(tmp_path) == 700_000_000


def test_a_group_without_the_files_has_no_limit(tmp_path: Path) -> None:
    assert free_memory(tmp_path) == FREE
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/../gone\nwhat\n\n")
    assert free_memory(tmp_path) == FREE


def test_the_limit_of_the_address_space_counts() -> None:
    code = (
        "import resource; from stages.lib.memory import free_memory;"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); print(free_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 1 << 30
