"""Compares two runs on the same test reviews: is the difference more than chance?

    python -m tools.compare REV_A REV_B
    python -m tools.compare main workspace --flips 30
    python -m tools.compare main workspace --format json --output compare.json
    python -m tools.compare seed-1,seed-2,seed-3 wide-1,wide-2,wide-3

A REV is a commit, branch or tag of git, the name of an experiment, or `workspace`; nothing is checked
out (tools/revisions.py). For each metric, the values of A and B, their difference and its 95 % interval are
printed; both runs are measured on the same bootstrap resamples of the test rows (Efron and Tibshirani 1993,
"An Introduction to the Bootstrap"). McNemar's exact test compares the rows that only one of them predicts
correctly. Then follow the parameters that differ, and the reviews with different predictions: --flips of
them, with the start of their texts.

Both must have the same test rows: the same ids, labels and texts, in any order. Otherwise the difference is
reported and nothing is compared.

REV_A and REV_B may each be several runs, separated by commas, that differ in their seeds only. Then a metric
is the mean over the runs, with the smallest and the largest value. The interval is that of the difference of
the means over resamples of the rows; the spread over seeds is not in it. The prediction for a row is that of
the majority of the runs, its probability their mean, and McNemar's test, which needs one prediction per row,
is left out.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.arrays import Float64, Int32
from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.files import atomic, rounded
from stages.lib.intervals import LEVEL, Interval, bootstrap, mcnemar
from stages.lib.markdown import cell, table
from stages.lib.progress import progress
from stages.lib.scores import RANKED, on_all_documents
from stages.lib.terminal import printable
from stages.lib.texts import texts_of
from tools.predictions import PREDICTIONS, Side, check_rows, side
from tools.revisions import differing, flat

LOWER = ("log_loss", "brier", "mean_absolute_error")  # metrics for which lower is better
RAW = "data/raw.parquet"
SHOWN = 80  # characters of a text


def compare(a: Side, b: Side, resamples: int, seed: int, shown: int) -> dict[str, Any]:
    """The whole comparison of two sides with the same rows, ready for JSON, with `shown` changed rows."""
    first = a.runs[0]
    n = len(first.ids)
    result: dict[str, Any] = {
        "a": [{"name": revision.name, "commit": revision.commit} for revision in a.revisions],
        "b": [{"name": revision.name, "commit": revision.commit} for revision in b.revisions],
        "labels": first.names,
        "rows": n,
        "texts_compared": all(run.texts is not None for run in (*a.runs, *b.runs)),
        "level": LEVEL,
        "resamples": resamples,
        "seed": seed,
        "metrics": metrics(a, b, resamples, seed),
        "parameters": parameters(a, b),
        "inputs": differing(a.revisions[0].inputs(PREDICTIONS), b.revisions[0].inputs(PREDICTIONS)),
        "changed_predictions": changed_predictions(a, b, shown),
    }
    if len(a.runs) == len(b.runs) == 1:
        correct = [one.predicted() == first.labels for one in (a, b)]
        only_a, only_b = (int((one & ~other).sum()) for one, other in (correct, correct[::-1]))
        p = float(f"{mcnemar(only_a, only_b):.3g}")
        result["mcnemar"] = {"only_a_right": only_a, "only_b_right": only_b, "p": p}
    return result


def metrics(a: Side, b: Side, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Each metric of A, B and their runs, and the difference with its interval.

    Undefined metrics are left out.
    """
    n = len(a.runs[0].ids)
    of_runs = [
        [on_all_documents(Side([], [run]).metrics(areas=True), n) for run in one.runs] for one in (a, b)
    ]
    intervals = differences(a, b, resamples, seed)
    table_rows = {}
    for name in of_runs[0][0]:
        if not all(name in run for runs in of_runs for run in runs):
            continue
        values_a, values_b = ([run[name] for run in runs] for runs in of_runs)
        means = float(np.mean(values_a)), float(np.mean(values_b))
        row: dict[str, Any] = {"a": means[0], "b": means[1], "difference": means[1] - means[0]}
        row |= {"a_runs": values_a, "b_runs": values_b}
        if name in intervals:
            row |= {"low": intervals[name].low, "high": intervals[name].high}
        table_rows[name] = rounded(row)
    return table_rows


