"""Prints the metrics of the last run, the model beside its baselines.

python -m tools.figures
"""

from pathlib import Path

from stages.lib.command import Refusal, run
from stages.lib.files import read_json

EVALUATION = Path("metrics/evaluation.json")
REPORT = Path("metrics/report.html")
MODELS = ("ensemble", "nbsvm", "naive_bayes", "majority")


def main() -> None:
    """Raises Refusal if the pipeline has not run yet."""
    if not EVALUATION.is_file():
        raise Refusal(f"{EVALUATION}: no such file; run the pipeline first: make repro, or dvc repro")
    metrics = read_json(EVALUATION)
    print(" " * 12, *(f"{model:>12}" for model in MODELS))
    for name in metrics[MODELS[0]]:
        cells = [f"{metrics[model][name]:>12.4f}" if name in metrics[model] else " " * 12 for model in MODELS]
        print(f"{name:<12}", *cells)
    print(f"\nreport: {REPORT}")


if __name__ == "__main__":
    run(main)
