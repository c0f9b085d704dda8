"""Check: everything that can be wrong before the corpus is read is refused in one line."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.check import main
from stages.lib.command import Refusal
from stages.lib.files import read_json
from tests.conftest import ROOT, Params, refused

HOSTILE_NAMES = (
    "a;touch X", "$(touch X)", "`touch X`", "a b", "..", "a\nb", "a\n", "-a", ".a", "a&b", "a'b", "é",
)  # fmt: skip
FOLDERS = ("corpora", "pretrained", "wordsets", "pairs")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the shipped corpora, pairs and folders of a user."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / "data" / folder, tmp_path / folder)
    return tmp_path


def paths(project: Path, params: Params) -> list[Path]:
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    made = [project / "made" / name for name in ("check.json", "metrics.json")]
    return [project / "params.yaml", *(project / folder for folder in FOLDERS), *made]


def test_the_shipped_params_and_corpus_are_valid(project: Path, params: Params) -> None:
    main(*paths(project, params))
    facts = read_json(project / "made/check.json")
    length = (ROOT / "data/corpora/sample/reviews.csv").stat().st_size
    columns = ["text", "label"]
    assert facts == {"corpus": "sample", "file": "reviews.csv", "bytes": length, "columns": columns}
    assert read_json(project / "made/metrics.json") == {"file": {"bytes": length, "columns": 2}}


def test_another_parameter_does_not_change_the_output(project: Path, params: Params) -> None:
    main(*paths(project, params))
    before = (project / "made/check.json").read_bytes()
    params["ngrams"]["l2"] = 7
    main(*paths(project, params))
    assert (project / "made/check.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": "imbd"}, "'imbd'.*did you mean imdb.*imdb, sample, sst2"),
        ({"corpus": "../elsewhere"}, "corpus: found '../elsewhere'"),
        ({"corpus": 3}, "corpus: found 3"),
        ({"embedings": {}}, "unknown section 'embedings'; did you mean embeddings"),
        ({"report": {}}, "report.*missing"),
        ({"ids": {"dim": 1}}, r"ids\.dim: unknown"),
        ({"projection": {"components": 1}}, "projection.components: found 1"),
        ({"explorer": {"dims": 101}}, "explorer.dims: found 101, but the vectors have 100"),
        ({"raw": {"test": 0.6, "validation": 0.4}}, "leave nothing to train on"),
        ({"embeddings": {"engine": "textbook", "device": "cuda"}}, "textbook, which trains whole words"),
        ({"embeddings": {"pretrained": "glove.txt"}}, "embeddings.pretrained: no file 'glove.txt'"),
        ({"agreement": {"wordsets": ["men.txt"]}}, "agreement.wordsets: no file 'men.txt'"),
        ({"robustness": {"pairs": ["pairs.csv"]}}, "robustness.pairs: no file 'pairs.csv'"),
    ],
)
def test_a_mistake_is_refused(project: Path, params: Params, changes: Params, message: str) -> None:
    for section, keys in changes.items():
        is_part = isinstance(keys, dict) and keys and section in params
        params[section] = params[section] | keys if is_part else keys
    with pytest.raises(Refusal, match=message):
        main(*paths(project, params))
    assert not (project / "made").exists()


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_corpus_whose_name_a_shell_could_read_is_refused(
    project: Path, params: Params, name: str, tmp_path: Path
) -> None:
    if ".." not in name:
        shutil.copytree(project / "corpora/sample", project / "corpora" / name)
    params["corpus"] = name
    with pytest.raises(Refusal, match=r"corpus: found .*, expected the name of a folder .*, of letters"):
        main(*paths(project, params))
    assert not (project / "made").exists()


@pytest.mark.parametrize("stage", ["raw", "report"])
@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if "'" not in name and name != ".."])
def test_a_shell_reads_the_name_of_a_corpus_as_one_word(stage: str, name: str, tmp_path: Path) -> None:
    # `dvc repro --single-item raw` runs a stage without check before it.
    command = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["cmd"]
    shown = command.replace("${corpus}", name).replace(f"python -m stages.{stage}", "printf '%s\\0'")
    ended = subprocess.run(["sh", "-c", shown], cwd=tmp_path, capture_output=True, text=True, check=True)
    words = ended.stdout.split("\0")
    assert words[words.index("--corpus") + 1] == f"data/corpora/{name}"
    assert list(tmp_path.iterdir()) == []


def test_two_word_sets_of_one_name_are_refused(project: Path, params: Params) -> None:
    for name in ("a.txt", "a.csv"):
        (project / "wordsets" / name).write_text("good great 9\n")
    params["agreement"]["wordsets"] = ["a.txt", "a.csv"]
    with pytest.raises(Refusal, match="two files named 'a'"):
        main(*paths(project, params))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, r"reviews\.csv: no such file"),
        ("", "the file is empty"),
        ("text,label\n", "found no rows"),
        ("txt,label\na,b\n", "no column 'text'; did you mean 'txt'"),
        ("text,text\na,b\n", "column 'text' occurs twice"),
    ],
)
def test_the_file_and_its_columns_are_looked_at(
    project: Path, params: Params, content: str | None, match: str
) -> None:
    path = project / "corpora/sample/reviews.csv"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(Refusal, match=match):
        main(*paths(project, params))


def test_a_refusal_is_one_line_with_the_name_of_the_stage(
    project: Path, params: Params, stage: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    params["classifier"]["lr"] = -1
    assert refused(stage("check", *paths(project, params)), "check: ", "classifier.lr: found -1")


def test_the_stage_imports_no_torch(project: Path, params: Params) -> None:
    paths_given: Any = [str(path) for path in paths(project, params)]
    code = (
        "import sys; from pathlib import Path; from stages.check import main;"
        f"main(*map(Path, {paths_given!r})); sys.exit('torch' in sys.modules)"
    )
    command = [shutil.which("python") or "python", "-c", code]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
