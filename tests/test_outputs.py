"""The outputs of the run before, when a stage fails."""

from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from stages.lib.command import Refusal
from stages.lib.outputs import outputs_kept


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository in which the stage `one` made two files, that DVC has deleted since."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "one")
    stage = {"cmd": "echo 1 > kept.txt; echo 2 > metrics.json", "deps": ["read.txt"], "outs": ["kept.txt"]}
    stage["metrics"] = [{"metrics.json": {"cache": False}}]
    (tmp_path / "read.txt").write_text("0")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": stage}}))
    with Repo.init(no_scm=True) as repo:
        repo.reproduce()
    for name in ("kept.txt", "metrics.json"):
        (tmp_path / name).unlink()
    return tmp_path


def test_a_failed_stage_gets_its_outputs_back(project: Path) -> None:
    with pytest.raises(Refusal), outputs_kept():
        raise Refusal("no")
    assert (project / "kept.txt").read_text() == "1\n"
    assert (project / "metrics.json").read_text() == "2\n"


def test_outputs_made_before_the_failure_are_replaced_so_that_all_are_of_one_run(project: Path) -> None:
    (project / "kept.txt").write_text("new")
    with pytest.raises(Refusal), outputs_kept():
        raise Refusal("no")
    assert (project / "kept.txt").read_text() == "1\n"
    assert (project / "metrics.json").read_text() == "2\n"


def test_a_stage_that_succeeds_or_is_not_run_by_dvc_gets_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with outputs_kept():
        pass
    monkeypatch.delenv("DVC_STAGE")
    with pytest.raises(Refusal), outputs_kept():
        raise Refusal("no")
    assert not (project / "kept.txt").exists()


def test_a_stage_that_never_ran_gets_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "another")
    with pytest.raises(Refusal, match="no"), outputs_kept():
        raise Refusal("no")
