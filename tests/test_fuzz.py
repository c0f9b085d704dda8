"""The fuzzer finds what it is made for: exceptions, hunger for memory or time, and processes that die."""

import os
import random
import time
from pathlib import Path

import pytest

from stages.lib.command import Refusal
from tests import fuzz, odd_files


@pytest.mark.parametrize("name", odd_files.SEEDS)
def test_changes_are_repeatable_and_most_change_the_file(name: str) -> None:
    seeds = odd_files.SEEDS[name]

    def several() -> list[bytes]:
        rng = random.Random(1)
        return [fuzz.mutated(seeds[0], name, rng, seeds) for _ in range(30)]

    assert several() == several()
    assert len(set(several()) - {seeds[0]}) > 20


def test_the_odd_files_are_written(tmp_path: Path) -> None:
    odd_files.main(tmp_path)
    assert (
        len(list(tmp_path.rglob("*.*"))) == sum(map(len, odd_files.SEEDS.values())) - 1
    )  # rwlock has no dot


def broken(path: Path) -> None:
    """A reader with four faults, each of which a change of the first bytes finds."""
    content = path.read_bytes()
    match content[:1]:
        case b"t":
            raise Refusal(f"{path}: {len(content)} bytes")
        case b"\0":
            raise KeyError("x")
        case b"\xff":
            os.abort()
        case b"9":
            bytearray(fuzz.MEMORY * 2)
        case b"[":
            while True:
                pass


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(fuzz.READERS, "lines.txt", broken)
    monkeypatch.setitem(odd_files.SEEDS, "lines.txt", [b"text", *(bytes([n]) for n in b"\0\xff9[")])
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    monkeypatch.setattr(fuzz, "MEMORY", 1 << 29)
    return tmp_path / "kept"


def test_failures_are_kept_once_and_replayed(kept: Path, capfd: pytest.CaptureFixture[str]) -> None:
    end = time.time() + 20
    seen: set[str] = set()
    while time.time() < end and len(seen) < 4:
        assert not fuzz.fuzz(["lines.txt"], 1.5, int(end - time.time()), kept)
        printed = capfd.readouterr().out
        reasons = {
            "KeyError": "KeyError in",
            "memory": "MemoryError in",
            "abort": "exit code -6",
            "time": "exit code -27",
        }
        seen |= {name for name, text in reasons.items() if text in printed}
    assert seen == {"KeyError", "memory", "abort", "time"}
    assert "| lines.txt | " in printed
    assert len(list(kept.iterdir())) == 4
    (key,) = [path for path in kept.iterdir() if path.read_bytes()[:1] == b"\0"]
    with pytest.raises(KeyError):
        fuzz.main(["--replay", str(key)])


def test_a_file_that_is_refused_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "0-labels.json"
    path.write_bytes(b"[]")
    assert fuzz.main(["--replay", str(path)]) == 0
    assert capsys.readouterr().out.startswith("refused: ")
