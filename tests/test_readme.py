"""README and docs: their commands run, and their tables agree with the pipeline."""

import re
import shlex
import subprocess
import sys
from itertools import pairwise

import pytest
import yaml

from stages import STAGES
from stages.lib.corpora import Source
from stages.lib.files import read_json
from stages.lib.params import check
from tests.conftest import ROOT
from tests.test_pipeline import keys_of, pipeline, shipped_params

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
COMMANDS = [
    line.partition(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README + "".join(PAGES.values()), re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def test_commands_are_found() -> None:
    assert {"make repro", "make test"} <= set(COMMANDS)
    assert len([command for command in COMMANDS if command.startswith("dvc exp run")]) >= 8


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_targets_exist(command: str) -> None:
    target = command.split()[1]
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c in ("dvc stage list", "dvc dag", "dvc params diff")]
)
def test_commands_that_only_read_run_here(command: str) -> None:
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if command == "dvc stage list":
        assert all(pipeline()[stage]["desc"][:20] in done.stdout for stage in STAGES)


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c.startswith("dvc exp run") and not c.endswith("--run-all")]
)
def test_experiments_set_existing_parameters(command: str) -> None:
    presets = re.findall(r"\$\(cat (.*?)\)", command)
    words = shlex.split(
        " ".join([re.sub(r"\$\(cat .*?\)", "", command), *((ROOT / p).read_text() for p in presets)])
    )
    changed = {after.partition("=")[0] for flag, after in pairwise(words) if flag == "-S"}
    assert changed
    assert changed <= set(keys_of(shipped_params()))


@pytest.mark.parametrize("tool", ["predict", "compare", "export", "new"])
def test_documented_options_of_tools_exist(tool: str) -> None:
    used = {
        word
        for command in COMMANDS
        if command.startswith(f"python -m tools.{tool}")
        for word in shlex.split(command)
        if word.startswith("--")
    }
    words = [sys.executable, "-m", f"tools.{tool}", "--help"]
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(option in printed for option in used)


def test_the_results_of_the_sample_are_those_of_its_run() -> None:
    headline = read_json(ROOT / "metrics/report.json")
    ours, low, high = (f"{100 * headline[name]:.1f}" for name in ("accuracy", "acc_low", "acc_high"))
    (row,) = (line for line in README.splitlines() if line.startswith("| sample, bundled |"))
    assert row.startswith(f"| sample, bundled | **{ours}** | {low} to {high} |")
    if (path := ROOT / "metrics/evaluation.json").is_file():  # after a run
        figures = read_json(path)
        others = [f"{100 * figures[name]['accuracy']:.1f}" for name in ("tfidf", "nbsvm", "naive_bayes")]
        assert f" | {' | '.join(others)} | " in row


def test_the_table_of_stages_is_that_of_the_pipeline() -> None:
    for stage in STAGES:
        assert f"| [{stage}](stages/{stage}.py) | {pipeline()[stage]['desc']} |" in README


def test_the_source_yaml_in_the_docs_is_valid() -> None:
    text = re.search(r"```yaml\n(.*?)```", PAGES["own-data.md"], re.DOTALL)
    assert text
    source = check(Source, yaml.safe_load(text[1]), "own-data.md")
    assert source.columns is not None
    commented = re.sub(r"# (\w+: )", r"\1", text[1])
    assert check(Source, yaml.safe_load(commented), "own-data.md").order == ["bad", "good"]