def differences(a: Side, b: Side, resamples: int, seed: int) -> dict[str, Interval]:
    """The interval of B - A for each metric, both measured on the same resamples of the rows."""
    first = a.runs[0]
    # The areas under the curves of many labels take too long to bootstrap.
    of_a, of_b = (one.metrics(areas=len(first.names) <= RANKED) for one in (a, b))
    with progress("compare", "resamples", resamples) as bar:

        def difference(weights: Int32) -> dict[str, Float64]:
            values_a, values_b = of_a(weights), of_b(weights)
            bar.update(len(weights))
            return {name: values_b[name] - values_a[name] for name in values_a}

        return bootstrap(difference, len(first.ids), resamples, seed)


def parameters(a: Side, b: Side) -> dict[str, dict[str, list[Any]]]:
    """The parameters that differ, with the distinct values of each side."""

    def values(one: Side, name: str) -> list[Any]:
        distinct: list[Any] = []
        for params in (flat(revision.params) for revision in one.revisions):
            if name in params and params[name] not in distinct:
                distinct.append(params[name])
        return distinct

    names = sorted({name for one in (a, b) for revision in one.revisions for name in flat(revision.params)})
    both = {name: {"a": values(a, name), "b": values(b, name)} for name in names}
    return {
        name: pair
        for name, pair in both.items()
        if any(value not in pair["b"] for value in pair["a"]) or len(pair["a"]) != len(pair["b"])
    }


def changed_predictions(a: Side, b: Side, shown: int) -> dict[str, Any]:
    """How many rows A and B predict differently, and those whose probabilities changed most."""
    first = a.runs[0]
    predicted = [one.predicted() for one in (a, b)]
    probabilities = [one.probabilities() for one in (a, b)]
    rows = np.flatnonzero(predicted[0] != predicted[1])
    correct = [labels[rows] == first.labels[rows] for labels in predicted]
    moved = np.abs(probabilities[1] - probabilities[0]).sum(1)[rows]

    def prediction(side: int, row: int) -> dict[str, Any]:
        label = predicted[side][row]
        probability = float(probabilities[side][row, label])
        return {"predicted": first.names[label], "probability": rounded(probability)}

    return {
        "rows": len(rows),
        "became_correct": int((correct[1] & ~correct[0]).sum()),
        "became_wrong": int((correct[0] & ~correct[1]).sum()),
        "shown": [
            {
                "id": first.ids[row],
                "label": first.names[first.labels[row]],
                "a": prediction(0, row),
                "b": prediction(1, row),
            }
            for row in rows[np.argsort(-moved, kind="stable")][:shown]
        ],
    }


def add_texts(result: dict[str, Any], a: Side) -> None:
    """Adds the start of its text to each changed row that is shown, if A's texts are still in DVC's cache."""
    shown = result["changed_predictions"]["shown"]
    try:
        texts = texts_of(a.revisions[0].file(RAW), [row["id"] for row in shown])
    except Refusal:  # a comparison needs the predictions only
        return
    for row in shown:
        row["text"] = shortened(texts[row["id"]])


def shortened(text: str) -> str:
    """The start of a text, on one line.

    >>> shortened("a" * 99)[-3:], shortened(" a \\n b ")
    ('aa…', 'a b')
    """
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def markdown(result: dict[str, Any]) -> str:
    """The result of `compare` as Markdown."""
    several = len(result["a"]) > 1 or len(result["b"]) > 1
    parts = [f"# {names_of(result['a'])} and {names_of(result['b'])}", "\n".join(summary(result))]
    header = ["metric", "A", "B", "B - A", f"{100 * result['level']:.0f} % interval"]
    header += ["A's runs", "B's runs"] if several else []
    rows = []
    for name, row in result["metrics"].items():
        cells = [name, f"{row['a']:.4f}", f"{row['b']:.4f}", f"{row['difference']:+.4f}"]
        cells += [f"{row['low']:+.4f} to {row['high']:+.4f}" if "low" in row else ""]
        cells += [f"{min(r):.4f} to {max(r):.4f}" for r in (row["a_runs"], row["b_runs"])] if several else []
        rows.append(cells)
    parts.append(table(header, rows))
    parts.append(f"For {' and '.join(name for name in LOWER if name in result['metrics'])}, lower is better.")
    if test := result.get("mcnemar"):
        parts.append(
            f"Rows that only A predicts correctly: {test['only_a_right']:,}; only B: "
            f"{test['only_b_right']:,}. p = {test['p']:.3g} (McNemar, exact, two-sided)."
        )
    parts.append("## Differences between the runs")
    changed = [
        [cell(name), *(cell(", ".join(map(value_of, pair[one]))) for one in "ab")]
        for name, pair in result["parameters"].items()
    ]
    parts.append(table(["parameter", "A", "B"], changed) if changed else "No parameter differs.")
    if result["inputs"]:
        parts.append(f"Code and data that differ: {', '.join(map(cell, result['inputs']))}.")
    parts += changes_section(result["changed_predictions"])
    return "\n\n".join(parts) + "\n"


