"""What the page was made from, and how to make it again.

The page is an output of the run, so it cannot contain the hash of dvc.lock or the revision that it is
committed in. It lists the MD5 of its inputs, which dvc.lock has too, and says how to find the revision.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stages.lib.corpora import read_source
from stages.lib.files import sha256

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "polars",
    "pyarrow",
    "tokenizers",
    "safetensors",
    "scikit-learn",
    "dvc",
)
REPEATED = ("seed", "threads", "salt", "device")  # parameters that a second run must not change


class Provenance(NamedTuple):
    """The inputs of the page."""

    files: list[tuple[str, str]]  # (path, MD5)
    digest: str  # SHA-256 of the lines "MD5  path"
    versions: dict[str, str]
    settings: dict[str, Any]  # seeds, threads and devices by their dotted name


class Origin(NamedTuple):
    """Where the corpus comes from."""

    described: str | None  # who made it, and when
    licence: str | None
    file: str
    checksum: str


def origin_of(corpus: Path, checksum: str | None) -> Origin:
    """What source.yaml states about a corpus. `checksum` is that of another edition of its file, if any."""
    source = read_source(corpus)
    checksum = checksum or source.checksum or f"sha256:{sha256(corpus / source.name)}"
    return Origin(source.origin, source.licence, source.name, checksum)


def md5(path: Path) -> str:
    """The MD5 of a file's bytes, as dvc.lock has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def digest_of(files: Sequence[tuple[str, str]]) -> str:
    """The SHA-256 of the lines that `md5sum` prints for the files.

    >>> digest_of([("a.csv", "0cc1")])[:8]
    'b7b28b32'
    """
    lines = "".join(f"{checksum}  {name}\n" for name, checksum in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def pinned_versions(lock: Path) -> dict[str, str]:
    """The versions of the main packages in requirements.lock."""
    pins = dict(
        re.findall(r"^([A-Za-z0-9_.-]+)==([^\s\\;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    )
    return {name: pins[name] for name in PACKAGES if name in pins}


def flattened(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters by their dotted name.

    >>> flattened({"corpus": "sample", "raw": {"test": 0.2}, "ids": {}})
    {'corpus': 'sample', 'raw.test': 0.2}
    """
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{key}": item for key, item in value.items()}
        else:
            flat[name] = value
    return flat


def provenance(files: Sequence[Path], lock: Path, params: Mapping[str, Any]) -> Provenance:
    """What a page made of these files was made from."""
    checksums = [(f"{path.parent.name}/{path.name}", md5(path)) for path in files]
    settings = {name: value for name, value in flattened(params).items() if name.split(".")[-1] in REPEATED}
    return Provenance(checksums, digest_of(checksums), pinned_versions(lock), settings)


class Setting(NamedTuple):
    """A parameter beside its default."""

    name: str
    value: str
    default: str | None  # None: the defaults do not have it

    @property
    def differs(self) -> bool:
        """Whether the value is not the default."""
        return self.value != self.default


def settings(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, list[Setting]]:
    """The parameters of each section beside the committed defaults; the corpus is no setting."""
    flat = {name: written(value) for name, value in flattened(defaults).items()}
    return {
        section: [Setting(key, written(value), flat.get(f"{section}.{key}")) for key, value in values.items()]
        for section, values in params.items()
        if isinstance(values, Mapping) and values
    }


def differing(every: Mapping[str, Sequence[Setting]]) -> list[tuple[str, Setting]]:
    """The parameters that are not the defaults: (dotted name, setting)."""
    return [
        (f"{section}.{setting.name}", setting)
        for section, part in every.items()
        for setting in part
        if setting.differs
    ]


def written(value: Any) -> str:
    """A value as YAML writes it.

    >>> [written(value) for value in (True, None, 0.2, [5, 10], "auto", {"min": 3})]
    ['true', 'null', '0.2', '[5, 10]', 'auto', '{min: 3}']
    """
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {written(item)}' for key, item in value.items())}}}"
    return str(value)
