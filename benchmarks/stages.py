"""Measures the seconds and the peak memory of each stage, and the memory of text stages by corpus size.

    make bench ARCHIVE=aclImdb_v1.tar.gz            # the whole table
    make bench ARCHIVE=aclImdb_v1.tar.gz TIMES=1    # without the growth

ARCHIVE is the IMDb archive or one of the same layout. Each stage runs as DVC runs it, with the parameters of
presets/imdb.args, in a temporary folder. For the growth, the reviews of the archive are repeated 1, 4 and 16
times, with numbers that make all of them distinct.
"""

import argparse
import copy
import shlex
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pooch
import yaml

from benchmarks.measure import ROOT, Cost, measured, processor
from stages.lib.corpora import archive_members
from stages.lib.markdown import table
from stages.lib.params import Loader

LIMITS = {  # seconds that a stage may take on two cores
    "raw": 20, "tokens": 10, "vocabulary": 10, "ids": 10, "tensors": 5, "projection": 5, "classifier": 60,
    "evaluation": 10, "report": 10,
}  # fmt: skip
# Read from the repository.
SHIPPED = ("data/corpora", "data/pairs", "data/pretrained", "data/wordsets", "presets", "requirements.lock")
TEXT_STAGES = ("raw", "tokens", "vocabulary", "ids")


def preset(name: str) -> dict[str, Any]:
    """params.yaml with the changes that an argument file in presets/ makes."""
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"), Loader)
    return changed(params, (ROOT / f"presets/{name}.args").read_text(encoding="utf-8").split()[1::2])


def changed(params: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Parameters with the changes that `dvc exp run -S` would make, in order.

    >>> changed({"a": {"b": {"c": 1}}, "d": 2}, ["a.b.c=[3]", "d=x"])
    {'a': {'b': {'c': [3]}}, 'd': 'x'}
    """
    result = copy.deepcopy(params)
    for item in changes:
        key, _, value = item.partition("=")
        *sections, parameter = key.split(".")
        branch = result
        for section in sections:
            branch = branch[section]
        branch[parameter] = yaml.load(value, Loader)
    return result


def run_stage(stage: str, folder: Path, corpus: str = "imdb", **environment: str) -> Cost:
    """Runs a stage on the files in `folder` with its command in dvc.yaml; its checkpoint is in `folder` too.

    What the repository ships is read from there unless `folder` has it. Missing folders are created.
    """
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8").replace("${corpus}", corpus)
    words = shlex.split(yaml.safe_load(text)["stages"][stage]["cmd"])[2:]
    flags, own = words[1::2], [folder / path for path in words[2::2]]
    paths = [
        ROOT / word if word.startswith(SHIPPED) and not path.exists() else path
        for word, path in zip(words[2::2], own, strict=True)
    ]
    for path in paths:
        (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=True)
    return measured(
        words[0],
        *(word for pair in zip(flags, paths, strict=True) for word in pair),
        DVC_ROOT=str(folder),
        **environment,
    )


def write_params(folder: Path, archive: Path) -> None:
    """Writes params.yaml with the IMDb preset and the checksum of this archive."""
    params = changed(preset("imdb"), [f"raw.checksum={checksum(archive)}"])
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def checksum(archive: Path) -> str:
    """The value of raw.checksum for a downloaded file."""
    return f"sha256:{pooch.file_hash(str(archive), alg='sha256')}"


def repeated(archive: Path, times: int, target: Path) -> None:
    """Writes an archive with every review of another `times` times, each with a number before its text."""
    with tarfile.open(target, "w") as out:
        for name, file in archive_members(archive):
            text = file.read()
            for number in range(times):
                data = f"{number} ".encode() + text
                member = tarfile.TarInfo(f"{name.removesuffix('.txt')}_{number}.txt")
                member.size = len(data)
                out.addfile(member, BytesIO(data))


def growth(archive: Path, times: list[int]) -> list[list[str]]:
    """The peak megabytes of each text stage, and the seconds of all of them, for several corpus sizes."""
    rows = []
    for factor in times:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            grown = folder / "grown.tar"
            repeated(archive, factor, grown)
            write_params(folder, grown)
            costs = [run_stage(stage, folder, FIRTH_MIRROR=str(grown)) for stage in TEXT_STAGES]
            seconds = sum(cost.seconds for cost in costs)
            rows.append([f"{factor}×", *(f"{cost.megabytes:.0f}" for cost in costs), f"{seconds:.0f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--times", nargs="*", type=int, default=[1, 4, 16])
    options = parser.parse_args()
    archive = options.archive.resolve()
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_params(folder, archive)
        for stage in stages:
            cost = run_stage(stage, folder, FIRTH_MIRROR=str(archive))
            limit = f"{LIMITS[stage]}" if stage in LIMITS else ""
            rows.append([stage, f"{cost.seconds:.1f}", limit, f"{cost.megabytes:.0f}"])
    print(f"{archive.name} with presets/imdb.args; {processor()}\n")
    print(table(["stage", "seconds", "goal", "peak MB"], rows), "\n")
    if len(options.times) > 1:
        print("Peak MB of the text stages by corpus size, and the sum of their seconds\n")
        print(table(["corpus", *TEXT_STAGES, "seconds"], growth(archive, options.times)))


if __name__ == "__main__":
    main()
