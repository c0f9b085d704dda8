"""The whole pipeline, run by DVC on a tiny corpus in a copy of this repository."""

import csv
import io
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages import STAGES
from stages.lib.headline import HEADLINE
from tests.conftest import ROOT, without_code

GOOD = ("lovely", "warm", "clever", "moving")
BAD = ("tedious", "loud", "hollow", "clumsy")
LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv",
    "cache",
    "tmp",
    "config.local",
    "__pycache__",
    "*.parquet",
    "*.safetensors",
    ".hypothesis",
)


def tiny_corpus() -> str:
    """Forty reviews, some of them empty or with unknown words only."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["text", "label"])
    for n in range(38):
        words = (GOOD, BAD)[n % 2]
        text = f"A {words[n % 4]} and {words[n // 4 % 4]} film, number {n}, with a {words[n // 2 % 4]} end."
        writer.writerow([text, ("good", "bad")[n % 2]])
    writer.writerows([["", "good"], ["zxqv wqpk 🙃", "bad"]])
    return file.getvalue()


class Copy:
    """A copy of the repository in which commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        who = {
            f"GIT_{role}_{what}": "tester@firth"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        self.environment = {**os.environ, **who, "PATH": path}

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ran(self, *command: str) -> list[str]:
        """The stages that a DVC command ran."""
        output = self.run(sys.executable, "-m", "dvc", *command)
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]

    def fails(self, *command: str) -> str:
        """What a DVC command that must fail printed."""
        words = [sys.executable, "-m", "dvc", *command]
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def set(self, old: str, new: str) -> None:
        """Replaces text in params.yaml."""
        path = self.folder / "params.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def outputs(self) -> dict[str, bytes]:
        """Everything that the stages made."""
        files = [*self.folder.glob("data/*.*"), *(self.folder / "metrics").iterdir()]
        return {str(path): path.read_bytes() for path in sorted(files) if path.is_file()}

    def results(self) -> dict[str, bytes]:
        """dvc.lock, which has the checksum of every output, and all metrics."""
        files = [self.folder / "dvc.lock", *sorted((self.folder / "metrics").iterdir())]
        return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("firth") / "copy"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    corpus = folder / "data/corpora/tiny"
    corpus.mkdir()
    (corpus / "reviews.csv").write_text(tiny_corpus(), encoding="utf-8")
    source = "origin: a test\nlicence: none\nfile: reviews.csv\ncolumns: {text: text, label: label}\n"
    (corpus / "source.yaml").write_text(source, encoding="utf-8")
    (folder / "data/wordsets/judged.txt").write_text("lovely warm 8\nlovely loud 2\nhollow loud 6\n")
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("corpus: sample", "corpus: tiny"),
        ("epochs: ", "epochs: 2 # "),
        ("dim: 100", "dim: 8"),
    ):
        assert old in params
        params = params.replace(old, new)
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    (folder / "dvc.yaml").write_text(without_code(folder / "dvc.yaml"), encoding="utf-8")
    (folder / "dvc.lock").unlink()
    made = Copy(folder)
    made.run("git", "init", "--quiet")
    assert made.ran("repro") == list(STAGES)
    made.run("git", "add", "--all")
    made.run("git", "commit", "--quiet", "--message", "tiny")
    return made


def test_a_second_repro_runs_nothing(copy: Copy) -> None:
    assert copy.ran("repro") == []


def test_a_forced_repro_gives_the_same_bytes_with_narrower_instructions_and_one_thread(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copy.results()
    narrower = {"NPY_DISABLE_CPU_FEATURES": "X86_V3", "OPENBLAS_CORETYPE": "Nehalem"}
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    one_thread = {f"{name}_NUM_THREADS": "1" for name in names} | {
        "POLARS_MAX_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
    }
    monkeypatch.setattr(copy, "environment", copy.environment | narrower | one_thread)
    assert copy.ran("repro", "--force") == list(STAGES)
    assert copy.results() == before


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="its kernels are of x86-64")
def test_blas_uses_the_kernels_of_one_processor_and_one_thread() -> None:
    look = (
        "import json, stages, numpy, scipy.linalg, threadpoolctl;"
        "print(json.dumps(threadpoolctl.threadpool_info()))"
    )
    environment = os.environ | {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "2"}
    printed = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    blas = [pool for pool in json.loads(printed) if pool["internal_api"] == "openblas"]
    assert len(blas) == 2  # numpy's and scipy's
    assert {(pool["architecture"], pool["num_threads"]) for pool in blas} == {("Haswell", 1)}


