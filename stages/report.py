"""Report: show it.

One page with everything that the other stages found: what the data are, what was chosen, how well
it went beside the baselines, what the words' space looks like, and where the model was surest and
wrong, with the words and n-grams that talked it into that. It carries all it needs in one file, and
opens without a network, in ten years too.

    python -m stages.report --help

Reviews, labels and words come from outside: jinja escapes them in the page, and `html.escape` in
the pictures, which would read a tag as a tag.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import pyarrow as pa
import pyarrow.dataset as ds
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs
from pydantic import Field
from safetensors.numpy import load_file

from stages import LABELLED, SPLITS, STAGES, UNK
from stages.lib.command import run
from stages.lib.files import atomic, read_json
from stages.lib.params import Section, check, read_params, read_yaml
from stages.lib.subwords import Subwords, vector_of
from stages.lib.training import prepare
from stages.robustness import Chain

STRONGEST = 8  # shares of a review's logit that are shown
LABELLED_WORDS = 60  # of the space, whose names are always shown; the others' on touch
HEIGHT = 340  # pixels of a small figure
INK, PRAISE, BLAME = "#44546a", "#2a7f9e", "#c8553d"

FIGURES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
}
CONTENDERS = {
    "classifier": "Firth",
    "nbsvm": "NBSVM",
    "naive_bayes": "Naive Bayes",
    "majority": "majority",
}


class Params(Section):
    words: list[str]  # whose neighbours are shown; unknown ones by their pieces, if these have vectors
    neighbours: int = Field(ge=1, le=100)  # of each word
    mistakes: int = Field(ge=0, le=1000)  # the surest ones, with their text
    pairs: int = Field(ge=0, le=1000)  # minimal pairs of each kind that it got wrong, with both texts
    points: int = Field(ge=1, le=20_000)  # the commonest words in the picture of the space


class Mistake(NamedTuple):
    """A review that the model was sure of and wrong about."""

    id: str
    label: str
    predicted: str
    probability: float
    text: str


class Reason(NamedTuple):
    """How a logit comes about: the shares, the others and the bias sum to it."""

    shares: list[tuple[str, float]]  # of words and n-grams, the strongest first
    others: float  # what all weaker ones add
    bias: float
    logit: float


def no_vector(word: str) -> None:
    """What an unknown word has where pieces of words have no vectors."""


def nearest_words(
    words: Sequence[str],
    vectors: NDArray[np.float32],
    asked: Sequence[str],
    count: int,
    unknown: Callable[[str], NDArray[np.float32] | None] = no_vector,
) -> dict[str, list[tuple[str, float]]]:
    """The `count` words of highest cosine similarity to each asked word, which is not its own.

    words V, vectors (V, D). `unknown` gives a word that is none of them a vector (D,), or none: then it
    is left out.

    >>> nearest_words(["a", "b", "c"], np.array([[1, 0], [1, 1], [-1, 0]], np.float32), ["a"], 1)
    {'a': [('b', 0.7071067690849304)]}
    """
    number = {word: row for row, word in enumerate(words)}
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found = {}
    for word in asked:
        if word in number:
            cosine = unit @ unit[number[word]]  # (V,)
            cosine[number[word]] = -np.inf
        elif (vector := unknown(word)) is not None:
            cosine = unit @ vector / max(float(np.linalg.norm(vector)), 1e-12)
        else:
            continue
        best = np.argsort(-cosine, kind="stable")[:count]
        found[word] = [(words[n], float(cosine[n])) for n in best if cosine[n] > -np.inf]
    return found


def of_pieces(
    table: NDArray[np.float32] | None, subwords: Any
) -> Callable[[str], NDArray[np.float32] | None]:
    """What gives an unknown word its vector: its pieces' rows of the table (buckets, D), if there is one."""
    if table is None or subwords is None:
        return no_vector
    pieces = check(Subwords, subwords, "embeddings.subwords")
    return lambda word: vector_of(word, table, pieces)


