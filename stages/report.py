"""Report: show it.

One page with the results of all other stages: the data, the metrics beside the baselines, the space of
words, and the wrong predictions with the highest probability, with what each word and n-gram contributed.
The page is one file that contains everything it needs, and opens without a network. The stage ends with one
line about the run, and writes the few metrics that DVC lists (`stages.lib.headline`).

Texts, labels and words come from outside. jinja escapes them in the page, `stages.lib.charts` in the charts.

    python -m stages.report --help
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field

from stages import LABELLED, SPLITS, STAGES, TEST
from stages.lib import charts
from stages.lib.command import run
from stages.lib.files import atomic, read_json, write_json
from stages.lib.headline import BASELINES, headline, verdict
from stages.lib.params import Section, read_params, read_yaml
from stages.lib.texts import texts_of
from stages.predictor import Explanation, Predictor

STRONGEST = 8  # contributions shown per review
MEASURES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "mean_absolute_error": "mean absolute error",
    "within_one": "at most one step off",
    "quadratic_kappa": "quadratic kappa",
}
MODELS = {"ensemble": "Firth", **BASELINES}
ALTERATIONS = {
    "shuffled": "words shuffled",
    "upper_case": "in upper case",
    "typos": "typing errors in {} % of the letters",
    "first": "first {} tokens only",
    "last": "last {} tokens only",
}

Row = dict[str, Any]


class Params(Section):
    mistakes: int = Field(ge=0, le=1000)  # wrong predictions with the highest probability, with their text
    pairs: int = Field(ge=0, le=1000)  # wrongly predicted minimal pairs of each kind, with both texts
    points: int = Field(ge=1, le=20_000)  # most frequent words in the 3-D view


class Mistake(NamedTuple):
    """A wrong prediction."""

    id: str
    label: str
    predicted: str
    probability: float
    text: str


class Alteration(NamedTuple):
    """What an alteration of the test reviews did."""

    name: str
    metrics: dict[str, float]


class Slice(NamedTuple):
    """The accuracy on some of the test reviews."""

    slice: str
    part: str
    reviews: int
    accuracy: float
    low: float
    high: float
    difference: float  # to the accuracy on all of them

    @property
    def is_notable(self) -> bool:
        """Whether the accuracy on all reviews is outside the interval of this slice."""
        return not self.low <= self.accuracy - self.difference <= self.high


def worst_mistakes(predictions: Path, count: int, raw: Path) -> list[Mistake]:
    """The wrong predictions with the highest probability, with their texts."""
    columns = ["id", "label", "predicted", "probability"]
    table = pq.read_table(predictions, columns=columns)
    wrong = table.filter(pc.not_equal(table["label"], table["predicted"]))
    wrong = wrong.sort_by([("probability", "descending"), ("id", "ascending")]).slice(0, count)
    rows = wrong.to_pylist()
    texts = texts_of(raw, [row["id"] for row in rows])
    return [Mistake(**row, text=texts[row["id"]]) for row in rows]


def explain(predictor: Predictor, mistakes: Sequence[Mistake]) -> list[Explanation] | None:
    """How each wrong prediction came about. None if the pool takes a maximum, which cannot be explained."""
    explanations = [predictor.explain(one.text, predictor.labels.index(one.predicted)) for one in mistakes]
    return None if any(one.contributions is None for one in explanations) else explanations


def alterations(robustness: Mapping[str, dict[str, float]]) -> list[Alteration]:
    """The alterations in metrics/robustness.json with readable names, the least harmful first.

    >>> [one.name for one in alterations({"last_9": {"accuracy": 0.1}, "shuffled": {"accuracy": 0.2}})]
    ['words shuffled', 'last 9 tokens only']
    """
    named = []
    for name, metrics in sorted(robustness.items(), key=lambda item: -item[1]["accuracy"]):
        word, _, number = name.rpartition("_")
        named.append(Alteration((ALTERATIONS.get(name) or ALTERATIONS[word]).format(number), metrics))
    return named


def worst_pairs(robustness_pairs: Path, count: int) -> list[Row]:
    """Wrongly predicted minimal pairs, at most `count` of each kind: those with the lowest probability of a
    right label."""
    rows = [row for row in pq.read_table(robustness_pairs).to_pylist() if not row["right"]]
    rows.sort(key=lambda row: (row["kind"], min(row["probability_a"], row["probability_b"]), row["id"]))
    shown: list[Row] = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        shown += [row for row in rows if row["kind"] == kind][:count]
    return shown


def neighbours_by_word(agreement: Path) -> dict[tuple[str, bool], list[tuple[str, float]]]:
    """The nearest neighbours of each listed word: (word, whether it is in the vocabulary) -> neighbours."""
    table: dict[tuple[str, bool], list[tuple[str, float]]] = {}
    for row in pq.read_table(agreement).to_pylist():
        neighbours = table.setdefault((row["word"], row["known"]), [])
        neighbours.append((row["neighbour"], row["similarity"]))
    return table


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a small CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_slices(path: Path) -> list[Slice]:
    """The rows of metrics/evaluation_slices.csv without the first, which is all reviews."""
    return [
        Slice(row["slice"], row["part"], int(row["reviews"]), *(float(row[f]) for f in Slice._fields[3:]))
        for row in read_rows(path)[1:]
    ]


def draw_charts(metrics: Path, projection: dict[str, list[Any]], variance: Sequence[float]) -> dict[str, str]:
    """All charts of the page as HTML."""

    def curve(file: str, x: str, ys: dict[str, str]) -> str:
        chart = charts.line_chart(read_rows(metrics / f"{file}.csv"), x, ys, "loss")
        return charts.embed(chart, file)

    roc = read_rows(metrics / "evaluation_roc.csv")
    confusion = read_rows(metrics / "evaluation_confusion.csv")
    reliability = read_rows(metrics / "evaluation_reliability.csv")
    losses = {"train_loss": "train", "validation_loss": "validation"}
    return {
        "space": charts.embed(charts.word_space(projection, variance), "space", height=620),
        "embeddings_loss": curve("embeddings_loss", "words", {"loss": "loss"}),
        "classifier_curve": curve("classifier_curve", "epoch", losses),
        "roc": charts.embed(charts.roc_curves(roc), "roc") if roc else "",
        "confusion": charts.embed(charts.confusion_matrix(confusion), "confusion"),
        "reliability": charts.embed(charts.reliability(reliability), "reliability"),
    }


def render(content: dict[str, Any]) -> str:
    """The page, from stages/report.html.jinja."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(content)


