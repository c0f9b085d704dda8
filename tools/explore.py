"""Shows the words of two runs side by side: which words moved, and by more than another seed moves them?

    python -m tools.explore REV_A REV_B
    python -m tools.explore main workspace --words 20000 --output comparison.html
    python -m tools.explore seed-1,seed-2,seed-3 wide-1,wide-2,wide-3

A REV is a commit, branch or tag of git, the name of an experiment, or `workspace`; nothing is checked out
(tools/revisions.py). The page is one file that opens without a network. The words of B are on the axes of A:
its vectors are rotated onto those of A (tools/alignment.py). A word that is selected in one of the two plots
is selected in the other, and a table lists the words that moved most.

REV_A and REV_B may each be several runs, separated by commas, that differ in their seeds only. Then a
distance is the mean over all pairs of a run of A and a run of B, with the smallest and the largest, and is
compared with the distances between runs of one side. A word moved by more than the seeds' spread if each
distance between the sides is larger than each within one; the page says how many words do so by chance. The
plots show the first run of each side.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stages.lib.arrays import Float64, Int64, read_arrays
from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.files import write_text
from stages.lib.neighbours import NEIGHBOURS, unit_rows
from stages.lib.page.assemble import assemble
from stages.lib.page.pack import pack, pack_strings, unpack_strings
from stages.lib.page.parts import BASE, EXPLORER
from stages.lib.page.space import by_column
from stages.lib.terminal import printable
from tools.alignment import Moves, moves, on_axes, padded, rotation
from tools.compare import parameters, short, value_of
from tools.predictions import Side
from tools.revisions import Revision, check_seeds, find

EXPLORER_DATA = "data/explorer.safetensors"
OWN_FACTS = ("trustworthiness", "overlap")  # of a run's own axes and of all its words
PRINTED = 10  # words
OFTEN = 10  # times that a word must occur in both runs to be listed at first: rarer ones have few contexts

Arrays = dict[str, Any]


class RunWords(NamedTuple):
    """The most frequent words of a run, as data/explorer.safetensors has them."""

    words: list[str]
    arrays: Arrays  # see stages.lib.page.space

    @property
    def vectors(self) -> Float64:
        """(V, D)."""
        vectors: Float64 = self.arrays["vectors"] * self.arrays["scale"].astype(np.float64)[:, None]
        return vectors

    @property
    def coords(self) -> Float64:
        """(V, C)."""
        coords: Float64 = self.arrays["coords"] * self.arrays["coords_scale"].astype(np.float64)
        return coords


def read(path: Path, count: int) -> RunWords:
    """The `count` most frequent words of a run."""
    arrays = read_arrays(path)
    names = unpack_strings(arrays, "words")[:count]
    rows = {
        name: arrays[name][:count] for name in ("count", "vectors", "scale", "coords", "weights", "cluster")
    }
    return RunWords(names, {**arrays, **rows, **pack_strings(names, "words")})


def shared_rows(runs: Sequence[RunWords]) -> list[Int64]:
    """The rows (S,) in each run of the words that all runs have, in the order of the first run.

    Of two words that are cut to the same text, the first is meant.
    """
    number = [{word: row for row, word in reversed(list(enumerate(run.words)))} for run in runs]
    common = [word for word in number[0] if all(word in rows for rows in number)]
    common.sort(key=number[0].__getitem__)
    return [np.array([rows[word] for word in common], np.int64) for rows in number]


def require_enough(runs: Sequence[RunWords], names: Sequence[str], words: int) -> None:
    """Raises Refusal if so few words are shared that any two spaces could be rotated onto each other."""
    dims = max(run.vectors.shape[1] for run in runs)
    if words <= dims:
        raise Refusal(
            f"{', '.join(names)}: found {words:,} words that all of them have, expected more than the {dims} "
            "dimensions of the vectors; raise --words, or compare runs on similar texts"
        )


def aligned(a: RunWords, b: RunWords, rows: Sequence[Int64]) -> Arrays:
    """The arrays of b with coordinates on the axes of a, after the rotation that brings the words that both
    have (`rows`) together. The variance explained is that of b's own vectors on these axes."""
    dims = max(a.vectors.shape[1], b.vectors.shape[1])
    own, other = padded(a.vectors, dims), padded(b.vectors, dims)
    turned = other @ rotation(unit_rows(own)[rows[0]], unit_rows(other)[rows[1]])
    places = on_axes(own, a.coords, turned)
    coords, coords_scale = by_column(places)
    total = turned.var(0).sum()
    explained = (places.var(0) / (total or 1)).astype(np.float32)
    return {**b.arrays, "coords": coords, "coords_scale": coords_scale, "explained": explained}


def with_facts(run: RunWords, arrays: Arrays, name: str) -> Arrays:
    """Arrays whose facts hold for the words in the page."""
    facts: dict[str, Any] = json.loads(unpack_strings(run.arrays, "facts")[0])
    kept = {key: value for key, value in facts.items() if key not in OWN_FACTS}
    kept |= {"words": len(run.words), "run": name}
    return {**arrays, **pack_strings([json.dumps(kept, sort_keys=True)], "facts")}


