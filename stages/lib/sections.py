"""The `Params` of a stage, read without importing the stage.

Importing all stages imports torch and takes over a second. `Params` stands at the top of a stage file and
needs little: this module takes the statements that define it out of the file, and runs these alone.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.lib.params import Section

STAGE_FOLDER = Path(__file__).parent.parent


def definition(stage: str) -> ast.Module:
    """The statements of a stage file that define `Params` and the names that it uses, in their order."""
    tree = ast.parse((STAGE_FOLDER / f"{stage}.py").read_text(encoding="utf-8"))
    defined_by = {name: node for node in tree.body for name in _names_defined(node)}
    needed: set[ast.stmt] = set()
    waiting = ["Params"]
    while waiting:
        node = defined_by.get(waiting.pop())
        if node is not None and node not in needed:
            needed.add(node)
            parts = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
            waiting += [part.id for part in parts if isinstance(part.ctx, ast.Load)]
    return ast.Module([node for node in tree.body if node in needed], [])


def _names_defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.ClassDef | ast.FunctionDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (
            part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)
        )


def params_of(stage: str) -> type[Section]:
    """The class `Params` of a stage. Test: tests/test_sections.py compares it with the imported one."""
    namespace: dict[str, Any] = {"__name__": f"stages.{stage}"}
    exec(compile(definition(stage), f"stages/{stage}.py", "exec"), namespace)  # nosec B102  # the project's own code
    params: type[Section] = namespace["Params"]
    return params
