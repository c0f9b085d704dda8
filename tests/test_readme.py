"""README: its commands are real, its links lead somewhere, its syllabus is the pipeline's own."""

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
COMMANDS = [
    line.partition(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def test_there_are_commands() -> None:
    assert {"make repro", "make test"} <= set(COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_knows_what_it_is_asked_to_make(command: str) -> None:
    target = command.split()[1]
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c in ("dvc stage list", "dvc dag", "dvc params diff")]
)
def test_commands_that_only_look_run_here(command: str) -> None:
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if command == "dvc stage list":
        assert all(pipeline()[stage]["desc"][:20] in done.stdout for stage in STAGES)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("dvc exp run")])
def test_experiments_set_parameters_that_there_are(command: str) -> None:
    presets = re.findall(r"\$\(cat (.*?)\)", command)
    words = shlex.split(
        " ".join([re.sub(r"\$\(cat .*?\)", "", command), *((ROOT / p).read_text() for p in presets)])
    )
    changed = {after.partition("=")[0] for flag, after in pairwise(words) if flag == "-S"}
    assert changed
    assert changed <= set(keys_of(shipped_params()))


def test_links_and_pictures_lead_to_files_in_git() -> None:
    headings = [
        re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", README, re.M)
    ]
    for target in re.findall(r"\]\((?!https?:)(.*?)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
            continue
        assert (ROOT / target).is_file(), target
        assert not target.endswith(("report.html", ".parquet", ".safetensors"))


def test_the_samples_figures_are_those_of_its_run() -> None:
    figures = read_json(ROOT / "metrics/evaluation.json")
    reviews = read_json(ROOT / "metrics/raw.json")["reviews"]["test"]
    contenders = ("classifier", "nbsvm", "naive_bayes", "majority")
    ours, *others = (f"{100 * figures[name]['accuracy']:.1f}" for name in contenders)
    ends = figures["intervals"]["classifier"]["accuracy"]
    interval = f"{100 * ends['low']:.1f} to {100 * ends['high']:.1f}"
    assert f"| sample, bundled | **{ours}** | {interval} | {' | '.join(others)} | {reviews} |" in README


def test_the_syllabus_is_the_pipelines() -> None:
    for stage in STAGES:
        assert f"| [{stage}](stages/{stage}.py) | {pipeline()[stage]['desc']} |" in README


def test_the_source_yaml_in_the_text_is_a_sound_one() -> None:
    text = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert text
    source = check(Source, yaml.safe_load(text[1]), "README.md")
    assert source.columns is not None
    commented = re.sub(r"# (\w+: )", r"\1", text[1])
    assert check(Source, yaml.safe_load(commented), "README.md").labels == {"1": "bad", "5": "good"}