def summary(result: dict[str, Any]) -> list[str]:
    """The list of what was compared, and how."""
    lines = [
        f"- {one.upper()}: {', '.join(cell(run['name']) + short(run['commit']) for run in result[one])}"
        for one in "ab"
    ]
    lines.append(
        f"- {result['rows']:,} test rows, labels {', '.join(map(cell, result['labels']))}"
        + (
            ""
            if result["texts_compared"]
            else "; the texts were not compared, since an older run has no hashes of them"
        )
    )
    lines.append(
        f"- intervals: paired bootstrap of the rows, {result['resamples']:,} resamples, seed {result['seed']}"
    )
    if len(result["a"]) > 1 or len(result["b"]) > 1:
        lines.append(
            "- A and B are means over their runs, with the smallest and the largest value in the last "
            "columns; the prediction for a row is that of the majority"
        )
    return lines


def changes_section(result: dict[str, Any]) -> list[str]:
    """The section about the rows that are predicted differently."""
    right, wrong = result["became_correct"], result["became_wrong"]
    count = f"{result['rows']:,} rows: {right:,} became correct, {wrong:,} became wrong."
    if not result["shown"]:
        return ["## Changed predictions", count]
    rows = [
        [cell(row["id"]), cell(row["label"])]
        + [text for one in "ab" for text in (cell(row[one]["predicted"]), f"{row[one]['probability']:.3f}")]
        + ([cell(row["text"])] if "text" in row else [])
        for row in result["shown"]
    ]
    header = ["id", "label", "A predicts", "probability", "B predicts", "probability", "text"][: len(rows[0])]
    if len(rows) < result["rows"]:
        count += f" Shown are the {len(rows):,} whose probabilities changed most:"
    return ["## Changed predictions", count, table(header, rows)]


def names_of(runs: list[dict[str, str]]) -> str:
    """The names of the runs of a side.

    >>> names_of([{"name": "main"}])
    'main'
    """
    return ", ".join(cell(run["name"]) for run in runs)


def short(commit: str) -> str:
    """The abbreviated commit in parentheses; the workspace has none."""
    return f" ({commit[:7]})" if commit else ""


def value_of(value: Any) -> str:
    """A parameter's value as in params.yaml.

    >>> value_of(None), value_of(0.5), value_of("head")
    ('null', '0.5', 'head')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal if a run is not found, or if the test rows differ."""
    parser = argparse.ArgumentParser(
        "compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", metavar="REV_A", help="a run, or several that differ in their seeds: X,Y,Z")
    parser.add_argument("b", metavar="REV_B")
    parser.add_argument("--resamples", type=int, default=10_000, help="bootstrap resamples (10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the resamples (1)")
    parser.add_argument("--flips", type=int, default=10, help="changed predictions that are printed (10)")
    parser.add_argument("--format", choices=["markdown", "json"], default="markdown")
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of printing it")
    options = parser.parse_args(arguments)
    for name, lowest in (("resamples", 1), ("seed", 0), ("flips", 0)):
        if (value := getattr(options, name)) < lowest:
            raise Refusal(f"--{name}: found {value}, expected {lowest} or more")
    a, b = side(options.a.split(",")), side(options.b.split(","))
    names = [revision.name for revision in (*a.revisions, *b.revisions)]
    check_rows(list(zip(names, (*a.runs, *b.runs), strict=True)))
    result = compare(a, b, options.resamples, options.seed, options.flips)
    add_texts(result, a)
    text = "".join(f"{printable(line)}\n" for line in markdown(result).removesuffix("\n").split("\n"))
    if options.format == "json":
        text = json.dumps(result, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if options.output is None:
        print(text, end="")
    else:
        with atomic(options.output) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    with exit_on_refusal("compare"):
        main()
