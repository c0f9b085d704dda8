"""The wheel: built, installed beside the locked packages, and equal to the pipeline."""

import ast
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import polars as pl
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.test_predictor import held_out, run_in
from tools import wheel

pytestmark = pytest.mark.usefixtures("in_repository")

PREDICT = """
import json, sys
import firth
model = firth.load(sys.argv[1])
texts = json.loads(sys.stdin.read())
result = {"classes": model.classes_.tolist(), "probabilities": model.predict_proba(texts).tolist(),
          "labels": model.predict(texts).tolist(), "strongest": model.explain(texts[0]).strongest(1)[0][0][0],
          "file": firth.__file__, "modules": sorted(sys.modules)}
print(json.dumps(result))
"""


@pytest.fixture
def in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository's root as the working directory, as pip calls a build backend."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as pip builds it."""
    folder = tmp_path_factory.mktemp("dist")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--wheel-dir", folder, ROOT], check=True)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel, which also finds the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--target", site, built], check=True)
    (site / "locked.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin/python"


def test_the_installed_wheel_has_the_probabilities_of_the_pipeline(python: Path, tmp_path: Path) -> None:
    texts = held_out(run_in(tmp_path))
    expected = pl.read_parquet(tmp_path / "predictions.parquet")
    printed = subprocess.run(
        [python, "-I", "-c", PREDICT, tmp_path],
        input=json.dumps(texts), cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    result = json.loads(printed)
    assert Path(result["file"]).is_relative_to(python.parent.parent)
    assert result["labels"] == expected["predicted"].to_list()
    for number, name in enumerate(result["classes"]):
        column = [row[number] for row in result["probabilities"]]
        assert column == pytest.approx(expected[f"probability_{name}"].to_list(), abs=1e-6)
    assert result["strongest"]
    loaded = {name.partition(".")[0] for name in result["modules"]}
    assert not loaded & {"stages", "torch", "dvc", "sklearn", "pooch"}


def test_the_wheel_leaves_the_process_of_others_as_it_is(python: Path) -> None:
    code = "import gc, os; before = gc.get_threshold(); import firth;"
    code += "print(gc.get_threshold() == before, os.environ.get('OPENBLAS_NUM_THREADS'))"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [python, "-I", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True None\n"


def test_the_wheel_has_one_package_and_no_code_of_training(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}
    assert {name.partition("/")[0] for name in names} == {"firth", "firth-0.1.0.dist-info"}
    for module in ("predictor", "lib/model", "lib/__init__"):
        assert f"firth/stages/{module}.py" in names
    for module in ("embeddings", "classifier", "ensemble", "raw", "lib/corpora", "lib/ngram/regression"):
        assert f"firth/stages/{module}.py" not in names


def test_the_build_needs_the_standard_library_only() -> None:
    code = "import sys, tools.wheel as wheel; wheel.contents();"
    code += "print({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ast.literal_eval(done.stdout) == {"__main__", "tools"}


def test_the_same_files_give_the_same_wheel(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert (tmp_path / wheel.build_wheel(str(tmp_path))).read_bytes() == built.read_bytes()


def test_the_source_archive_builds_the_same_wheel(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    archive = tmp_path / wheel.build_sdist(str(tmp_path))
    assert archive.read_bytes()[4:8] == bytes(4)  # the time in the header of gzip
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    folder = tmp_path / "firth-0.1.0"
    assert (folder / "PKG-INFO").read_text().startswith("Metadata-Version: 2.4\nName: firth\n")
    command = [sys.executable, "-m", "tools.wheel", "--output", "dist"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    assert (folder / "dist" / built.name).read_bytes() == built.read_bytes()


def test_the_dependencies_are_the_packages_that_its_code_imports() -> None:
    modules = {
        name.partition(".")[0]
        for path in wheel.sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in names_of(node)
    }
    # sklearn is imported where it is installed, dvc by what only stages call.
    modules -= {"firth", "stages", "sklearn", "dvc", *sys.stdlib_module_names}
    packages = packages_distributions()
    needed = {canonicalize_name(packages[module][0]) for module in modules}
    assert {Requirement(text).name for text in wheel.project()["dependencies"]} == needed


def names_of(node: ast.AST) -> list[str]:
    """The modules that an import statement names."""
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_no_module_of_it_is_imported_by_a_name_that_the_wheel_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    for path in wheel.sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):  # `import stages.x` binds the name `stages`
                assert not [name for name in names_of(node) if name.startswith("stages")], path