def surest_mistakes(predictions: pd.DataFrame, count: int, raw: Path) -> list[Mistake]:
    """The wrong predictions of highest probability, with the reviews they are about."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    worst = wrong.sort_values(["probability", "id"], ascending=[False, True]).head(count)
    is_wanted = ds.field("id").isin(pa.array(worst["id"].tolist(), pa.string()))
    rows = ds.dataset(raw).to_table(columns=["id", "text"], filter=is_wanted)
    texts = dict(zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True))
    ids, labels, guesses, chances = (
        worst[name].tolist() for name in ("id", "label", "predicted", "probability")
    )
    reviews = [texts[name] for name in ids]
    return list(map(Mistake, ids, labels, guesses, chances, reviews))


def reasons(chain: Chain, words: Sequence[str], mistakes: Sequence[Mistake]) -> list[Reason] | None:
    """How the logit of each mistake comes about: the second label's of two, else the predicted one's.
    None where the classifier takes a maximum, of which no word has a share.

    `words` (V,) are the vocabulary's. The shares of equal words and n-grams are summed.
    """
    found = []
    between = " " if chain.tokeniser.by_word else ""
    logits = chain.logits([mistake.text for mistake in mistakes])  # (N, 1 or L)
    for mistake, every in zip(mistakes, logits.tolist(), strict=True):
        column = chain.labels.index(mistake.predicted) if len(every) > 1 else 0
        read = chain.ids([mistake.text])
        ids = read.ids[0, : int(read.lengths[0])]  # (T,)
        try:
            spans = chain.model.shares(ids)
        except ValueError:
            return None
        sums: dict[str, float] = defaultdict(float)
        tokens = [words[number] for number in ids.tolist()]
        for start, end, share in spans:
            sums[between.join(tokens[start:end])] += float(share[column])
        # What is equal but for the last bits goes by its letters.
        ordered = sorted(sums.items(), key=lambda item: (-round(abs(item[1]), 6), item[0]))
        others = sum((share for _, share in ordered[STRONGEST:]), 0.0)
        bias = float(chain.model.bias()[column])
        found.append(Reason(ordered[:STRONGEST], others, bias, every[column]))
    return found


class Alteration(NamedTuple):
    """What an alteration of the test reviews did."""

    name: str
    figures: dict[str, float]


def alterations(found: dict[str, dict[str, float]]) -> list[Alteration]:
    """The alterations in metrics/robustness.json, in words, the least harmful first.

    >>> [one.name for one in alterations({"last_9": {"accuracy": 0.1}, "shuffled": {"accuracy": 0.2}})]
    ['words shuffled', 'last 9 tokens alone']
    """
    wordings = {
        "shuffled": "words shuffled",
        "upper_case": "in upper case",
        "typos": "typos in {} % of the letters",
        "first": "first {} tokens alone",
        "last": "last {} tokens alone",
    }
    lines = []
    for name, figures in sorted(found.items(), key=lambda item: -item[1]["accuracy"]):
        word, _, number = name.rpartition("_")
        lines.append(Alteration((wordings.get(name) or wordings[word]).format(number), figures))
    return lines


def worst_pairs(robustness_pairs: Path, count: int) -> list[dict[str, Any]]:
    """Minimal pairs that the model got wrong, at most `count` of each kind, those first in which one
    side's label had the lowest probability."""
    table = pd.read_parquet(robustness_pairs)
    table["worst"] = table[["probability_a", "probability_b"]].min(axis=1)
    wrong = table[~table["right"]].sort_values(["worst", "id"])
    shown = wrong.groupby("kind", sort=False).head(count).sort_values(["kind", "worst", "id"])
    return [{str(column): value for column, value in row.items()} for row in shown.to_dict("records")]


def lines(rows: list[dict[str, str]], x: str, ys: dict[str, str], y_title: str) -> go.Figure:
    """A line chart of some columns of a table; `ys` maps a column to its name in the legend."""
    figure = go.Figure()
    for (column, name), colour in zip(ys.items(), (PRAISE, BLAME), strict=False):
        figure.add_scatter(
            x=[float(r[x]) for r in rows],
            y=[float(r[column]) for r in rows],
            mode="lines+markers" if len(rows) < 40 else "lines",
            name=name,
            line_color=colour,
        )
    return figure.update_layout(xaxis_title=x, yaxis_title=y_title, showlegend=len(ys) > 1)


