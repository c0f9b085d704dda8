"""The rules of ARCHITECTURE.md: one name in six places, imports along the DAG, no known bugs of DVC."""

import ast
import inspect
import shlex
import sys
from functools import cache, reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import STAGES
from stages.lib.files import read_json
from tests.conftest import ROOT
from tools.deps import code_deps, imports, with_deps
from tools.imports import direct_imports

Yaml = dict[str, Any]


@cache
def pipeline() -> Yaml:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


@cache
def shipped_params() -> Yaml:
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def files_of(stage: str, kind: str) -> list[str]:
    """The paths under deps, outs, metrics or plots of a stage."""
    return [next(iter(e)) if isinstance(e, dict) else e for e in pipeline()[stage].get(kind, [])]


def outputs_of(stage: str) -> list[str]:
    return files_of(stage, "outs") + files_of(stage, "metrics") + files_of(stage, "plots")


def test_dvc_yaml_has_the_stages_in_reading_order() -> None:
    assert tuple(pipeline()) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_one_name_in_six_places(stage: str) -> None:
    assert (ROOT / f"stages/{stage}.py").is_file()
    assert (ROOT / f"tests/test_{stage}.py").is_file()
    assert stage in shipped_params()
    assert pipeline()[stage]["cmd"].startswith(f"python -m stages.{stage} --params params.yaml ")
    made = [Path(path) for path in outputs_of(stage)]
    assert any(path.parent.name == "metrics" and path.stem == stage for path in made)
    other_name = {"evaluation": "predictions", "report": "report"}
    assert any(path.stem == other_name.get(stage, stage) for path in made)


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_names_exactly_the_deps_and_outputs(stage: str) -> None:
    words = shlex.split(pipeline()[stage]["cmd"])[3:]
    flags, paths = words[::2], words[1::2]
    parameters = inspect.signature(import_module(f"stages.{stage}").main).parameters
    assert flags == [f"--{name.replace('_', '-')}" for name in parameters]
    data = [path for path in files_of(stage, "deps") if not path.startswith("stages/")]
    if stage == "report":  # reads the folder of metrics
        data = ["metrics", *(path for path in data if not path.startswith("metrics/"))]
    assert sorted(paths) == sorted(["params.yaml", *data, *outputs_of(stage)])


@pytest.mark.parametrize("stage", STAGES)
def test_every_imported_file_is_a_dep(stage: str) -> None:
    code = {path for path in files_of(stage, "deps") if path.startswith("stages/") and path.endswith(".py")}
    assert code == set(code_deps(stage))


def test_tools_deps_leaves_a_correct_dvc_yaml_unchanged() -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert text == reduce(with_deps, STAGES, text)


def test_tools_deps_restores_a_missing_dep() -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    line = "      - stages/lib/files.py\n"
    damaged = text.replace(line, "", 1)
    assert damaged != text
    assert with_deps(damaged, STAGES[0]) == text


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_stages_whose_outputs_it_reads(stage: str) -> None:
    reached: set[Path] = set()
    waiting = {Path(f"stages/{stage}.py")}
    while waiting:
        reached.add(path := waiting.pop())
        if path.stem != "predictor":  # which prepares a text as the first stages do
            waiting |= direct_imports(path) - reached
    others = {path.stem for path in reached if path.parent == Path("stages")}
    for other in others - {stage, "__init__", "predictor"}:
        assert set(outputs_of(other)) & set(files_of(stage, "deps"))


def test_the_shared_code_imports_no_stage() -> None:
    for path in Path("stages/lib").rglob("*.py"):
        modules = {file for file in imports(path) if file.name != "__init__.py"}
        assert {file.parts[1] for file in modules} <= {"lib"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_file_has_its_four_parts_in_order(stage: str) -> None:
    tree = ast.parse((ROOT / f"stages/{stage}.py").read_text(encoding="utf-8"))
    assert f"python -m stages.{stage}" in (ast.get_docstring(tree) or "")
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    assert names[0] == "Params"
    assert "main" in names
    fields = import_module(f"stages.{stage}").Params.model_fields
    assert all(field.is_required() for field in fields.values())
    assert set(fields) == set(shipped_params()[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_the_first_line_of_the_docstring_is_the_description_in_dvc(stage: str) -> None:
    docstring = import_module(f"stages.{stage}").__doc__ or ""
    first = " ".join(docstring.split("\n\n")[0].split())
    title = "N-grams" if stage == "ngrams" else stage.capitalize()
    assert first == f"{title}: {pipeline()[stage]['desc']}."


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_own_params(stage: str) -> None:
    expected = {"check": ["corpus", *STAGES], "report": ["corpus", *STAGES], "explorer": ["corpus", stage]}
    assert pipeline()[stage]["params"] == expected.get(stage, [stage])


def test_no_module_has_the_name_of_a_standard_library_module() -> None:
    names = {
        path.stem for folder in ("stages", "stages/lib", "tools") for path in (ROOT / folder).glob("*.py")
    }
    assert not names & set(sys.stdlib_module_names)


def keys_of(tree: Any, prefix: str = "") -> list[str]:
    """The dotted names of all values in a tree of mappings."""
    if not isinstance(tree, dict):
        return [prefix]
    return [name for key, value in tree.items() for name in keys_of(value, f"{prefix}.{key}".strip("."))]


def test_no_parameter_has_a_name_that_the_run_cache_ignores() -> None:
    parts = {part for name in keys_of(shipped_params()) for part in name.split(".")}
    assert not parts & {"size", "nfiles"}


def test_no_metric_has_the_name_of_a_parameter() -> None:
    metrics = {name for path in (ROOT / "metrics").glob("*.json") for name in keys_of(read_json(path))}
    assert metrics
    assert not metrics & set(keys_of(shipped_params()))


def test_outputs_are_ignored_by_git_and_metrics_are_not_cached_by_dvc() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8")
    for stage in STAGES:
        for path in (entry for entry in pipeline()[stage]["outs"] if isinstance(entry, str)):
            assert f"/{Path(path).parent}/*{Path(path).suffix}" in ignored or f"/{path}" in ignored
        for kind in ("outs", "metrics", "plots"):
            for entry in pipeline()[stage].get(kind, []):
                assert isinstance(entry, str) or next(iter(entry.values()))["cache"] is False


def test_every_output_of_a_stage_is_in_the_run_cache() -> None:
    # DVC keeps no run of a stage with an output that is not cached, unless it is a metric or a plot.
    for stage in STAGES:
        assert all(isinstance(entry, str) for entry in pipeline()[stage]["outs"])


def test_dvc_lists_the_headline_metrics_alone() -> None:
    listed = [path for stage in STAGES for path in files_of(stage, "metrics")]
    assert listed == ["metrics/report.json"]
    for stage in STAGES[:-1]:
        assert f"metrics/{stage}.json" in files_of(stage, "outs")


def test_dvc_yaml_uses_no_feature_with_known_bugs() -> None:
    for stage in pipeline().values():
        assert not {"wdir", "frozen", "always_changed"} & set(stage)
        assert "persist" not in str(stage)


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.args")), ids=lambda path: path.stem)
def test_presets_set_existing_parameters(preset: Path) -> None:
    words = preset.read_text(encoding="utf-8").split()
    assert words[::2] == ["-S"] * (len(words) // 2)
    known = {f"{name}." for name in keys_of(shipped_params())}  # a group may be set as a whole, to null
    for word in words[1::2]:
        assert any(name.startswith(f"{word.partition('=')[0]}.") for name in known), word
