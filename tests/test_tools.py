"""The commands in tools/ without a separate test file."""

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
from tools import check, figures


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped params and corpora, to work in."""
    shutil.copytree(ROOT / "data/corpora", tmp_path / "data/corpora")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_shipped_params_and_corpora_are_valid(project: Path) -> None:
    check.main()
    command = [sys.executable, "-m", "tools.check"]  # as `make repro` begins
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("changes", "message"),
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
def test_an_error_is_reported_before_any_stage_runs(
    project: Path, params: Params, changes: Params, message: str
) -> None:
    (project / "params.yaml").write_text(yaml.safe_dump({**params, **changes}), encoding="utf-8")
    with pytest.raises(Refusal, match=message):
        check.main()


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
