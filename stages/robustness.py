"""Robustness: what keeps the meaning shall keep the decision, and what turns it shall turn it.

The test reviews are altered in ways that a reader hardly minds, each from where it begins: letters in
the text, words in the row numbers. A model that knows nothing of word order does not notice that the
words are shuffled. Then it is asked minimal pairs, two short texts that differ in one thing:

    negation     "The jokes land."  /  "The jokes don't land."         the label turns
    intensity    "I liked it."  /  "I loved it."                       the label stays, surer of the second
    contrast     "Great premise. Terrible execution, though."  / ...   the last word counts
    irrelevant   "We saw it on a Tuesday"  /  "We saw it on a Friday"  nothing changes

A pair is right when both sides are: whoever always says the same has none of negation and contrast.

    Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList"
    Gardner et al. 2020, "Evaluating Models' Local Decision Boundaries via Contrast Sets"

    python -m stages.robustness --help

`Chain` is the way of any text to the model, for whoever has one to ask about.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, NamedTuple, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from stages import TEST
from stages.classifier import Classifier, decide, load, probabilities, score
from stages.ids import look_up, row_numbers
from stages.lib import rows
from stages.lib.command import Refusal, run
from stages.lib.files import read_json, sha256, write_json
from stages.lib.intervals import LEVEL, Interval, wilson
from stages.lib.params import Section, nearest, read_params
from stages.lib.reviews import Reviews, logits_for, read_split
from stages.lib.tables import batch_of, read_batches, table_writer
from stages.lib.training import prepare
from stages.raw import clean
from stages.tensors import rectangle
from stages.tokens import Tokeniser, ahead, read_tokeniser

TOGETHER = 2048  # texts in work at a time: few enough that two cores end together
CELLS = 1 << 20  # of a rectangle: a review of 100,000 words shall not widen 4,095 short ones
UNALTERED = "unaltered"
KINDS = ("negation", "intensity", "contrast", "irrelevant")
TURNING = ("negation", "contrast")  # whose two sides have two labels
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

ALTERED = pa.schema(
    [(name, pa.string()) for name in ("id", "alteration", "label", "predicted")]
    + [("probability", pa.float64())]  # of the predicted label
)
ANSWERED = pa.schema(
    [(name, pa.string()) for name in ("id", "kind", "text_a", "text_b", "label_a", "label_b")]
    + [("predicted_a", pa.string()), ("predicted_b", pa.string())]
    + [("probability_a", pa.float64()), ("probability_b", pa.float64())]  # of label_a, of label_b
    + [("right", pa.bool_())]
)

Bools = NDArray[np.bool_]
Ints = NDArray[np.int32]
Places = NDArray[np.int64]
Part = TypeVar("Part")
Percent = Annotated[int, Field(ge=1, le=100)]


class Params(Section):
    typos: list[Percent]  # letters that are mistyped: how many are too many?
    kept: int = Field(ge=1)  # tokens that are left of a review: does the verdict stand there?
    pairs: list[str]  # files in data/pairs
    seed: int = Field(ge=0, lt=2**63)  # of the typos and the shuffling
    threads: int = Field(ge=1, le=1024)  # another count is another order of sums


class Pair(NamedTuple):
    """Two texts that differ in one thing, and the label of each."""

    id: str
    kind: str
    text_a: str
    text_b: str
    label_a: str
    label_b: str


class Chain:
    """A text's way to its probability, the same that the pipeline's own reviews went."""

    def __init__(
        self, tokeniser: Tokeniser, numbers: dict[str, int], model: Classifier, labels: list[str]
    ) -> None:
        self.tokeniser = tokeniser
        self.numbers = numbers
        self.model = model
        self.scorer = model.folded()
        self.labels = labels

    @classmethod
    def load(cls, tokeniser: Path, vocabulary: Path, classifier: Path, labels: Path) -> "Chain":
        """The chain of a run's artefacts. Raises Refusal where they are not of one run."""
        model = load(classifier)
        if sha256(vocabulary) != model.about.vocabulary:
            raise Refusal(f"{classifier}: learnt with another vocabulary than {vocabulary}; run `dvc repro`")
        names: list[str] = read_json(labels)["labels"]
        if len(names) != model.labels:
            raise Refusal(
                f"{classifier}: tells {model.labels} labels apart, {labels} has {len(names)}; run `dvc repro`"
            )
        return cls(read_tokeniser(tokeniser), row_numbers(vocabulary), model, names)

    def tokens(self, texts: Sequence[str]) -> list[list[str]]:
        """What the model is shown of each text, before it is cut."""
        found: list[list[str]] = self.tokeniser.split(
            pl.DataFrame({"text": pl.Series(cleaned(texts), dtype=pl.String)})
        ).to_list()
        return found

    def ids(self, texts: Sequence[str]) -> Reviews:
        """Row numbers (N, T), cut and padded as stages.tensors does it, and lengths (N,). The labels
        are unknown: -1."""
        lists = self.lists(texts)
        return self.reviews(lists, self.model.about.width or longest(lengths_of(lists)))

    def logits(self, texts: Sequence[str]) -> Tensor:
        """(N, 1 or L) raw logits of any number of texts."""
        batches = (texts[first : first + TOGETHER] for first in range(0, len(texts), TOGETHER))
        found = list(ahead(lambda texts: self.score(self.lists(texts)), batches))
        return torch.cat([torch.empty(0, logits_for(len(self.labels))), *found])

    def probabilities(self, texts: Sequence[str]) -> Tensor:
        """(N, L) calibrated probabilities."""
        return probabilities(self.logits(texts), self.model.about.temperature)

    def predict(self, texts: Sequence[str]) -> Tensor:
        """(N,) label numbers."""
        return decide(self.probabilities(texts), self.model.about.threshold)

    def lists(self, texts: Sequence[str]) -> pa.ListArray:
        """The row numbers of each text, uncut: (N,) lists.

        Words repeat, so each distinct one is split into tokens and looked up once.
        """
        column = cleaned(texts)
        # A text of nothing has one word, which is empty.
        words = (
            pc.split_pattern(column, " ")
            if self.tokeniser.by_word
            else as_lists(column, np.ones(len(column), np.int32))
        )
        said = words.values.dictionary_encode()
        tokens = self.tokeniser.split(pl.DataFrame({"text": pl.Series(said.dictionary, dtype=pl.String)}))
        of_word = look_up(tokens.to_arrow().cast(pa.list_(pa.string())), self.numbers).take(said.indices)
        return pa.ListArray.from_arrays(of_word.offsets.take(words.offsets), of_word.values)

    def reviews(self, lists: pa.ListArray, width: int) -> Reviews:
        """Lists of row numbers as a rectangle for the model."""
        rows, kept = rectangle(np.asarray(lists.flatten()), lengths_of(lists), width, self.model.about.keep)
        unknown = np.full(len(kept), -1, np.int32)
        return Reviews(*map(torch.from_numpy, (rows, kept, unknown)))

    def score(self, lists: pa.ListArray) -> Tensor:
        """(N, 1 or L) raw logits of lists of row numbers."""
        lengths = lengths_of(lists)
        width = self.model.about.width or longest(lengths)
        order = np.argsort(lengths, kind="stable")
        found = [torch.empty(0, logits_for(len(self.labels)))]
        for block in blocks(np.minimum(lengths[order], width)):
            rows = order[block]
            reviews = self.reviews(lists.take(pa.array(rows)), min(width, longest(lengths[rows])))
            found.append(score(self.scorer, reviews))
        return torch.cat(found)[torch.from_numpy(np.argsort(order))]


