"""Prints the figures of the last run, the classifier beside its baselines.

python -m tools.figures
"""

from pathlib import Path

import pandas as pd

from stages.lib.command import Refusal, run
from stages.lib.files import read_json

EVALUATION = Path("metrics/evaluation.json")
REPORT = Path("metrics/report.html")
CONTENDERS = ("classifier", "nbsvm", "naive_bayes", "majority")


def main() -> None:
    """Raises Refusal where nothing has been run yet."""
    if not EVALUATION.is_file():
        raise Refusal(f"{EVALUATION}: no such file; run the pipeline first: make repro, or dvc repro")
    found = read_json(EVALUATION)
    figures = pd.DataFrame({name: found[name] for name in CONTENDERS})
    print(figures.to_string(float_format="{:.4f}".format))
    print(f"\nreport: {REPORT}")


if __name__ == "__main__":
    run(main)
