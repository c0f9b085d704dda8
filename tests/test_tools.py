"""The commands in tools/ without a separate test file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.lib.command import Refusal
from stages.lib.files import write_json
from tests.conftest import ROOT, refused
from tools import figures


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped params and corpora, to work in."""
    shutil.copytree(ROOT / "data/corpora", tmp_path / "data/corpora")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_tool_in_a_folder_below_the_root_says_so_in_one_line() -> None:
    command = [sys.executable, "-m", "tools.figures"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=ROOT / "docs", env=environment, capture_output=True, text=True, check=False
    )
    assert refused(ended, "tools: run this in", "not in docs")


def test_metrics_are_printed_side_by_side(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refusal, match="run the pipeline first"):
        figures.main()
    accuracies = {"ensemble": 0.75, "nbsvm": 0.625, "naive_bayes": 0.5, "majority": 0.25}
    metrics = {name: {"accuracy": n} for name, n in accuracies.items()}
    write_json(project / figures.EVALUATION, {**metrics, "intervals": metrics})
    figures.main()
    shown = capsys.readouterr().out
    assert ["accuracy", "0.7500", "0.6250", "0.5000", "0.2500"] in [
        line.split() for line in shown.splitlines()
    ]
    assert "metrics/report.html" in shown