def cleaned(texts: Sequence[str]) -> pa.Array:
    """Texts as stages.raw cleans them."""
    return pa.array([clean(text) for text in texts], pa.large_string())


def lengths_of(lists: pa.ListArray) -> Ints:
    """The number of values in each list, (N,)."""
    return np.diff(np.asarray(lists.offsets))


def as_lists(values: pa.Array, lengths: Ints) -> pa.ListArray:
    """Values that lie one after the other as lists of these lengths, (N,).

    >>> as_lists(pa.array([4, 5, 6]), np.array([0, 2, 1])).to_pylist()
    [[], [4, 5], [6]]
    """
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)


def longest(lengths: Ints) -> int:
    """The width of a rectangle that cuts nothing; 1 where there is nothing."""
    return max(1, int(lengths.max(initial=0)))


def blocks(lengths: Ints) -> Iterator[slice]:
    """Reviews of ascending lengths, (N,), in blocks whose rectangles stay small.

    >>> [(block.start, block.stop) for block in blocks(np.array([1, 2, CELLS], np.int32))]
    [(0, 2), (2, 3)]
    """
    first = 0
    while first < len(lengths):
        cells = np.arange(1, len(lengths) - first + 1) * lengths[first:].astype(np.int64)
        rows = max(1, int(np.searchsorted(cells, CELLS, "right")))
        yield slice(first, first + rows)
        first += rows


