"""Prints the metrics of the last run, the model beside its baselines.

python -m tools.figures
"""

from pathlib import Path

from stages.lib.command import Refusal, run
from stages.lib.files import read_json
from stages.lib.headline import BASELINES
from tools.dvc_state import keep_lock
from tools.revisions import LOCK, WORKSPACE, find

EVALUATION = Path("metrics/evaluation.json")
REPORT = Path("metrics/report.html")
MODELS = {"ensemble": "Firth", **BASELINES}


def require_whole_run() -> None:
    """Raises Refusal unless the metrics are those of a run that ended, with the parameters as they are."""
    again = "run the pipeline: make repro, or dvc repro"
    if not EVALUATION.is_file() or not LOCK.is_file():
        raise Refusal(f"{EVALUATION}: no metrics of a run; {again}")
    (workspace,) = find([WORKSPACE])
    workspace.file(str(REPORT))
    for stage in workspace.upstream(str(REPORT)):
        for out in stage["outs"]:
            if not Path(out["path"]).is_file():
                raise Refusal(f"{out['path']}: missing, so the metrics are those of an earlier run; {again}")


def main() -> None:
    """Raises Refusal if the pipeline has not run to its end."""
    require_whole_run()
    metrics = read_json(EVALUATION)
    print(" " * 19, *(f"{model:>12}" for model in MODELS.values()))
    for name in metrics["ensemble"]:
        cells = [f"{metrics[model][name]:>12.4f}" if name in metrics[model] else " " * 12 for model in MODELS]
        print(f"{name:<19}", *cells)
    print(f"\nreport: {REPORT}")
    keep_lock()


if __name__ == "__main__":
    run(main)
