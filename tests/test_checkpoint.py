"""Checkpoints: atomic, loaded by the same work only, removed on success; one run of a training at a time."""

import os
import threading
from pathlib import Path

import pytest
import torch

from stages.lib.checkpoint import KEPT, Checkpoint, checkpoint, key
from stages.lib.processes import exclusive

TENSORS = {"table": torch.arange(6.0).view(2, 3)}
STATE = {"position": [1, 2, 3], "curve": [[10, 0.1]]}


def saved_in(folder: Path) -> Checkpoint:
    made = Checkpoint(folder)
    made.save(TENSORS, STATE)
    return made


def test_a_saved_state_is_loaded(tmp_path: Path) -> None:
    result = saved_in(tmp_path / "key").load()
    assert result is not None
    tensors, state = result
    assert torch.equal(tensors["table"], TENSORS["table"])
    assert state == STATE


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "rubbish"])
def test_a_damaged_checkpoint_loads_as_none(tmp_path: Path, damage: str) -> None:
    path = saved_in(tmp_path).path
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": whole[:-4], "rubbish": b"x" * 100}[damage])
    assert Checkpoint(tmp_path).load() is None


def test_a_checkpoint_is_due_after_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = saved_in(tmp_path)
    assert not made.due()
    monkeypatch.setattr("time.monotonic", lambda: made.next)
    assert made.due()


def test_a_checkpoint_survives_a_failure_and_is_removed_on_success(work_folder: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def fails() -> None:
        with checkpoint("embeddings", "params", []) as one:
            one.save(TENSORS, STATE)
            raise Killed

    with pytest.raises(Killed):
        fails()
    with checkpoint("embeddings", "other params", []) as other:
        assert other.load() is None
    with checkpoint("embeddings", "params", []) as again:
        assert again.load() is not None
    assert not list(work_folder.rglob("*.safetensors"))


def test_any_flipped_bit_is_noticed_and_the_file_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved_in(tmp_path).path
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 5):  # every position in a byte occurs
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert Checkpoint(tmp_path).load() is None, bit
        assert (tmp_path / "state.safetensors.damaged").read_bytes() == damaged
        assert not path.exists()
        message = capsys.readouterr().err
        assert (
            message
            == f"{path}: damaged, renamed to {path.name}.damaged; training starts from the beginning\n"
        )


def test_different_trainings_run_side_by_side(work_folder: Path) -> None:
    with checkpoint("embeddings", "one", []) as one:
        one.save(TENSORS, STATE)
        with checkpoint("embeddings", "other", []) as other:
            assert other.load() is None
        assert one.load() is not None
    assert not list((work_folder / "embeddings").iterdir())


def test_the_same_training_waits(capsys: pytest.CaptureFixture[str]) -> None:
    order = []

    def second() -> None:
        with checkpoint("embeddings", "", []):
            order.append("second")

    with checkpoint("embeddings", "", []):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert capsys.readouterr().err == (
        f"embeddings: process {os.getpid()} trains with the same parameters; waiting for its end\n"
    )


def test_old_checkpoints_of_killed_trainings_are_removed(
    work_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = work_folder / "embeddings"
    for age in range(KEPT + 3):
        saved_in(home / f"key{age}")
        (home / f"key{age}.lock").touch()  # as a killed process leaves it
        os.utime(home / f"key{age}", (1e9 - age, 1e9 - age))
    with exclusive(home / f"key{KEPT + 1}.lock", 0), checkpoint("embeddings", "", []):
        kept = sorted(path.name for path in home.glob("key*/"))
    assert kept == [f"key{age}" for age in (*range(KEPT), KEPT + 1)]
    lines = capsys.readouterr().err.splitlines()
    assert sorted(lines) == [
        f"{home}/key{age}: checkpoint of a training that was not finished, removed"
        for age in (KEPT, KEPT + 2)
    ]
    assert not list(home.glob("*.lock"))


def test_the_key_depends_on_parameters_and_inputs(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a", encoding="utf-8")
    other.write_text("b", encoding="utf-8")
    assert key("x", [one]) == key("x", [one])
    assert len({key("x", [one]), key("y", [one]), key("x", [other]), key("x", [])}) == 4