def shuffled(lists: pa.ListArray, generator: np.random.Generator) -> pa.ListArray:
    """Each list's values in another order."""
    review = np.repeat(np.arange(len(lists)), lengths_of(lists))
    values = np.asarray(lists.flatten())
    order = np.argsort(review + generator.random(len(values)), kind="stable")
    return as_lists(pa.array(values[order]), lengths_of(lists))


def cut(lists: pa.ListArray, kept: int, keep: str) -> pa.ListArray:
    """The first (`head`) or the last (`tail`) `kept` values of each list.

    >>> cut(pa.array([[2, 3, 4], [5]]), 2, "tail").to_pylist()
    [[3, 4], [5]]
    """
    lengths = lengths_of(lists)
    left = np.minimum(lengths, kept)
    starts = np.asarray(lists.offsets)[:-1] + (lengths - left if keep == "tail" else 0)
    views = pa.ListViewArray.from_arrays(*(pa.array(n, pa.int32()) for n in (starts, left)), lists.values)
    return as_lists(views.flatten(), left)


@cache
def neighbours() -> tuple[NDArray[np.uint32], Ints]:
    """The keys that touch each letter's key, a row for each code point of ASCII, and their number."""
    place = {key: (x + row / 2, row) for row, keys in enumerate(KEYBOARD) for x, key in enumerate(keys)}
    table, count = np.zeros((128, 6), np.uint32), np.zeros(128, np.int32)
    for key, (x, y) in place.items():
        near = [other for other, (u, v) in place.items() if other != key and (x - u) ** 2 + (y - v) ** 2 < 2]
        for case in (str.lower, str.upper):
            table[ord(case(key)), : len(near)] = [ord(case(other)) for other in near]
            count[ord(case(key))] = len(near)
    return table, count


def mistyped(texts: Sequence[str], percent: int, generator: np.random.Generator) -> list[str]:
    """Texts in which each letter is mistyped with a probability of `percent` in a hundred, in one of
    four ways at random: it changes places with the next letter, is left out, stands there twice, or
    is one of the keys beside it. Where the first or the last is impossible it stands there twice.

    >>> mistyped(["A good film, I'd say."], 20, np.random.default_rng(4))
    ["A god rilm, I'd sya."]
    """
    ends = np.cumsum([0, *map(len, texts)])
    points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)  # (M,) code points
    letter = letters(points)
    typo = letter & (generator.random(len(points)) < percent / 100)
    follows = np.zeros(len(points), np.bool_)  # a letter of the same text, and typed well
    follows[:-1] = letter[1:] & ~typo[1:]
    follows[ends[1:][ends[1:] > 0] - 1] = False
    chosen = np.flatnonzero(typo)
    way = generator.integers(0, 4, len(chosen))
    table, count = neighbours()
    keys = np.where(points[chosen] < len(count), points[chosen], 0)
    slips = (way == 3) & (count[keys] > 0)
    swapped, dropped, beside = chosen[(way == 0) & follows[chosen]], chosen[way == 1], chosen[slips]
    typed = points.copy()
    typed[swapped], typed[swapped + 1] = points[swapped + 1], points[swapped]
    typed[beside] = table[keys[slips], (generator.random(len(beside)) * count[keys[slips]]).astype(np.int64)]
    times = np.ones(len(points), np.int8)
    times[chosen] = 2
    times[swapped] = times[beside] = 1
    times[dropped] = 0
    new_ends = np.concatenate([[0], np.cumsum(times)])[ends].tolist()
    whole = np.repeat(typed, times).tobytes().decode("utf-32-le")
    return [whole[start:end] for start, end in pairwise(new_ends)]


def letters(points: NDArray[np.uint32]) -> Bools:
    """Which code points are letters, of any script."""
    table = np.zeros(0x110000, np.bool_)
    table[points] = True
    met = np.flatnonzero(table)
    table[met] = [chr(point).isalpha() for point in met]
    return table[points]


def of_words(params: Params) -> dict[str, Callable[[pa.ListArray], pa.ListArray]]:
    """The alterations of lists of row numbers. `shuffled` is meant to be called on one batch after the
    other: it goes on drawing."""
    generator = np.random.default_rng([params.seed, 0])
    return {
        "shuffled": lambda lists: shuffled(lists, generator),
        f"first_{params.kept}": lambda lists: cut(lists, params.kept, "head"),
        f"last_{params.kept}": lambda lists: cut(lists, params.kept, "tail"),
    }


