"""Where an export is written: an earlier export is replaced, any other file is not."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.command import Refusal
from stages.lib.files import atomic

EMBEDDINGS = Path("data/embeddings.safetensors")
VOCABULARY = Path("data/vocabulary.parquet")
FACTS = Path("data/embeddings.json")
PIPELINE = (Path("data"), Path("metrics"))  # folders of the pipeline, in which nothing is exported

CONFIG = "config.json"


def beside(path: Path, ending: str) -> Path:
    """The path of a file that accompanies an exported file.

    >>> beside(Path("vectors.vec"), "json").name
    'vectors.vec.json'
    """
    return path.with_name(f"{path.name}.{ending}")


def require_no_loss(path: Path, others: Sequence[Path], is_export: Callable[[], bool] = lambda: True) -> None:
    """Raises Refusal if writing `path` and the `others` beside it would overwrite a user's file.

    If `path` exists, the user has named it, and `is_export` tells whether an export has written it; then
    all of them may be replaced. If it does not exist, the others must not exist either.
    """
    for target in (path, *others):
        if target.resolve().parent in [folder.resolve() for folder in PIPELINE]:
            raise Refusal(f"{target}: this is in a folder of the pipeline; name a path in another folder")
        if target.is_dir():
            raise Refusal(f"{target}: found a folder, expected the path of a file; name another")
    if path.exists() and not is_export():
        raise Refusal(f"{path}: not from an earlier export, and would be overwritten; name another folder")
    if not path.exists() and (existing := [other for other in others if other.exists()]):
        raise Refusal(
            f"{existing[0]}: not from an earlier export, and would be overwritten; move it "
            "or name another path"
        )


def require_folder(folder: Path, names: Sequence[str], config: str, is_export: Callable[[], bool]) -> None:
    """`require_no_loss` for a format that is a folder of files, one of which is its `config`."""
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder}: found a file; this format is a folder, so name another path")
    require_no_loss(folder / config, [folder / name for name in names], is_export)


def has_fields(path: Path, fields: Mapping[str, Any]) -> bool:
    """Whether a JSON file is an object with these fields, by which an earlier export is recognised."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(content, dict) and fields.items() <= content.items()
    except (ValueError, TypeError):
        return False


def copy(source: Path, target: Path) -> None:
    """Copies a file byte for byte."""
    with atomic(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def write_facts(path: Path) -> None:
    """Copies data/embeddings.json, or writes {} if there is none."""
    with atomic(path) as temporary:
        temporary.write_bytes(FACTS.read_bytes() if FACTS.is_file() else b"{}\n")
