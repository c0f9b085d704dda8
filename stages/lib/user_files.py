"""Files of a user that params.yaml names."""

from pathlib import Path

from stages.lib.command import Refusal


def find_file(name: str, folder: Path, parameter: str) -> Path:
    """The path of a file: in `folder`, which DVC watches, or else `name` as a path of its own.

    Raises Refusal, which lists the files of the folder, if there is no such file.
    """
    for path in (folder / name, Path(name)):
        if path.is_file():
            return path
    files = folder.iterdir() if folder.is_dir() else []
    listed = ", ".join(sorted(path.name for path in files if path.suffix != ".md")) or "nothing"
    raise Refusal(f"{parameter}: no file {name!r}; put it into {folder} (found there: {listed})")
