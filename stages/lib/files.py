"""Files that are written completely or not at all, and whose bytes depend on their content only."""

import csv
import glob
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.lib.processes import is_dead, require_dvc
from stages.lib.resources import writing

DIGITS = 6  # decimal places in metrics/: enough to compare runs, few enough to read


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path, in a temporary folder beside `path`, which replaces it if the block succeeds.

    The folder also has what a library writes beside its file, as safetensors does. Folders that killed
    processes left there are removed. Raises ProcessLookupError if DVC started this stage and has ended since,
    and OSError with `path` if the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    folder = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary = folder / path.name
    try:
        with writing(path):
            folder.mkdir()
            yield temporary
            require_dvc(path)
            temporary.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Removes the temporary folders of `path` whose processes are dead."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        number = leftover.name.removeprefix(f".{path.name}.").removesuffix(".part")
        if number.isdecimal() and is_dead(int(number)):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:  # of an earlier version
                leftover.unlink(missing_ok=True)


def work_folder() -> Path:
    """Where a stage may keep what is no output: `.work` of the repository that DVC was started in."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".work"


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any], sort: bool = True) -> None:
    """Writes JSON with rounded numbers and, unless `sort` is false, sorted keys. Raises ValueError on NaN or
    infinity."""
    text = json.dumps(rounded(content), sort_keys=sort, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of the pipeline. Raises Refusal if it is damaged."""
    from stages.lib.command import Refusal  # imported here because that module imports this one

    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
        reason = "" if isinstance(content, dict) else f"found {content!r:.40}, expected an object {{...}}"
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        reason = f"not JSON at line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError):
        reason = "nested too deeply, or a number too long"
    if reason:
        raise Refusal(f"{path}: damaged: {reason}; remove it and run `dvc repro`")
    checked: dict[str, Any] = content
    return checked


def read_labels(path: Path) -> dict[str, Any]:
    """The content of data/labels.json. Raises Refusal if the names in it are damaged."""
    from stages.lib.command import Refusal

    facts = read_json(path)
    names, order, positive = facts.get("labels"), facts.get("order"), facts.get("positive")
    if not (
        isinstance(names, list)
        and len(names) >= 2
        and all(isinstance(name, str) for name in names)
        and len(set(names)) == len(names)
        and (order is None or (isinstance(order, list) and set(map(str, order)) == set(names)))
        and (positive is None or positive in names)
        and isinstance(facts.get("grouped", False), bool)
    ):
        raise Refusal(
            f"{path}: damaged: found {facts!r:.80}, expected two or more different names under labels, all "
            "of them under order or null, one under positive or null; remove it and run `dvc repro`"
        )
    return facts


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a small table with rounded numbers."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([rounded(value) for value in row] for row in rows)


def rounded(value: Any) -> Any:
    """The value with all floats in it rounded to six decimal places.

    >>> rounded({"loss": 0.123456789, "rows": [1, 2.0]})
    {'loss': 0.123457, 'rows': [1, 2.0]}
    """
    if isinstance(value, float) and math.isfinite(value):
        return round(value, DIGITS) + 0.0  # + 0.0 turns -0.0 into 0.0
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
