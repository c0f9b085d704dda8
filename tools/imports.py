"""Which files of `stages/` a module imports, directly or not. It needs the standard library only."""

import ast
from functools import cache
from pathlib import Path


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