def roc_curves(rows: list[dict[str, str]]) -> go.Figure:
    """Receiver operating characteristic of each label, and the diagonal of a coin."""
    figure = go.Figure()
    for label in dict.fromkeys(row["label"] for row in rows):
        mine = [row for row in rows if row["label"] == label]
        figure.add_scatter(
            x=[float(r["false_positive_rate"]) for r in mine],
            y=[float(r["true_positive_rate"]) for r in mine],
            mode="lines",
            name=escape(label, quote=False),
        )
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#999"}, name="a coin")
    return figure.update_layout(xaxis_title="false positive rate", yaxis_title="true positive rate")


def reliability(rows: list[dict[str, str]]) -> go.Figure:
    """The share of right predictions by their probability, with intervals, and the diagonal on which
    every probability is true; before the temperature and after."""
    figure = go.Figure()
    for name, colour in (("before", BLAME), ("after", PRAISE)):
        mine = [row for row in rows if row["calibration"] == name]
        accuracy, low, high = ([float(row[column]) for row in mine] for column in ("accuracy", "low", "high"))
        spread = {
            "array": [h - a for a, h in zip(accuracy, high, strict=True)],
            "arrayminus": [a - b for a, b in zip(accuracy, low, strict=True)],
            "thickness": 1,
            "visible": name == "after",  # those of both would hide each other
        }
        figure.add_scatter(
            x=[float(row["probability"]) for row in mine],
            y=accuracy,
            error_y=spread,
            mode="lines+markers",
            name=name,
            line={"color": colour, "dash": "solid" if name == "after" else "dot"},
        )
    ends = [min(float(row["probability"]) for row in rows), 1]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"dash": "dot", "color": "#999"}, name="true")
    return figure.update_layout(xaxis_title="probability of the likeliest label", yaxis_title="share right")


def confusion_map(rows: list[dict[str, str]]) -> go.Figure:
    """How many reviews of each label were given each label."""
    names = list(dict.fromkeys(row["label"] for row in rows))
    count = {(row["label"], row["predicted"]): int(row["reviews"]) for row in rows}
    cells = [[count[a, b] for b in names] for a in names]
    shown = [escape(name, quote=False) for name in names]
    figure = go.Figure(
        go.Heatmap(
            z=cells, x=shown, y=shown, text=cells, texttemplate="%{text}", colorscale="Blues", showscale=False
        )
    )
    # Labels may be numbers; on a heat map they are names.
    figure.update_xaxes(title="predicted", type="category")
    return figure.update_yaxes(title="label", type="category", autorange="reversed")


def space(projection: pd.DataFrame, shares: Sequence[float]) -> go.Figure:
    """The commonest words in their first three directions; turn it, touch a point to read it."""
    words = [escape(word, quote=False) for word in projection["token"]]
    third = projection["z"] if "z" in projection else pd.Series(0.0, index=projection.index)
    named = min(LABELLED_WORDS, len(words))
    style = {"x": projection["x"], "y": projection["y"], "z": third}
    figure = go.Figure()
    figure.add_scatter3d(
        **style,
        mode="markers",
        hovertext=words,
        hoverinfo="text",
        marker={"size": 2.5, "color": third, "colorscale": "Viridis", "opacity": 0.75},
    )
    figure.add_scatter3d(
        **{axis: values[:named] for axis, values in style.items()},
        mode="text",
        text=words[:named],
        textfont={"size": 11, "color": INK},
        hoverinfo="skip",
    )
    axes = {
        f"{axis}axis": {"title": {"text": f"{name} ({share:.0%})"}, "showbackground": False}
        for axis, name, share in zip("xyz", ("first", "second", "third"), shares, strict=False)
    }
    return figure.update_layout(scene=axes, showlegend=False, uirevision="keep")


