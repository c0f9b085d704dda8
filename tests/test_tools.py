"""The commands that are no stages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.lib.command import Refusal
from stages.lib.files import write_json
from tests.conftest import ROOT, Params
from tools import check, figures, lock


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped params and corpora, to work in."""
    shutil.copytree(ROOT / "data/corpora", tmp_path / "data/corpora")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_shipped_is_sound(project: Path) -> None:
    check.main()
    command = [sys.executable, "-m", "tools.check"]  # as `make repro` begins
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"corpus": "imbd"}, "'imbd'.*did you mean imdb.*imdb, sample, sst2"),
        ({"corpus": "../elsewhere"}, "corpus: found '../elsewhere'"),
        ({"corpus": 3}, "corpus: found 3"),
        ({"embedings": {}}, "unknown section 'embedings'; did you mean embeddings"),
        ({"report": {}}, "report.*missing"),
        ({"projection": {"components": 1}}, "projection.components: found 1"),
        ({"ids": {"dim": 1}}, r"ids\.dim: unknown"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(
    project: Path, params: Params, changes: Params, told: str
) -> None:
    (project / "params.yaml").write_text(yaml.safe_dump({**params, **changes}), encoding="utf-8")
    with pytest.raises(Refusal, match=told):
        check.main()


def test_figures_stand_side_by_side(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refusal, match="run the pipeline first"):
        figures.main()
    contenders = {"classifier": 0.75, "nbsvm": 0.625, "naive_bayes": 0.5, "majority": 0.25}
    found = {name: {"accuracy": n} for name, n in contenders.items()}
    write_json(project / figures.EVALUATION, {**found, "intervals": found})
    figures.main()
    shown = capsys.readouterr().out
    assert ["accuracy", "0.7500", "0.6250", "0.5000", "0.2500"] in [
        line.split() for line in shown.splitlines()
    ]
    assert "metrics/report.html" in shown


def test_every_package_that_is_asked_for_is_pinned() -> None:
    pins = (ROOT / "requirements.lock").read_text(encoding="utf-8").lower().splitlines()
    names = {line.partition("==")[0] for line in pins if "==" in line}
    assert {requirement.partition("==")[0].lower() for requirement in lock.wanted()} <= names
    assert not [line for line in pins if line and not line.startswith("#") and "==" not in line]


def test_a_build_of_one_machine_is_not_pinned() -> None:
    assert lock.pinned("a==1\ntorch==2.13.0+cpu") == "a==1\ntorch==2.13.0"


def test_make_has_a_word_on_each_target() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    targets = [line for line in lines if line and line[0].isalpha() and ":" in line and ":=" not in line]
    named = [line for line in targets if not line.startswith(("PYTHON", "VENV"))]
    assert named
    assert all("## " in line for line in named)