def main(
    params: Path,
    metrics: Path,
    raw: Path,
    tokeniser: Path,
    vocabulary: Path,
    agreement: Path,
    projection: Path,
    ensemble: Path,
    predictions: Path,
    robustness_pairs: Path,
    headline_json: Path,
    report: Path,
) -> None:
    choices = read_params(params, "report", Params)
    facts = {stage: read_json(metrics / f"{stage}.json") for stage in STAGES[:-1]}
    predictor = Predictor.load(tokeniser, vocabulary, ensemble)
    mistakes = worst_mistakes(predictions, choices.mistakes, raw)
    points = pq.read_table(projection).slice(0, choices.points).to_pydict()
    variance = list(facts["projection"]["explained"].values())
    page = render(
        {
            "params": read_yaml(params),
            "facts": facts,
            "labels": predictor.labels,
            "splits": SPLITS,
            "labelled": LABELLED,
            "measures": MEASURES,
            "compared": [name for name in MEASURES if name in facts["evaluation"]["differences"]["nbsvm"]],
            "models": MODELS,
            "slices": read_slices(metrics / "evaluation_slices.csv"),
            "charts": draw_charts(metrics, points, variance),
            "kept": sum(variance[:3]),
            "neighbours": neighbours_by_word(agreement),
            "alterations": alterations(facts["robustness"]["altered"]),
            "wrong_pairs": worst_pairs(robustness_pairs, choices.pairs),
            "mistakes": mistakes,
            "explanations": explain(predictor, mistakes),
            "strongest": STRONGEST,
            "temperature": predictor.model.config.temperature,
            "shown": len(points["token"]),
            "plotly": charts.script(),
        }
    )
    with atomic(report) as temporary:
        temporary.write_text(page, encoding="utf-8")
    listed, best = headline(facts), facts["evaluation"]["best_baseline"]
    write_json(headline_json, listed, sort=False)
    print(f"{verdict(listed, best, facts['raw']['reviews'][TEST])}. Report: {report}")


if __name__ == "__main__":
    run(main)