def embed(figure: go.Figure, name: str, height: int = HEIGHT) -> str:
    """A figure as HTML that needs the page's one copy of plotly."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 50, "r": 15, "t": 15, "b": 45},
        font={"family": "system-ui, sans-serif", "size": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#b9c3cc", "activecolor": INK},
        legend={"orientation": "h", "y": 1.1},
    )
    html: str = plotly.io.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=name,  # a random one would make every page another page
        config={"displaylogo": False, "responsive": True},
    )
    return html


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a small CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Slice(NamedTuple):
    """Some of the test reviews, and how well the model does on them."""

    slice: str
    part: str
    reviews: int
    accuracy: float
    low: float
    high: float
    difference: float  # to the accuracy on all of them

    @property
    def stands_out(self) -> bool:
        """Whether the accuracy on all is outside this part's interval."""
        return not self.low <= self.accuracy - self.difference <= self.high


def read_slices(path: Path) -> list[Slice]:
    """The rows of metrics/evaluation_slices.csv, without the first, which is all reviews."""
    return [
        Slice(row["slice"], row["part"], int(row["reviews"]), *(float(row[f]) for f in Slice._fields[3:]))
        for row in read_rows(path)[1:]
    ]


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
    labels: Path,
    raw: Path,
    tokeniser: Path,
    vocabulary: Path,
    embeddings: Path,
    projection: Path,
    classifier: Path,
    predictions: Path,
    robustness_pairs: Path,
    report: Path,
) -> None:
    choices = read_params(params, "report", Params)
    everything = read_yaml(params)
    prepare(0, 1, "cpu")  # nothing is drawn; shares are sums, and shall not depend on the machine's cores
    facts = {stage: read_json(metrics / f"{stage}.json") for stage in STAGES[:-1]}
    tokens: list[str] = pd.read_parquet(vocabulary, columns=["token"])["token"].tolist()
    words = tokens[UNK + 1 :]
    tables = load_file(embeddings)
    near = nearest_words(
        words,
        tables["embeddings"][UNK + 1 :],
        choices.words,
        choices.neighbours,
        of_pieces(tables.get("subwords"), everything["embeddings"]["subwords"]),
    )
    chain = Chain.load(tokeniser, vocabulary, classifier, labels)
    mistakes = surest_mistakes(pd.read_parquet(predictions), choices.mistakes, raw)
    points = pd.read_parquet(projection).head(choices.points)
    shares = list(facts["projection"]["explained"].values())
    roc = read_rows(metrics / "evaluation_roc.csv")
    figures = {
        "space": embed(space(points, shares), "space", height=620),
        "embeddings_loss": embed(
            lines(read_rows(metrics / "embeddings_loss.csv"), "words", {"loss": "loss"}, "loss"),
            "embeddings_loss",
        ),
        "classifier_curve": embed(
            lines(
                read_rows(metrics / "classifier_curve.csv"),
                "epoch",
                {"train_loss": "train", "validation_loss": "validation"},
                "loss",
            ),
            "classifier_curve",
        ),
        "roc": embed(roc_curves(roc), "roc") if roc else "",
        "confusion": embed(confusion_map(read_rows(metrics / "evaluation_confusion.csv")), "confusion"),
        "reliability": embed(reliability(read_rows(metrics / "evaluation_reliability.csv")), "reliability"),
    }
    page = render(
        {
            "params": everything,
            "facts": facts,
            "labels": chain.labels,
            "splits": SPLITS,
            "labelled": LABELLED,
            "measures": FIGURES,
            "compared": [name for name in FIGURES if name in facts["evaluation"]["differences"]["nbsvm"]],
            "contenders": CONTENDERS,
            "slices": read_slices(metrics / "evaluation_slices.csv"),
            "figures": figures,
            "kept": sum(shares[:3]),
            "neighbours": near,
            "unknown": near.keys() - set(words),
            "alterations": alterations(facts["robustness"]["altered"]),
            "wrong_pairs": worst_pairs(robustness_pairs, choices.pairs),
            "mistakes": mistakes,
            "reasons": reasons(chain, tokens, mistakes),
            "temperature": chain.model.about.temperature,
            "shown": len(points),
            "plotly": get_plotlyjs(),
        }
    )
    with atomic(report) as temporary:
        temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main)
