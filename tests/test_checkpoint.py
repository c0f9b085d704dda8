"""Checkpoints: atomic, loaded by the same work only, removed on success; one run at a time."""

from pathlib import Path

import pytest
import torch

from stages.lib.checkpoint import Checkpoint, checkpoint, key
from stages.lib.command import Refusal

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


def test_two_runs_at_once_are_refused() -> None:
    def runs() -> bool:
        with checkpoint("embeddings", "", []):
            return True

    with checkpoint("embeddings", "", []), pytest.raises(Refusal, match="is running this stage"):
        runs()
    assert runs()


def test_the_key_depends_on_parameters_and_inputs(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a", encoding="utf-8")
    other.write_text("b", encoding="utf-8")
    assert key("x", [one]) == key("x", [one])
    assert len({key("x", [one]), key("y", [one]), key("x", [other]), key("x", [])}) == 4
