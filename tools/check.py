"""Are params.yaml and its corpus sound? Says so before a stage runs, and before DVC clears outputs.

    python -m tools.check

`make repro` begins with it. Each stage checks its own section again when it runs.
"""

from importlib import import_module
from pathlib import Path

from stages import STAGES
from stages.lib.command import Refusal, run
from stages.lib.corpora import read_source
from stages.lib.params import read_params, read_yaml

PARAMS = Path("params.yaml")
CORPORA = Path("data/corpora")
SECTIONS = {stage: import_module(f"stages.{stage}").Params for stage in STAGES}


def main() -> None:
    """Raises Refusal with the first thing that is wrong."""
    for stage, section in SECTIONS.items():
        read_params(PARAMS, stage, section)
    corpus = read_yaml(PARAMS).get("corpus")
    if not isinstance(corpus, str) or Path(corpus).name != corpus:
        raise Refusal(f"{PARAMS}: corpus: found {corpus!r}, wanted the name of a folder in {CORPORA}")
    read_source(CORPORA / corpus)


if __name__ == "__main__":
    run(main)
