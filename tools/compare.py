"""Compares two runs on the same test reviews: is the difference more than the draw of the reviews?

    python -m tools.compare REV_A REV_B
    python -m tools.compare main workspace --format json --output compare.json
    python -m tools.compare seed-1,seed-2,seed-3 wide-1,wide-2,wide-3

A REV is a commit, branch or tag of git, the name of an experiment, or `workspace`; nothing is checked
out (tools/revisions.py). Each figure of A and of B stands beside their difference, and this beside its
95 % interval: both are measured on the same draws of the test rows (a paired bootstrap; Efron and
Tibshirani 1993, "An Introduction to the Bootstrap"). McNemar's exact test asks the same of the rows
that one of them alone has right. Then come the parameters that differ, and the rows that flipped.

Both must have predicted the same rows: the same ids, labels and texts, in any order. Else it is said
how they differ, and nothing is compared.

One seed is one draw of the training. REV_A and REV_B may each be several runs, separated by commas,
that differ in nothing but their seeds: then a figure is the mean over the runs, never the best one's,
and their smallest and largest stand beside it. The interval is that of the mean's difference over
draws of the rows; how far the seeds themselves spread is not in it. A row's prediction is then what
most runs say, its probability the mean of theirs, and McNemar's test, which wants one decision a row,
is left out.
"""

import argparse
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.measure import table
from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.files import atomic, rounded
from stages.lib.intervals import (
    LEVEL,
    RANKED,
    Counts,
    Figures,
    Floats,
    Interval,
    Ints,
    bootstrap,
    figures_of,
    mcnemar,
)
from stages.lib.progress import progress
from stages.lib.tables import open_table
from tools.revisions import Revision, differing, find, flat

PREDICTIONS = "data/predictions.parquet"
CHANCE = "probability_"  # and a label's name: the column of its probabilities
COLUMNS = ("id", "label", "predicted")
TEXT = "text_hash"  # which predictions of older runs lack
LOWER = ("log_loss", "brier")  # are better when lower


class Predictions(NamedTuple):
    """What one run says of the N test rows, in the order of their ids."""

    ids: list[str]
    texts: list[str] | None  # a hash of each
    names: list[str]  # of the L labels
    truth: Ints  # (N,) label numbers
    guess: Ints  # (N,)
    chances: Floats  # (N, L)


class Side(NamedTuple):
    """One of the two that are compared: a run, or several that differ in their seeds alone."""

    revisions: list[Revision]
    runs: list[Predictions]

    def figures(self, areas: bool) -> Figures[str]:
        """The mean of the runs' figures as a function of weights (b, N)."""
        every = [figures_of(run.truth, run.chances, run.guess, areas) for run in self.runs]

        def means(weights: Counts) -> dict[str, Floats]:
            found = [figures(weights) for figures in every]
            return {name: np.mean([part[name] for part in found], 0) for name in found[0]}

        return means

    def chances(self) -> Floats:
        """(N, L): the mean of the runs' probabilities."""
        mean: Floats = np.mean([run.chances for run in self.runs], 0)
        return mean

    def guess(self) -> Ints:
        """(N,): what most runs say; of a tie, what they give the higher mean probability."""
        labels = np.arange(len(self.runs[0].names))
        votes = np.sum([run.guess[:, None] == labels for run in self.runs], 0)  # (N, L)
        # A mean is at most 1: halved, it decides a tie and outweighs no vote.
        most: Ints = np.argmax(votes + self.chances() / 2, 1)
        return most


def read(path: Path, where: str) -> Predictions:
    """A run's data/predictions.parquet. Raises Refusal, beginning with `where`, on another table."""
    with open_table(path) as file:
        rows: pa.Table = file.read()
    if missing := [name for name in COLUMNS if name not in rows.column_names]:
        raise Refusal(f"{where}: {PREDICTIONS} has no column {missing[0]!r}; make it anew with `dvc repro`")
    rows = rows.sort_by("id")
    names = [name.removeprefix(CHANCE) for name in rows.column_names if name.startswith(CHANCE)]
    number = {name: n for n, name in enumerate(names)}
    ids, labels, guesses = (rows[name].to_pylist() for name in COLUMNS)
    if not ids or len(set(ids)) < len(ids) or not {*labels, *guesses} <= set(names):
        raise Refusal(
            f"{where}: {PREDICTIONS} has no row, an id twice, or a label without probabilities; rows are "
            "told apart by their ids"
        )
    return Predictions(
        ids,
        rows[TEXT].to_pylist() if TEXT in rows.column_names else None,
        names,
        np.array([number[name] for name in labels]),
        np.array([number[name] for name in guesses]),
        np.column_stack([rows[CHANCE + name].to_numpy() for name in names]).astype(np.float64),
    )


