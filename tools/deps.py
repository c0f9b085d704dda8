"""Writes the files that each stage imports into the `deps` of dvc.yaml.

    python -m tools.deps

DVC runs a stage again when one of its `deps` changes, so these must name every file of the repository
that the stage imports, directly or not. Other deps (data, templates) are kept as they are, and stand
before the code.
"""

import ast
import re
from functools import cache
from pathlib import Path

from stages import STAGES
from stages.lib.command import run
from stages.lib.files import atomic
from stages.lib.sections import definition

PIPELINE = Path("dvc.yaml")


@cache
def direct_imports(path: Path) -> frozenset[Path]:
    """The modules below `stages/` that a file imports, with the `__init__.py` of each package on the way."""
    return imported_by(ast.parse(path.read_text(encoding="utf-8")))


def imported_by(tree: ast.AST) -> frozenset[Path]:
    """The modules below `stages/` that code imports, with the `__init__.py` of each package on the way."""
    imported = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "stages":
                packages = [Path(*parts[:n]) / "__init__.py" for n in range(1, len(parts) + 1)]
                imported |= {file for file in [*packages, Path(*parts).with_suffix(".py")] if file.is_file()}
    return frozenset(imported)


def imports(path: Path) -> set[Path]:
    """All files below `stages/` that importing a module reads, itself among them. Empty ones are left out."""
    reached: set[Path] = set()
    waiting = {path, Path("stages/__init__.py")}
    while waiting:
        file = waiting.pop()
        reached.add(file)
        waiting |= direct_imports(file) - reached
    return {file for file in reached if file.stat().st_size}


def code_deps(stage: str) -> list[str]:
    """The code of a stage in the order of dvc.yaml: its own file, the other stages, then `lib`.

    >>> code_deps("ids")[:2]
    ['stages/ids.py', 'stages/__init__.py']
    """
    own = Path(f"stages/{stage}.py")
    reached = imports(own)
    if Path("stages/lib/sections.py") in reached:  # reads the `Params` of every stage
        for other in STAGES:
            named = imported_by(definition(other))
            reached |= {Path(f"stages/{other}.py"), *(file for path in named for file in imports(path))}
    files = sorted(reached - {own}, key=lambda file: (file.parent != own.parent, str(file)))
    return [str(own), *map(str, files)]


def with_deps(text: str, stage: str) -> str:
    """The text of dvc.yaml with the code deps of one stage replaced."""
    start = text.index(f"\n  {stage}:\n")
    start = text.index("    deps:\n", start) + len("    deps:\n")
    listed = re.compile(r"(?: {6}- .*\n)*").match(text, start)
    assert listed is not None, "a stage has deps"
    data = [line for line in listed[0].splitlines() if not re.fullmatch(r" {6}- stages/\S+\.py", line)]
    lines = [*data, *(f"      - {path}" for path in code_deps(stage))]
    return text[:start] + "\n".join(lines) + "\n" + text[listed.end() :]


def main() -> None:
    """Rewrites dvc.yaml."""
    text = PIPELINE.read_text(encoding="utf-8")
    for stage in STAGES:
        text = with_deps(text, stage)
    with atomic(PIPELINE) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
