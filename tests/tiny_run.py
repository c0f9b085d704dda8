"""All stages run on a small corpus, in this process and without DVC, by the commands of dvc.yaml."""

import shlex
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from stages import STAGES
from tests.conftest import ROOT

SMALL = {  # trains in a second
    "embeddings": {"dim": 8, "epochs": 2},
    "projection": {"components": 4},
    "classifier": {"epochs": 2, "folds": 0},
    "ngrams": {"folds": 0},
    "evaluation": {"resamples": 100},
}
USER_FILES = ("pretrained", "wordsets", "pairs")
Columns = Mapping[str, list[Any]]


def prepare(folder: Path, reviews: Columns, corpus: str = "tiny", **sections: dict[str, Any]) -> None:
    """Makes a folder in which stages can run: the code, a corpus, and the shipped params.yaml with SMALL and
    `sections`. `reviews` has the columns `text` and `label`, and may have others, named as in source.yaml."""
    (folder / "data").mkdir()
    for name in ("stages", "presets", "requirements.lock", *(f"data/{one}" for one in USER_FILES)):
        (folder / name).symlink_to(ROOT / name)
    (folder / "metrics").mkdir()
    home = folder / "data/corpora" / corpus
    home.mkdir(parents=True)
    pq.write_table(pa.table(dict(reviews)), home / "reviews.parquet")
    source = {"origin": "a test", "licence": "none", "file": "reviews.parquet"}
    (home / "source.yaml").write_text(yaml.safe_dump(source | {"columns": {name: name for name in reviews}}))
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")) | {"corpus": corpus}
    for choices in (SMALL, sections):
        for stage, keys in choices.items():
            params[stage] |= keys
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def run_stages(folder: Path, after: Mapping[str, Callable[[], None]] | None = None) -> None:
    """Runs all stages in a prepared folder. `after` has functions by the stage that they follow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_ROOT", str(folder))
        for stage in STAGES:
            run_stage(stage)
            (after or {}).get(stage, lambda: None)()


def run_stage(stage: str) -> None:
    """Runs a stage in the current folder, with the flags of dvc.yaml."""
    commands = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    corpus = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["corpus"]
    words = [word.replace("${corpus}", corpus) for word in shlex.split(commands[stage]["cmd"])[3:]]
    flags = {
        name[2:].replace("-", "_"): Path(path) for name, path in zip(words[::2], words[1::2], strict=True)
    }
    import_module(f"stages.{stage}").main(**flags)
