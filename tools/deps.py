"""Writes the files that each stage imports into the `deps` of dvc.yaml.

    python -m tools.deps

DVC runs a stage again when one of its `deps` changes, so these must name every file of the repository
that the stage imports, directly or not. Other deps (data, templates) are kept as they are, and stand
before the code.
"""

import re
from pathlib import Path

from stages import STAGES
from stages.lib.command import run
from stages.lib.files import atomic
from stages.lib.sections import definition
from tools.imports import imported_by, imports

PIPELINE = Path("dvc.yaml")


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
