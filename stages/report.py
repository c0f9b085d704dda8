"""Report: show it.

One page with the results of all other stages. Its first screen has the headline: the accuracy with its
interval beside the baselines, whether the lead is more than chance, and a map of the words that decide.
Below are the data, the training, the metrics, slices, robustness, reviews with the contributions of their
words, the strongest words, the explorer, the parameters, and how to make the page again. The page is one file
that contains everything it needs, and opens without a network. metrics/report.md is a short form of it, for
pull requests.

The stage ends with one line about the run, and writes the few metrics that DVC lists (`stages.lib.headline`).
Texts, labels and words come from outside. jinja escapes them in the page, `stages.lib.charts` in the charts.

    python -m stages.report --help
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages import LABELLED, SPLITS, STAGES, TEST, UNK
from stages.lib.arrays import Int32, read_arrays
from stages.lib.charts.matrix import confusions
from stages.lib.charts.strips import bar
from stages.lib.charts.words import word_map
from stages.lib.command import run
from stages.lib.files import DIGITS as FILE_DIGITS
from stages.lib.files import read_json, write_json, write_text
from stages.lib.headline import headline, lead_in_words, verdict
from stages.lib.model import Model
from stages.lib.page.assemble import assemble
from stages.lib.page.pack import pack
from stages.lib.page.parts import BASE, EXPLORER, SCORER
from stages.lib.page.scorer import Limits, Scorer, scorer_of
from stages.lib.page.space import shortened
from stages.lib.params import Section, read_params, read_yaml
from stages.lib.report import numbers
from stages.lib.report.curves import abstaining, order_of, runners_up
from stages.lib.report.drawings import draw_charts, measured
from stages.lib.report.examples import LONGEST, Part, parts_of, token_values
from stages.lib.report.lexicon import Lexicon, label_entries, map_words
from stages.lib.report.provenance import differing, origin_of, provenance, settings
from stages.lib.report.summary import summary
from stages.lib.report.tables import (
    MEASURES,
    MODELS,
    alterations,
    marked,
    models_by_accuracy,
    neighbours_by_word,
    read_rows,
    read_slices,
    slice_table,
    worst_pairs,
)
from stages.lib.reviews import Documents, read_split
from stages.lib.tables import read_table
from stages.lib.text import clean
from stages.lib.texts import texts_of
from stages.predictor import Explanation, Predictor

SHOWN = 3  # reviews of a list; the others are folded
STRONGEST = 8  # contributions shown per review
NAMED = 130  # words with names in the map, where there is room
CONFUSIONS = 10  # most frequent confusions that are listed
HELPERS = {
    "percent": numbers.percent,
    "whole": numbers.whole,
    "signed": numbers.signed,
    "points": numbers.points,
    "bar": bar,
    "short": shortened,
}
SCRIPTS = (*BASE.scripts, *EXPLORER.scripts, *SCORER.scripts, "report.js")
STYLES = (*BASE.styles, "charts.css", "report.css", *EXPLORER.styles, *SCORER.styles)

Row = dict[str, Any]


class Params(Section):
    mistakes: int = Field(ge=0, le=1000)  # wrong predictions with the highest probability, with their text
    uncertain: int = Field(ge=0, le=1000)  # reviews with the smallest margin between two labels
    pairs: int = Field(ge=0, le=1000)  # wrongly predicted minimal pairs of each kind, with both texts
    page_words: int = Field(ge=1, le=10_000_000)  # of the model that scores texts in the page
    page_ngrams: int = Field(ge=0, le=10_000_000)  # of words, and of letters, in that model
    strongest: int = Field(ge=0, le=1000)  # words, and n-grams, of each label


class Example(NamedTuple):
    """A test review, its prediction, and how that comes about."""

    id: str
    label: str
    predicted: str
    probability: float
    second: str  # the next probable label
    second_probability: float
    parts: list[Part]
    left_out: int  # characters that are not shown
    explanation: Explanation


def worst_mistakes(predictions: pa.Table, count: int) -> list[int]:
    """The rows of the wrong predictions with the highest probability."""
    ids, labels, predicted = (predictions[name].to_pylist() for name in ("id", "label", "predicted"))
    probability = predictions["probability"].to_pylist()
    wrong = [row for row in range(len(ids)) if labels[row] != predicted[row]]
    return sorted(wrong, key=lambda row: (-probability[row], ids[row]))[:count]


def least_certain(predictions: pa.Table, labels: Sequence[str], count: int) -> list[int]:
    """The rows with the smallest margin between the probabilities of the predicted label and the next one."""
    _, second = runners_up(predictions, labels)
    margin = np.abs(predictions["probability"].to_numpy() - second).round(6).tolist()
    ids = predictions["id"].to_pylist()
    return sorted(range(len(ids)), key=lambda row: (margin[row], ids[row]))[:count]


def examples(predictions: pa.Table, rows: Sequence[int], predictor: Predictor, raw: Path) -> list[Example]:
    """Rows of data/predictions.parquet with their texts, and what each word contributed."""
    labels, second = runners_up(predictions, predictor.labels)
    chosen = predictions.take(pa.array(rows, pa.int64())).to_pylist()
    texts = texts_of(raw, [row["id"] for row in chosen])
    return [
        Example(
            row["id"],
            row["label"],
            row["predicted"],
            row["probability"],
            labels[number],
            float(second[number]),
            *explained(predictor, clean(texts[row["id"]]), row["predicted"]),
        )
        for row, number in zip(chosen, rows, strict=True)
    ]


def explained(predictor: Predictor, text: str, label: str) -> tuple[list[Part], int, Explanation]:
    """A text with the contributions to a label marked, the number of its characters that are not shown, and
    the explanation."""
    explanation = predictor.explain(text, predictor.labels.index(label))
    tokens, read = predictor.tokens([text])[0], len(explanation.tokens)
    values = token_values(((c.start, c.end, c.value) for c in explanation.contributions or []), read)
    kept = predictor.kept_positions(len(tokens), read).tolist()
    parts = parts_of(text, tokens, dict(zip(kept, values, strict=True)))
    return parts, max(0, len(text) - LONGEST), explanation


def results(metrics: Path) -> Row:
    """What the page shows of the metrics."""
    facts = {stage: read_json(metrics / f"{stage}.json") for stage in STAGES[:-1]}
    evaluation = facts["evaluation"]
    # With all their digits: a number that is rounded twice may differ from the one beside it.
    listed, accuracy = headline(facts, FILE_DIGITS), evaluation["ensemble"]["accuracy"]
    best = evaluation["best_baseline"]
    slices = read_slices(metrics / "evaluation_slices.csv")
    models, models_axis = marked(models_by_accuracy(evaluation), accuracy)
    altered, alterations_axis = marked(
        alterations(facts["robustness"]), facts["robustness"]["unaltered"]["accuracy"]
    )
    return {
        "facts": facts,
        "splits": SPLITS,
        "labelled": LABELLED,
        "listed": listed,
        "lead": lead_in_words(listed, best),
        "verdict": verdict(listed, best, facts["raw"]["reviews"][TEST]),
        "headline_rows": models,
        "headline_axis": models_axis,
        "measures": MEASURES,
        "compared": [name for name in MEASURES if name in evaluation["differences"]["nbsvm"]],
        "models": MODELS,
        "slices": slice_table(slices, accuracy),
        "every_slice": slices,
        "alterations": altered,
        "alterations_axis": alterations_axis,
        "abstaining": abstaining(read_rows(metrics / "evaluation_coverage.csv")),
        "confusions": confusions(read_rows(metrics / "evaluation_confusion.csv"), CONFUSIONS),
    }


def words(
    predictor: Predictor, space: Mapping[str, Any], vocabulary: Path, params: Params, ordered: bool
) -> Row:
    """What the page shows of the words: the strongest of each label, and the map."""
    lexicon, labels = Lexicon.of_space(space), predictor.labels
    tokens = read_table(vocabulary, columns=["token"])["token"].to_pylist()
    entries = label_entries(lexicon, predictor.model, tokens, params.strongest)
    sides = (labels[0], labels[-1]) if len(labels) == 2 or ordered else None
    return {
        "labels": labels,
        "lexicon": entries,
        "heaviest": max((one.weight for _, every in entries for part in every for one in part), default=1),
        "sides": sides,
        "map": word_map(map_words(lexicon, len(labels), ordered), lexicon.explained.tolist(), sides, NAMED),
    }


def reviews(predictor: Predictor, predictions: pa.Table, raw: Path, params: Params) -> Row:
    """What the page shows of single reviews."""
    mistakes = worst_mistakes(predictions, params.mistakes)
    uncertain = least_certain(predictions, predictor.labels, params.uncertain)
    listed = {"mistakes": mistakes, "uncertain": uncertain}
    shown = {name: examples(predictions, rows, predictor, raw) for name, rows in listed.items()}
    explained = predictor.model.config.pool not in ("max", "mean_max")
    return {**shown, "explained": explained, "shown_examples": SHOWN, "strongest": STRONGEST}


def packed_model(model: Model, vocabulary: Path, tokeniser: Path, tensors: Path, params: Params) -> Scorer:
    """The model for the page, without what is over the limits; then it is compared on the test reviews."""

    def test() -> tuple[Documents, Int32]:
        read = read_split(tensors, TEST)
        return read.documents, read.labels

    words = read_table(vocabulary, columns=["token"])["token"].to_pylist()[UNK + 1 :]
    limits = Limits(params.page_ngrams, params.page_words)
    return scorer_of(model, words, tokeniser.read_text(encoding="utf-8"), limits, test)


def choices(params: Path, defaults: Path) -> Row:
    """What the page shows of the parameters."""
    chosen = read_yaml(params)
    every = settings(chosen, read_yaml(defaults))
    return {
        "corpus": chosen["corpus"],
        "params": chosen,
        "settings": every,
        "changed": differing(every),
    }


def main(
    params: Path,
    defaults: Path,
    lock: Path,
    metrics: Path,
    corpus: Path,
    raw: Path,
    tensors: Path,
    tokeniser: Path,
    vocabulary: Path,
    agreement: Path,
    ensemble: Path,
    predictions: Path,
    robustness_pairs: Path,
    explorer: Path,
    headline_json: Path,
    summary_md: Path,
    report: Path,
) -> None:
    section = read_params(params, "report", Params)
    predictor, table = Predictor.load(tokeniser, vocabulary, ensemble), read_table(predictions)
    space = read_arrays(explorer)
    files = (
        raw,
        tensors,
        tokeniser,
        vocabulary,
        agreement,
        ensemble,
        predictions,
        robustness_pairs,
        explorer,
    )
    content = {
        **results(metrics),
        **choices(params, defaults),
        **words(predictor, space, vocabulary, section, order_of(table) is not None),
        **reviews(predictor, table, raw, section),
        "charts": draw_charts(metrics, table, predictor.labels),
        "wrong_pairs": worst_pairs(robustness_pairs, section.pairs),
        "neighbours": neighbours_by_word(agreement),
        "provenance": provenance([*files, *measured(metrics)], lock, read_yaml(params)),
        "origin": origin_of(corpus, read_yaml(params)["raw"]["checksum"]),
    }
    scorer = packed_model(predictor.model, vocabulary, tokeniser, tensors, section)
    data = {"space": pack(space), "scorer": pack(scorer.arrays)}
    write_text(report, assemble("report.jinja", content | HELPERS, SCRIPTS, STYLES, data))
    write_text(summary_md, summary(content))
    write_json(headline_json, headline(content["facts"]), sort=False)
    print(f"{content['verdict']}. Report: {report}")


if __name__ == "__main__":
    run(main)
