"""The charts of the page, from the tables that the stages wrote."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from markupsafe import Markup

from stages import STAGES
from stages.lib.charts import curves
from stages.lib.charts.matrix import confusion
from stages.lib.files import read_json
from stages.lib.report.curves import abstaining, precision_recall
from stages.lib.report.tables import read_rows

TABLES = (
    "embeddings_loss.csv",
    "classifier_curve.csv",
    "evaluation_roc.csv",
    "evaluation_confusion.csv",
    "evaluation_reliability.csv",
    "evaluation_coverage.csv",
    "evaluation_slices.csv",
)


def measured(metrics: Path) -> list[Path]:
    """The files in metrics/ that the page shows."""
    return [metrics / name for name in (*(f"{stage}.json" for stage in STAGES[:-1]), *TABLES)]


def draw_charts(metrics: Path, predictions: pa.Table, labels: Sequence[str]) -> dict[str, Markup]:
    """The charts of the page. One that cannot be drawn, such as a curve of one label, is empty."""

    def losses(file: str, x: str, names: dict[str, str]) -> Markup:
        return curves.training(file, read_rows(metrics / f"{file}.csv"), x, names)

    roc = read_rows(metrics / "evaluation_roc.csv")
    positive = read_json(metrics / "evaluation.json").get("positive")
    lines = precision_recall(predictions, labels, positive)
    coverage = read_rows(metrics / "evaluation_coverage.csv")
    epochs = {"train_loss": "training", "validation_loss": "validation"}
    return {
        "embeddings_loss": losses("embeddings_loss", "words", {"loss": "loss"}),
        "classifier_curve": losses("classifier_curve", "epoch", epochs),
        "confusion": confusion(read_rows(metrics / "evaluation_confusion.csv")),
        "roc": curves.roc(roc) if roc else Markup(),
        "pr": curves.precision_recall(lines) if lines else Markup(),
        "reliability": curves.reliability(read_rows(metrics / "evaluation_reliability.csv")),
        "coverage": curves.coverage(coverage, [row.threshold for row in abstaining(coverage)]),
    }