def packed_moves(moved: Moves, rows: Sequence[Int64]) -> str:
    """What the table of the page shows, for S words; rows[0] and rows[1] are theirs in the two plots."""
    arrays: Arrays = {"row_a": rows[0].astype(np.uint32), "row_b": rows[1].astype(np.uint32)}
    arrays |= {
        name: values.astype(np.float32) for name, values in moved._asdict().items() if values is not None
    }
    if moved.exceeds is not None:
        arrays["exceeds"] = moved.exceeds.astype(np.uint8)
    return pack(arrays)


def summary(moved: Moves, by_chance: Sequence[int], dims: Sequence[int]) -> list[str]:
    """What is to be known of all words together, as sentences."""
    lines = [
        f"{len(moved.distance):,} words are in all runs. After the rotation the median cosine distance of a "
        f"word between A and B is {np.median(moved.distance):.3f}, and the Jaccard index of its {NEIGHBOURS} "
        f"nearest neighbours is {moved.kept.mean():.2f} on average."
    ]
    if moved.seeds is None or moved.exceeds is None:
        lines.append(
            "Each side is one run. Another seed alone moves words too; to see which moves are more than "
            "that, compare several runs on each side."
        )
    else:
        count = int(moved.exceeds.sum())
        lines.append(
            f"Between runs that differ in the seed only, the median is {np.median(moved.seeds):.3f}. "
            f"{count:,} words moved by more than the seeds' spread: each distance between A and B is larger "
            "than each distance within A or B."
        )
        if by_chance:
            lines.append(
                f"If the same runs are put on the two sides in another way, {np.mean(by_chance):,.0f} words "
                f"do so on average, and at most {max(by_chance):,} ({len(by_chance):,} ways)."
            )
    if len(set(dims)) > 1:
        lines.append(
            f"The vectors have {' and '.join(map(str, sorted(set(dims))))} dimensions. The shorter ones were "
            "padded with zeros, which can make distances larger; the neighbours are not affected."
        )
    return lines


def page(runs: Sequence[RunWords], revisions: tuple[list[Revision], list[Revision]]) -> tuple[str, list[str]]:
    """The page, and the lines to print. `runs` are those of A, then those of B."""
    first = len(revisions[0])
    names = [revision.name for side in revisions for revision in side]
    rows = shared_rows(runs)
    require_enough(runs, names, len(rows[0]))
    moved, by_chance = moves([run.vectors[own] for run, own in zip(runs, rows, strict=True)], first)
    lines = summary(moved, by_chance, [run.vectors.shape[1] for run in runs])
    changed = parameters(*(Side(side, []) for side in revisions))
    shown = (rows[0], rows[first])
    counts = np.minimum(
        *(run.arrays["count"][own] for run, own in zip((runs[0], runs[first]), shown, strict=True))
    )
    minimum = min(OFTEN, int(counts.max()))
    order = np.argsort(-moved.distance, kind="stable")
    order = order[counts[order] >= minimum]
    content = {
        "minimum": minimum,
        "sides": [[revision.name + short(revision.commit) for revision in side] for side in revisions],
        "parameters": [
            (name, *(", ".join(map(value_of, pair[side])) for side in "ab")) for name, pair in changed.items()
        ],
        "summary": lines,
        "neighbours": NEIGHBOURS,
        "seeds": moved.seeds is not None,
    }
    data = {
        "space-a": pack(with_facts(runs[0], runs[0].arrays, names[0])),
        "space-b": pack(with_facts(runs[first], aligned(runs[0], runs[first], shown), names[first])),
        "moves-data": packed_moves(moved, shown),
    }
    scripts = (*BASE.scripts, *EXPLORER.scripts, "comparison.js")
    styles = (*BASE.styles, *EXPLORER.styles, "comparison.css")
    html = assemble("comparison.jinja", content, scripts, styles, data)
    words = ", ".join(runs[0].words[row] for row in rows[0][order[:PRINTED]])
    return html, [*lines, f"Moved most, of those that occur {minimum} times or more: {words}."]


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal if a run is not found, or if too few words are shared."""
    parser = argparse.ArgumentParser(
        "explore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", metavar="REV_A", help="a run, or several that differ in their seeds: X,Y,Z")
    parser.add_argument("b", metavar="REV_B")
    parser.add_argument("--words", type=int, default=10_000, help="most frequent words of each run (10000)")
    parser.add_argument("--output", type=Path, default=Path("comparison.html"), metavar="FILE")
    options = parser.parse_args(arguments)
    if options.words < 1:
        raise Refusal(f"--words: found {options.words}, expected 1 or more")
    sides = find(options.a.split(",")), find(options.b.split(","))
    for side in sides:
        check_seeds(side, EXPLORER_DATA)
    runs = [read(revision.file(EXPLORER_DATA), options.words) for side in sides for revision in side]
    html, lines = page(runs, sides)
    write_text(options.output, html)
    print("\n".join(map(printable, [*lines, f"Page: {options.output}"])))


if __name__ == "__main__":
    with exit_on_refusal("explore"):
        main()
