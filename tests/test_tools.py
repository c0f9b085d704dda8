"""The commands in tools/ without a separate test file."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.lib.command import Refusal
from stages.lib.files import write_json
from tests.conftest import ROOT, Params, refused
from tools import extra, figures, lock


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


@pytest.mark.parametrize("path", sorted((ROOT / "tools").glob("*.py")), ids=lambda path: path.stem)
def test_each_command_reports_errors_and_ends_its_output_in_the_shared_way(path: Path) -> None:
    _, main, end = path.read_text(encoding="utf-8").partition('if __name__ == "__main__":')
    assert not main or "with exit_on_refusal(" in end or "run(main)" in end


@pytest.fixture
def finished(project: Path) -> Path:
    """A folder with the metrics of a run, its report and its lock file."""
    accuracies = {"ensemble": 0.75, "tfidf": 0.7, "nbsvm": 0.625, "naive_bayes": 0.5, "majority": 0.25}
    metrics = {name: {"accuracy": n} for name, n in accuracies.items()}
    write_json(project / figures.EVALUATION, {**metrics, "intervals": metrics, "best_baseline": "tfidf"})
    (project / figures.REPORT).write_text("the page", encoding="utf-8")
    (project / "data/raw.parquet").write_text("the reviews", encoding="utf-8")

    def entry(path: str) -> dict[str, str]:
        return {"path": path, "md5": hashlib.md5((project / path).read_bytes()).hexdigest()}

    params = {"params.yaml": {"corpus": "sample"}}
    stages = {
        "raw": {"outs": [entry("data/raw.parquet")]},
        "report": {
            "deps": [entry("data/raw.parquet")],
            "outs": [entry(str(figures.REPORT))],
            "params": params,
        },
    }
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    return project


def test_metrics_are_printed_side_by_side(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures.main()
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert ["accuracy", "0.7500", "0.7000", "0.6250", "0.5000", "0.2500"] in lines
    assert "metrics/report.html" in shown


def test_no_metrics_are_printed_before_a_run(project: Path) -> None:
    with pytest.raises(Refusal, match="no metrics of a run; run the pipeline"):
        figures.main()


def test_the_metrics_of_another_corpus_are_not_printed(finished: Path, params: Params) -> None:
    (finished / "params.yaml").write_text(yaml.safe_dump(params | {"corpus": "imdb"}), encoding="utf-8")
    with pytest.raises(Refusal, match=r"params.yaml was changed after .* \(corpus\); run `dvc repro`"):
        figures.main()


def test_metrics_are_not_printed_after_a_stage_failed(finished: Path) -> None:
    (finished / "data/raw.parquet").unlink()  # as DVC does before it runs a stage
    with pytest.raises(Refusal, match=r"raw\.parquet: missing, so the metrics are those of an earlier"):
        figures.main()


@pytest.mark.parametrize("tool", sorted(path.stem for path in (ROOT / "tools").glob("[a-z]*.py")))
def test_help_is_printed_and_nothing_else_happens(tool: str) -> None:
    if '__name__ == "__main__"' not in (ROOT / f"tools/{tool}.py").read_text(encoding="utf-8"):
        pytest.skip("has no command")
    words = [sys.executable, "-m", f"tools.{tool}", "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage:")


def test_an_extra_is_installed_with_the_locked_versions_and_without_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(command: list[object], **_: object) -> subprocess.CompletedProcess[bytes]:
        constraint = Path(str(command[command.index("--constraint") + 1])).read_text(encoding="utf-8")
        assert "hash" not in constraint
        assert "\ntorch==" in constraint
        assert len(constraint.splitlines()) == Path("requirements.lock").read_text().count("==")
        assert command[-2:] == extra.extras()["audit"]
        return subprocess.CompletedProcess([], 3)

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SystemExit, match="3"):
        extra.main(["audit"])


def test_an_unknown_extra_and_an_index_that_is_no_url_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing is installed"))
    with pytest.raises(SystemExit, match="2"):
        extra.main(["bensch"])
    assert "bench" in capsys.readouterr().err
    for words, found in (([], "nothing"), (["pypi"], "'pypi'")):
        with pytest.raises(Refusal, match=f"found {found}, expected the URL"):
            lock.parse(words)