AFTER_ENSEMBLE = ["evaluation", "robustness", "explorer", "report"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("tensors.max_length=30", ["tensors", "ngrams", "classifier", "ensemble", *AFTER_ENSEMBLE]),
        ("agreement.wordsets=[judged.txt]", ["agreement", "report"]),
    ],
)
def test_a_changed_parameter_runs_its_stage_and_the_stages_that_read_its_output(
    copy: Copy, change: str, expected: list[str]
) -> None:
    copy.run("git", "checkout", "--", ".")
    copy.ran("checkout")
    name = change.partition("=")[0].replace(".", "-")
    assert copy.ran("exp", "run", "--name", name, "-S", change) == ["check", *expected]


def test_changed_parameters_change_their_stages_and_the_report_which_lists_them(copy: Copy) -> None:
    copy.run("git", "checkout", "--", ".")
    copy.ran("checkout")
    for old, new in (
        ("neighbours: 8", "neighbours: 7"),
        ("l2: ", "l2: 7 # "),
        ("weights: ", "weights: 0.3 # "),
    ):
        copy.set(old, new)
    changed = json.loads(copy.run(sys.executable, "-m", "dvc", "status", "--json"))
    copy.run("git", "checkout", "--", ".")
    assert set(changed) == {"check", "agreement", "ngrams", "ensemble", "report"}


@pytest.fixture
def restored(copy: Copy) -> Copy:
    """The copy after the one way back: params.yaml as committed, and `dvc repro`, which trains nothing."""
    copy.run("git", "checkout", "params.yaml")
    assert copy.ran("repro") in ([], ["check"])  # which runs again if another corpus was added
    return copy


REFUSED = [
    ("corpus: tiny", "corpus: tinny", "did you mean tiny", "check"),
    ("min_count: 2", "min_count: 1000", "vocabulary.min_count: found 1000", "vocabulary"),
]


@pytest.mark.parametrize(("old", "new", "message", "stage"), REFUSED)
def test_a_refused_repro_loses_nothing_and_undoing_the_change_is_the_way_back(
    restored: Copy, old: str, new: str, message: str, stage: str
) -> None:
    before, results = restored.outputs(), restored.results()
    restored.set(old, new)
    printed = restored.fails("repro")
    assert f"{stage}: " in printed
    assert message in printed
    assert restored.outputs() == before
    restored.run("git", "checkout", "params.yaml")
    assert restored.ran("repro") == []
    assert (restored.outputs(), restored.results()) == (before, results)


def test_a_refused_experiment_loses_nothing_and_undoing_the_change_is_the_way_back(restored: Copy) -> None:
    before, results = restored.outputs(), restored.results()
    assert "classifier.lr: found -1" in restored.fails("exp", "run", "-S", "classifier.lr=-1")
    assert restored.outputs() == before
    restored.run("git", "checkout", "params.yaml")
    assert restored.ran("repro") == []
    assert (restored.outputs(), restored.results()) == (before, results)


def test_a_table_becomes_a_report_by_one_command_and_two_corpora_take_turns(
    restored: Copy, tmp_path: Path
) -> None:
    before = restored.outputs()
    (tmp_path / "Stars.csv").write_text(tiny_corpus().replace("label", "mood"), encoding="utf-8")
    printed = restored.run(sys.executable, "-m", "tools.new", str(tmp_path / "Stars.csv"), "--run")
    assert "label     'good', 19 rows" in printed
    assert "warning: 1 of 40 texts are empty and were dropped" in printed
    assert "1 of 40 texts are empty" in (restored.folder / "metrics/report.html").read_text(encoding="utf-8")
    second = restored.outputs()
    for name, expected in (
        ("tiny", before),
        ("stars", second),
        ("tiny", before),
    ):  # from the cache, metrics included
        restored.run("git", "checkout", "params.yaml")
        restored.set("corpus: tiny", f"corpus: {name}")
        assert restored.ran("repro") in ([], ["check"])
        assert restored.outputs() == expected


def test_a_table_of_a_user_is_found_by_experiments_elsewhere_and_never_in_git(restored: Copy) -> None:
    restored.run("git", "add", "data/corpora/stars.dvc")
    change = ("-S", "corpus=stars", "-S", "explorer.clusters=3")
    ran = restored.ran("exp", "run", "--temp", "--name", "elsewhere", *change)
    others = [stage for stage in ran if stage != "agreement"]  # whose word set only git ignores
    assert others == ["check", "explorer", "report"]
    listed = restored.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    reference = next(name for name in listed if name.endswith("/elsewhere"))
    tracked = restored.run("git", "ls-tree", "-r", "--name-only", reference).splitlines()
    assert [path for path in tracked if "stars" in path] == ["data/corpora/stars.dvc"]


def test_an_experiment_is_listed_with_its_parameter_and_metrics(copy: Copy) -> None:
    shown = copy.run(sys.executable, "-m", "dvc", "exp", "show", "--csv")
    row = next(row for row in csv.DictReader(shown.splitlines()) if row["Experiment"] == "tensors-max_length")
    assert row["tensors.max_length"] == "30"
    assert 0 <= float(row["accuracy"]) <= 1


