"""Builds the wheel `firth`: the predictor and what it imports, without the stages that train it.

    python -m tools.wheel --output dist      # the same as: pip wheel --no-deps --wheel-dir dist .

The wheel has one package. firth/__init__.py is the file of the repository; firth/stages has the files that
it imports, found as `tools.deps` finds the code of a stage. Their imports of `stages` become imports of
`firth.stages`, so that nothing with a name as general as `stages` is installed among other packages.

This module is the build backend that pyproject.toml names (PEP 517), so pip and build work as usual. It needs
the standard library only, and the same files give the same wheel. An editable install is not supported:
the repository runs from its own folder, and an installed copy could be run in its place.
"""

import base64
import gzip
import hashlib
import io
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from tools.imports import imports

PACKAGE = Path("firth/__init__.py")
BUILD_FILES = ("pyproject.toml", "LICENSE", "tools/__init__.py", "tools/imports.py", "tools/wheel.py")
IMPORT = re.compile(r"^(\s*(?:from|import) )stages\b", re.MULTILINE)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can store


def sources() -> list[Path]:
    """The files of the repository that the wheel is made of, with the empty __init__.py of packages."""
    code = imports(PACKAGE)
    packages = {folder for file in code for folder in file.parents if folder.name}
    return sorted(code | {folder / "__init__.py" for folder in packages})


def in_package(source: str) -> str:
    """A module with its imports of `stages` changed to the copy inside the package.

    >>> in_package("from stages.lib.text import clean  # not of stages")
    'from firth.stages.lib.text import clean  # not of stages'
    """
    return IMPORT.sub(r"\1firth.stages", source)


def project() -> dict[str, Any]:
    """The section [project] of pyproject.toml."""
    content: dict[str, Any] = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    return content


def metadata() -> str:
    """The core metadata of the package: name, version, and what it needs."""
    fields = project()
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {fields['name']}",
        f"Version: {fields['version']}",
        f"Summary: {fields['description']}",
        f"License-Expression: {fields['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {fields['requires-python']}",
        *(f"Requires-Dist: {requirement}" for requirement in fields["dependencies"]),
    ]
    return "\n".join(lines) + "\n"


def contents() -> dict[str, bytes]:
    """The files of the wheel by their names in it, without RECORD."""
    files = {}
    for path in sources():
        target = path if path.parts[0] == "firth" else "firth" / path
        files[target.as_posix()] = in_package(path.read_text(encoding="utf-8")).encode()
    folder = f"{stem()}.dist-info"
    files["firth/py.typed"] = b""
    files[f"{folder}/METADATA"] = metadata().encode()
    files[f"{folder}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tools.wheel\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{folder}/licenses/LICENSE"] = Path("LICENSE").read_bytes()
    return files


def record(files: dict[str, bytes], name: str) -> str:
    """The content of RECORD, which is called `name`: each file with its hash and length.

    >>> print(record({"a.py": b""}, "RECORD"), end="")
    a.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
    RECORD,,
    """
    rows = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}\n")
    return "".join([*rows, f"{name},,\n"])


def stem() -> str:
    """The beginning of the names of all files that are built, such as firth-0.1.0."""
    fields = project()
    return f"{fields['name']}-{fields['version']}"


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """Writes the wheel into a folder and returns its name. Its arguments are those of PEP 517."""
    name, files = f"{stem()}-py3-none-any.whl", contents()
    listed = f"{stem()}.dist-info/RECORD"
    files[listed] = record(files, listed).encode()
    with zipfile.ZipFile(Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return name


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Writes the files that the wheel is built from, as an archive, and returns its name (PEP 517)."""
    name = f"{stem()}.tar.gz"
    files = {path: Path(path).read_bytes() for path in [*BUILD_FILES, *map(str, sources())]}
    files["PKG-INFO"] = metadata().encode()
    with (
        (Path(sdist_directory) / name).open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path, content in files.items():
            entry = tarfile.TarInfo(f"{stem()}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return name


def main(output: Path) -> None:
    """Writes the wheel to the folder `output`."""
    output.mkdir(parents=True, exist_ok=True)
    print(output / build_wheel(str(output)))


if __name__ == "__main__":
    from stages.lib.command import run  # not where pip builds: it may import packages that are not there

    run(main)