def side(names: Sequence[str]) -> Side:
    """The runs of these names. Raises Refusal where several differ in more than seeds, or in none."""
    revisions = find(names)
    runs = [read(revision.file(PREDICTIONS), revision.name) for revision in revisions]
    for n, one in enumerate(revisions):
        for other in revisions[:n]:
            params = differing(flat(other.params), flat(one.params))
            seeds = [name for name in params if name.rpartition(".")[2] == "seed"]
            changed = [name for name in params if name not in seeds]
            changed += differing(other.inputs(PREDICTIONS), one.inputs(PREDICTIONS))
            if changed or not seeds:
                raise Refusal(
                    f"{other.name},{one.name}: these differ in {', '.join(changed) or 'no seed'}; wanted "
                    "runs of one side to differ in their seeds alone"
                )
    return Side(revisions, runs)


def check_rows(runs: Sequence[tuple[str, Predictions]]) -> None:
    """Raises Refusal unless all runs, each with its name, predicted the same rows of the same labels."""
    (name, first), *others = runs
    for other_name, other in others:
        if first.names != other.names:
            told = " and ".join(
                f"{n} {', '.join(run.names)}" for n, run in ((name, first), (other_name, other))
            )
            raise Refusal(f"other labels: {told}; only runs of the same labels are compared")
        mine, theirs = (dict(zip(run.ids, range(len(run.ids)), strict=True)) for run in (first, other))
        both = [(mine[row], theirs[row]) for row in first.ids if row in theirs]
        counts = {
            f"only in {name}": len(mine) - len(both),
            f"only in {other_name}": len(theirs) - len(both),
            "with another label": sum(first.truth[a] != other.truth[b] for a, b in both),
        }
        if first.texts is not None and other.texts is not None:
            counts["with another text"] = sum(first.texts[a] != other.texts[b] for a, b in both)
        if any(counts.values()):
            told = ", ".join(f"{count:,} {how}" for how, count in counts.items() if count)
            raise Refusal(
                f"{name} and {other_name} have other test rows: {told}; {len(both):,} have the same id. Only "
                "runs on the same rows are compared: the same corpus, and the same choices in raw"
            )


def compare(a: Side, b: Side, resamples: int, seed: int, shown: int) -> dict[str, Any]:
    """All there is to tell of two sides with the same rows, ready for JSON. `shown` flipped rows are told."""
    first = a.runs[0]
    n = len(first.ids)
    found: dict[str, Any] = {
        "a": [{"name": revision.name, "commit": revision.commit} for revision in a.revisions],
        "b": [{"name": revision.name, "commit": revision.commit} for revision in b.revisions],
        "labels": first.names,
        "rows": n,
        "texts_compared": all(run.texts is not None for run in (*a.runs, *b.runs)),
        "level": LEVEL,
        "resamples": resamples,
        "seed": seed,
        "figures": figures(a, b, resamples, seed),
        "parameters": parameters(a, b),
        "inputs": differing(a.revisions[0].inputs(PREDICTIONS), b.revisions[0].inputs(PREDICTIONS)),
        "flipped": flipped(a, b, shown),
    }
    if len(a.runs) == len(b.runs) == 1:
        rights = [one.guess() == first.truth for one in (a, b)]
        only_a, only_b = (int((one & ~other).sum()) for one, other in (rights, rights[::-1]))
        p = float(f"{mcnemar(only_a, only_b):.3g}")
        found["mcnemar"] = {"only_a_right": only_a, "only_b_right": only_b, "p": p}
    return found