def readme_commands(start: str) -> list[list[str]]:
    """The words of README's commands that begin with `start`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(start)]


def test_the_tables_of_experiments_can_be_read(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """README's experiments, all in one, as its commands show them in a terminal of 200 columns."""
    copy.run("git", "checkout", "--", ".")
    copy.ran("checkout")
    copy.run(
        "git", "commit", "--quiet", "--allow-empty", "--message", "the experiments above belong to HEAD~"
    )
    changes = [word for command in readme_commands("dvc exp run") for word in command[3:]]
    assert changes.count("-S") >= 3
    printed = copy.run(sys.executable, "-m", "dvc", "exp", "run", *changes)
    ran = re.findall("Running stage '(.*)'", printed)
    assert ran == ["check", "ngrams", "classifier", "ensemble", *AFTER_ENSEMBLE]
    verdicts = [line for line in printed.splitlines() if line.startswith("accuracy ")]
    assert len(verdicts) == 1
    assert "than chance. Report: metrics/report.html" in verdicts[0]

    monkeypatch.setitem(copy.environment, "COLUMNS", "200")
    (show,) = readme_commands("dvc exp show")
    shown = copy.run(sys.executable, "-m", *show, "--no-pager")
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 200
    header = next(line for line in shown.splitlines() if "Experiment" in line).split()
    metrics = [name for name in HEADLINE if name in header]  # those that the change affects, in this order
    params = {change.partition("=")[0] for change in changes if "=" in change}
    assert header[: len(metrics) + 1] == ["Experiment", *metrics]
    assert params <= set(header[len(metrics) + 1 :])
    # On another corpus all metrics may be affected. A column has three spaces.
    listed = [name for name in HEADLINE if not re.match(show[show.index("--drop") + 1], name)]
    widths = [max(len(name), len("-0.1234")) for name in [*listed, *params]]
    assert len("  ├── 1234567 [moony-names]") + sum(width + 3 for width in widths) <= 200

    (diff,) = readme_commands("dvc metrics diff")
    lines = copy.run(sys.executable, "-m", *diff).splitlines()
    assert 2 <= len(lines) <= 20
    assert all(line.startswith("metrics/report.json ") for line in lines[1:])


def test_an_experiment_is_shared_through_a_remote(copy: Copy, tmp_path: Path) -> None:
    dvc = [sys.executable, "-m", "dvc"]
    copy.run("git", "checkout", "--", ".")
    copy.ran("checkout")
    copy.run("git", "init", "--quiet", "--bare", str(tmp_path / "code"))
    copy.run("git", "remote", "add", "origin", str(tmp_path / "code"))
    copy.run(*dvc, "remote", "add", "--default", "store", str(tmp_path / "store"))
    copy.run("git", "add", "--force", "data/corpora/tiny", "data/wordsets")  # a user's files are ignored
    copy.run("git", "commit", "--quiet", "--all", "--message", "remote")
    copy.run("git", "push", "--quiet", "origin", "HEAD:refs/heads/main")
    copy.run(*dvc, "exp", "run", "--quiet", "--name", "small", "-S", "explorer.clusters=4")
    copy.run(*dvc, "push", "--quiet")
    copy.run(*dvc, "exp", "push", "--quiet", "origin", "small")
    copy.run("git", "clone", "--quiet", "--branch", "main", str(tmp_path / "code"), str(tmp_path / "clone"))
    clone = Copy(tmp_path / "clone")
    assert "small" in clone.run(*dvc, "exp", "list", "origin")
    clone.run(*dvc, "exp", "pull", "--quiet", "origin", "small")
    clone.run(*dvc, "exp", "apply", "--quiet", "small")
    assert "clusters: 4" in (clone.folder / "params.yaml").read_text(encoding="utf-8")
    assert clone.ran("repro") == []
    assert clone.results() == copy.results()


def test_empty_and_unknown_texts_get_a_probability(copy: Copy) -> None:
    import pandas as pd

    raw = pd.read_parquet(copy.folder / "data/raw.parquet")
    table = pd.read_parquet(copy.folder / "data/predictions.parquet")
    assert table["probability"].between(0.5, 1).all()
    assert len(table) == (raw["split"] == "test").sum()


def test_every_file_is_tracked_by_git_or_dvc(copy: Copy) -> None:
    for stage in STAGES:
        assert (copy.folder / f"metrics/{stage}.json").is_file()
    untracked = copy.run("git", "ls-files", "--others", "--exclude-standard").split()
    assert set(untracked) <= {"data/corpora/stars.dvc"}