def of_text(params: Params) -> dict[str, Callable[[list[str]], list[str]]]:
    """The alterations of texts; those that draw go on drawing."""

    def typos(percent: int) -> Callable[[list[str]], list[str]]:
        generator = np.random.default_rng([params.seed, percent])
        return lambda texts: mistyped(texts, percent, generator)

    return {
        **{f"typos_{percent}": typos(percent) for percent in params.typos},
        "upper_case": lambda texts: [text.upper() for text in texts],
    }


def altered(
    batches: Iterator[Part],
    alterations: dict[str, Callable[[Part], Part]],
    logits: Callable[[Part], Tensor],
) -> dict[str, Tensor]:
    """The logits, (N, 1 or L), of all batches under each alteration."""
    found: dict[str, list[Tensor]] = {name: [] for name in alterations}
    for batch in batches:
        for name, alter in alterations.items():
            found[name].append(logits(alter(batch)))
    return {name: torch.cat(parts) for name, parts in found.items()}


def of_test(path: Path, column: str) -> Iterator[pa.Array]:
    """A column of the test reviews, batch by batch."""
    for batch in read_batches(path, ["split", column]):
        if len(part := batch.filter(np.asarray(batch["split"]) == TEST)):
            yield part[column]


def paired(gained: int, lost: int, n: int, level: float = LEVEL) -> Interval:
    """The interval of a difference between two shares of the same n rows, of which `gained` are right
    only after and `lost` only before. Wald's, with half a row added to each of the four cells: Agresti
    and Min 2005, "Simple improved confidence intervals for comparing matched proportions".

    >>> [round(end, 3) for end in paired(2, 10, 100)]
    [-0.146, -0.011]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    more, changed, rows = gained - lost, gained + lost + 1, n + 2
    middle = more / rows
    half = z * sqrt(changed - more**2 / rows) / rows
    return Interval(max(-1.0, middle - half), min(1.0, middle + half))


def compared(truth: Places, before: Places, after: Places) -> dict[str, float]:
    """What an alteration did to the decisions, (N,) label numbers."""
    n, was, right = len(truth), before == truth, after == truth
    low, high = wilson(int(right.sum()), n)
    least, most = paired(int((right & ~was).sum()), int((was & ~right).sum()), n)
    return {
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "difference": float(right.mean() - was.mean()),
        "difference_low": least,
        "difference_high": most,
        "changed": float((before != after).mean()),
    }


def read_pairs(folder: Path, names: Sequence[str]) -> list[Pair]:
    """The minimal pairs of some files in a folder. Raises Refusal on what is none, with its row."""
    pairs: list[Pair] = []
    for name in names:
        path = folder / name
        if not path.is_file():
            there = ", ".join(sorted(file.name for file in folder.glob("*") if file.suffix != ".md"))
            raise Refusal(
                f"robustness.pairs: no file {name!r}; put it into {folder} (there: {there or 'nothing'})"
            )
        with path.open("rb") as file:
            for number, row in enumerate(rows.read(file, name, str(path)), 1):
                where = f"{path}, pair {number}"
                rows.require(Pair._fields, row, where)
                pairs.append(
                    sound(Pair(*(rows.text_of(row[column]) or "" for column in Pair._fields)), where)
                )
    if twice := {pair.id for n, pair in enumerate(pairs) if pair.id in {other.id for other in pairs[:n]}}:
        raise Refusal(f"robustness.pairs: two pairs have the id {min(twice)!r}; an id names one pair")
    return pairs


def sound(pair: Pair, where: str) -> Pair:
    """The pair, if it is one. Raises Refusal otherwise."""
    if empty := [column for column, value in pair._asdict().items() if not value]:
        raise Refusal(f"{where}: {empty[0]} is empty; a pair has {', '.join(Pair._fields)}")
    if pair.kind not in KINDS:
        raise Refusal(f"{where}: unknown kind {pair.kind!r}{nearest(pair.kind, list(KINDS))}")
    if (pair.label_a != pair.label_b) != (pair.kind in TURNING):
        wanted = "two different labels" if pair.kind in TURNING else "one label on both sides"
        raise Refusal(f"{where}: found {pair.label_a!r} and {pair.label_b!r}; {pair.kind} wants {wanted}")
    return pair


def answer(pairs: Sequence[Pair], chain: Chain) -> pa.Table:
    """What the model makes of pairs whose labels it knows: a row of `ANSWERED` for each."""
    number = {name: n for n, name in enumerate(chain.labels)}
    sides = []
    for texts, labels in (("text_a", "label_a"), ("text_b", "label_b")):
        chances = chain.probabilities([getattr(pair, texts) for pair in pairs])
        truth = torch.tensor([number[getattr(pair, labels)] for pair in pairs], dtype=torch.int64)
        guess = decide(chances, chain.model.about.threshold)
        own = chances.gather(1, truth[:, None])[:, 0]
        sides.append((guess, own, guess == truth))
    (guess_a, own_a, right_a), (guess_b, own_b, right_b) = sides
    weaker = torch.tensor([pair.kind == "intensity" for pair in pairs], dtype=torch.bool) & ~(own_b > own_a)
    columns = [
        *(zip(*pairs, strict=True) if pairs else [[]] * len(Pair._fields)),
        *([chain.labels[n] for n in guess] for guess in (guess_a, guess_b)),
        *(side.numpy() for side in (own_a, own_b, right_a & right_b & ~weaker)),
    ]
    return pa.Table.from_batches([batch_of(columns, ANSWERED)])


def by_kind(answered: pa.Table) -> dict[str, dict[str, float]]:
    """How many pairs of each kind are right on both sides. `sides` is the share of single sides that
    are right, `changed` of pairs whose two sides are told differently."""
    table = {name: np.array(answered[name].to_pylist()) for name in answered.column_names}
    same = [table[f"label_{side}"] == table[f"predicted_{side}"] for side in "ab"]
    changed = table["predicted_a"] != table["predicted_b"]
    figures = {}
    for kind in KINDS:
        mine = table["kind"] == kind
        if n := int(mine.sum()):
            right = int(table["right"][mine].sum())
            low, high = wilson(right, n)
            figures[kind] = {
                "pairs": n,
                "right": right / n,
                "right_low": low,
                "right_high": high,
                "sides": float(np.mean([side[mine].mean() for side in same])),
                "changed": float(changed[mine].mean()),
            }
    return figures


def main(
    params: Path,
    raw: Path,
    tokeniser: Path,
    vocabulary: Path,
    ids: Path,
    tensors: Path,
    classifier: Path,
    labels: Path,
    pairs: Path,
    robustness: Path,
    robustness_pairs: Path,
    metrics: Path,
) -> None:
    choices = read_params(params, "robustness", Params)
    asked = read_pairs(pairs, choices.pairs)
    prepare(choices.seed, choices.threads, "cpu")
    chain = Chain.load(tokeniser, vocabulary, classifier, labels)
    test = read_split(tensors, TEST)
    logits = {
        UNALTERED: score(chain.model, test),
        **altered(of_test(ids, "ids"), of_words(choices), chain.score),
        **altered((texts.to_pylist() for texts in of_test(raw, "text")), of_text(choices), chain.logits),
    }
    truth = test.labels.numpy().astype(np.int64)
    names = np.array(chain.labels)
    guesses = {}
    with table_writer(robustness, ALTERED) as writer:
        every = [name for part in of_test(ids, "id") for name in part.to_pylist()]
        for alteration, found in logits.items():
            chances = probabilities(found, chain.model.about.temperature)
            guesses[alteration] = guess = decide(chances, chain.model.about.threshold).numpy()
            told = chances.numpy()[np.arange(len(guess)), guess]
            columns = [every, [alteration] * len(guess), names[truth], names[guess], told]
            writer.write_batch(batch_of(columns, ALTERED))
    known = [pair for pair in asked if {pair.label_a, pair.label_b} <= set(chain.labels)]
    answered = answer(known, chain)
    with table_writer(robustness_pairs, ANSWERED) as writer:
        writer.write_table(answered)
    before = guesses.pop(UNALTERED)
    low, high = wilson(int((before == truth).sum()), len(truth))
    accuracy = {"accuracy": float((before == truth).mean()), "accuracy_low": low, "accuracy_high": high}
    write_json(
        metrics,
        {
            UNALTERED: accuracy,
            "altered": {name: compared(truth, before, guess) for name, guess in guesses.items()},
            "pairs": by_kind(answered),
            "pairs_left_out": len(asked) - len(known),  # of other labels than the corpus has
        },
    )


if __name__ == "__main__":
    run(main)