def figures(a: Side, b: Side, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Each figure of A and of B, each run's own, and the difference with its interval.

    What the rows leave undefined is left out.
    """
    first = a.runs[0]
    n = len(first.ids)
    whole = np.ones((1, n), np.int32)
    of_runs = [[Side([], [run]).figures(areas=True)(whole) for run in one.runs] for one in (a, b)]
    intervals = differences(a, b, resamples, seed)
    told = {}
    for name in of_runs[0][0]:
        mine, theirs = ([float(figure[name][0]) for figure in runs] for runs in of_runs)
        if np.isnan([*mine, *theirs]).any():
            continue
        means = float(np.mean(mine)), float(np.mean(theirs))
        row: dict[str, Any] = {"a": means[0], "b": means[1], "difference": means[1] - means[0]}
        row |= {"a_runs": mine, "b_runs": theirs}
        if name in intervals:
            row |= {"low": intervals[name].low, "high": intervals[name].high}
        told[name] = rounded(row)
    return told


def differences(a: Side, b: Side, resamples: int, seed: int) -> dict[str, Interval]:
    """The interval of B - A for each figure, both measured on the same draws of the rows."""
    first = a.runs[0]
    # The areas of many labels would have to be ranked anew on every draw.
    of_a, of_b = (one.figures(areas=len(first.names) <= RANKED) for one in (a, b))
    with progress("compare", "resamples", resamples) as bar:

        def difference(weights: Counts) -> dict[str, Floats]:
            mine, theirs = of_a(weights), of_b(weights)
            bar.update(len(weights))
            return {name: theirs[name] - mine[name] for name in mine}

        return bootstrap(difference, len(first.ids), resamples, seed)


def parameters(a: Side, b: Side) -> dict[str, dict[str, list[Any]]]:
    """The parameters that differ: each side's different values, none where it has no such parameter."""

    def values(one: Side, name: str) -> list[Any]:
        found: list[Any] = []
        for params in (flat(revision.params) for revision in one.revisions):
            if name in params and params[name] not in found:
                found.append(params[name])
        return found

    names = sorted({name for one in (a, b) for revision in one.revisions for name in flat(revision.params)})
    both = {name: {"a": values(a, name), "b": values(b, name)} for name in names}
    return {
        name: pair
        for name, pair in both.items()
        if any(value not in pair["b"] for value in pair["a"]) or len(pair["a"]) != len(pair["b"])
    }


def flipped(a: Side, b: Side, shown: int) -> dict[str, Any]:
    """How many rows A and B predict differently, and those whose probabilities moved furthest."""
    first = a.runs[0]
    guesses, chances = [one.guess() for one in (a, b)], [one.chances() for one in (a, b)]
    places = np.flatnonzero(guesses[0] != guesses[1])
    rights = [guess[places] == first.truth[places] for guess in guesses]
    moved = np.abs(chances[1] - chances[0]).sum(1)[places]

    def told(guess: Ints, chance: Floats, place: int) -> dict[str, Any]:
        return {
            "predicted": first.names[guess[place]],
            "probability": rounded(float(chance[place, guess[place]])),
        }

    return {
        "rows": len(places),
        "turned_right": int((rights[1] & ~rights[0]).sum()),
        "turned_wrong": int((rights[0] & ~rights[1]).sum()),
        "shown": [
            {
                "id": first.ids[place],
                "label": first.names[first.truth[place]],
                "a": told(guesses[0], chances[0], place),
                "b": told(guesses[1], chances[1], place),
            }
            for place in places[np.argsort(-moved, kind="stable")][:shown]
        ],
    }


def markdown(found: dict[str, Any]) -> str:
    """What `compare` found, for people."""
    several = len(found["a"]) > 1 or len(found["b"]) > 1
    parts = [f"# {names_of(found['a'])} and {names_of(found['b'])}", "\n".join(heads(found))]
    header = ["figure", "A", "B", "B - A", f"{100 * found['level']:.0f} % interval"]
    header += ["A's runs", "B's runs"] if several else []
    rows = []
    for name, row in found["figures"].items():
        cells = [name, f"{row['a']:.4f}", f"{row['b']:.4f}", f"{row['difference']:+.4f}"]
        cells += [f"{row['low']:+.4f} to {row['high']:+.4f}" if "low" in row else ""]
        cells += [f"{min(r):.4f} to {max(r):.4f}" for r in (row["a_runs"], row["b_runs"])] if several else []
        rows.append(cells)
    parts.append(table(header, rows))
    parts.append(f"{' and '.join(LOWER)} are better when lower.")
    if test := found.get("mcnemar"):
        parts.append(
            f"Rows that A alone has right: {test['only_a_right']:,}; B alone: {test['only_b_right']:,}. "
            f"p = {test['p']:.3g} (McNemar, exact, two-sided)."
        )
    parts.append("## What differs")
    changed = [
        [cell(name), *(cell(", ".join(map(value_of, pair[one]))) for one in "ab")]
        for name, pair in found["parameters"].items()
    ]
    parts.append(table(["parameter", "A", "B"], changed) if changed else "No parameter.")
    if found["inputs"]:
        parts.append(f"Code and data: {', '.join(map(cell, found['inputs']))}.")
    parts += flips(found["flipped"])
    return "\n\n".join(parts) + "\n"


def heads(found: dict[str, Any]) -> list[str]:
    """What was compared, and how."""
    lines = [
        f"- {one.upper()}: {', '.join(cell(run['name']) + short(run['commit']) for run in found[one])}"
        for one in "ab"
    ]
    lines.append(
        f"- {found['rows']:,} test rows, labels {', '.join(map(cell, found['labels']))}"
        + (
            ""
            if found["texts_compared"]
            else "; the texts were not compared: an older run has no hashes of them"
        )
    )
    lines.append(
        f"- intervals: paired bootstrap of the rows, {found['resamples']:,} resamples, seed {found['seed']}"
    )
    if len(found["a"]) > 1 or len(found["b"]) > 1:
        lines.append(
            "- A and B are means over their runs, the least and the most of which stand in the last columns; "
            "a row is what most runs say"
        )
    return lines


def flips(found: dict[str, Any]) -> list[str]:
    """The section about the rows that flipped."""
    right, wrong = found["turned_right"], found["turned_wrong"]
    count = f"{found['rows']:,} rows: {right:,} turned right, {wrong:,} turned wrong."
    if not found["shown"]:
        return ["## Flipped", count]
    rows = [
        [cell(row["id"]), cell(row["label"])]
        + [text for one in "ab" for text in (cell(row[one]["predicted"]), f"{row[one]['probability']:.3f}")]
        for row in found["shown"]
    ]
    header = ["id", "label", "A predicts", "probability", "B predicts", "probability"]
    if len(rows) < found["rows"]:
        count += f" Here {len(rows):,} of them, those first whose probabilities moved furthest:"
    return ["## Flipped", count, table(header, rows)]


def names_of(runs: list[dict[str, str]]) -> str:
    """The names of a side's runs.

    >>> names_of([{"name": "main"}])
    'main'
    """
    return ", ".join(cell(run["name"]) for run in runs)


def short(commit: str) -> str:
    """A commit as git abbreviates it; the workspace has none."""
    return f" ({commit[:7]})" if commit else ""


def value_of(value: Any) -> str:
    """A parameter's value as params.yaml has it, or nearly.

    >>> value_of(None), value_of(0.5), value_of("head")
    ('null', '0.5', 'head')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cell(text: str) -> str:
    r"""Any text as text in Markdown, on one line: no markup of it, no HTML, no terminal's codes.

    >>> print(cell("a|b\n<i>c</i> min_count __init__"))
    a\|b &lt;i&gt;c&lt;/i&gt; min_count \_\_init\_\_
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    marked = re.sub(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)|(?<=_)_|_(?=_)", r"\\\g<0>", shown)
    return html.escape(marked, quote=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal where a run is not found, or the two have other rows."""
    parser = argparse.ArgumentParser(
        "compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", metavar="REV_A", help="a run, or several that differ in their seeds: X,Y,Z")
    parser.add_argument("b", metavar="REV_B")
    parser.add_argument("--resamples", type=int, default=10_000, help="draws of the rows (10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the draws (1)")
    parser.add_argument("--rows", type=int, default=10, help="flipped rows that are shown (10)")
    parser.add_argument("--format", choices=["markdown", "json"], default="markdown")
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of printing it")
    options = parser.parse_args(arguments)
    for name, least in (("resamples", 1), ("seed", 0), ("rows", 0)):
        if (value := getattr(options, name)) < least:
            raise Refusal(f"--{name}: found {value}, wanted {least} or more")
    a, b = side(options.a.split(",")), side(options.b.split(","))
    names = [revision.name for revision in (*a.revisions, *b.revisions)]
    check_rows(list(zip(names, (*a.runs, *b.runs), strict=True)))
    found = compare(a, b, options.resamples, options.seed, options.rows)
    text = markdown(found)
    if options.format == "json":
        text = json.dumps(found, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if options.output is None:
        print(text, end="")
    else:
        with atomic(options.output) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    with exit_on_refusal("compare"):
        main()
