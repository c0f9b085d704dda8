"""Checks params.yaml and the source.yaml of its corpus before any stage runs.

    python -m tools.check

`make repro` runs this first: DVC deletes the outputs of a stage before it runs, so a mistake is best
found before that. Each stage checks its own section again.
"""

from importlib import import_module
from pathlib import Path

from stages import STAGES
from stages.lib.command import Refusal, run
from stages.lib.corpora import read_source
from stages.lib.params import read_params, read_yaml

PARAMS = Path("params.yaml")
CORPORA = Path("data/corpora")


def main() -> None:
    """Raises Refusal with the first error."""
    for stage in STAGES:
        read_params(PARAMS, stage, import_module(f"stages.{stage}").Params)
    corpus = read_yaml(PARAMS).get("corpus")
    if not isinstance(corpus, str) or Path(corpus).name != corpus:
        raise Refusal(f"{PARAMS}: corpus: found {corpus!r}, expected the name of a folder in {CORPORA}")
    read_source(CORPORA / corpus)


if __name__ == "__main__":
    run(main)
