"""Evaluation: a number means something beside a baseline and an interval.

The test reviews are opened here, once. The classifier is measured beside three that know less: the
majority (the commonest train label, whatever the review says), Naive Bayes on word counts, and
NBSVM, a line through words and pairs of words. They see the same tokens and have no vectors. What
beats none of them has learnt nothing.

    Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification"
    Guo et al. 2017, "On Calibration of Modern Neural Networks"

    python -m stages.evaluation --help

The intervals are made so that 95 in 100 hold the true figure; a difference has one of its own. With
two labels, precision, recall, F1 and the areas are those of the second label. With more they are
means over the labels, each against the rest.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix
from scipy.special import expit, softmax
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from stages import TEST, TRAIN, UNK
from stages.classifier import decide, load, probabilities, score
from stages.lib.command import Refusal, run
from stages.lib.files import read_json, write_csv, write_json
from stages.lib.intervals import (
    LEVEL,
    RANKED,
    Counts,
    Figures,
    Floats,
    Ints,
    bootstrap,
    figures_of,
    mcnemar,
    share,
    wilson,
)
from stages.lib.nbsvm import log_count_ratios
from stages.lib.ngrams import Table, incidence, learn
from stages.lib.params import Section, read_params
from stages.lib.reviews import Reviews, read_split, unpadded
from stages.lib.tables import open_table, read_batches, table_writer
from stages.lib.training import prepare

BASELINES = ("naive_bayes", "nbsvm", "majority")
# What a difference is told in: one figure each of decisions, their balance, order and probabilities.
COMPARED = ("accuracy", "f1", "roc_auc", "log_loss")
DECIDED = ("accuracy", "precision", "recall", "f1", "mcc")  # what a threshold changes
TRUSTED = ("log_loss", "brier")  # what a temperature changes
ROC_POINTS = 200  # of the curve: enough for the eye

PENALTY = 1.0  # C of NBSVM's line
INTERPOLATION = 0.5  # how far that line leaves Naive Bayes; Wang and Manning: 1/4 to 1/2 do well

BINS = 15  # of probabilities, as Guo et al. have it
PERFECT = 1000  # perfectly calibrated models that are drawn, to see how far off chance alone is

# Words that turn or weigh what stands beside them, which a model without word order cannot see. Only
# those that hardly ever do anything else: "while" and "still" tell the time as often. Many leave the
# apostrophe out; "wont" and "cant" are hardly ever the old words.
NEGATION = re.compile(
    r"n['’]t\b|\b(?:no|not|never|none|nobody|nothing|nowhere|neither|nor|cannot|without|hardly|scarcely"
    r"|barely|(?:ai|are|ca|could|did|does|do|had|has|have|is|should|was|were|wo|would)nt)\b",
    re.IGNORECASE,
)
CONTRAST = re.compile(
    r"\b(?:but|however|although|though|yet|despite|nevertheless|nonetheless|whereas|albeit)\b",
    re.IGNORECASE,
)
DECILES = 10
UNKNOWN = (0.0, 0.01, 0.02, 0.05, 0.1)  # shares of unknown words that end a band
GROUPS = 30  # of the corpus that have a slice of their own; the rarer ones share one

Bools = NDArray[np.bool_]
Place = tuple[str, ...]  # of a figure, in metrics/evaluation.json


class Params(Section):
    resamples: int = Field(ge=100, le=100_000)  # draws of the test rows: more make steadier intervals
    seed: int = Field(ge=0, lt=2**32)  # of those draws, and of the order in which NBSVM learns
    threads: int = Field(ge=1, le=1024)  # another count is another order of sums


class Contender(NamedTuple):
    """What a model says of the test rows."""

    chances: Floats  # (N, L)
    guess: Ints  # (N,)


def contender(chances: Floats, threshold: float = 0.5) -> Contender:
    """The decisions of a model of probabilities (N, L); the threshold is for two labels."""
    return Contender(chances, decide(torch.from_numpy(chances), threshold).numpy())


def measure(truth: Ints, chances: Floats, threshold: float) -> dict[str, float]:
    """All figures of one model on labels (N,) and probabilities (N, L).

    The areas under the curves are left out where there is one label only: they are undefined.
    """
    return once(figures_of(truth, *contender(chances, threshold)), len(truth))


def once(figures: Figures[Any], n: int) -> dict[Any, float]:
    """Figures of n rows as they are, without those that are undefined."""
    found = figures(np.ones((1, n), np.int32))
    return {name: float(values[0]) for name, values in found.items() if not np.isnan(values[0])}


def majority(train_labels: Ints, labels: int, rows: int) -> Floats:
    """The shares of the train labels, whatever the review: (rows, L)."""
    shares = np.bincount(train_labels, minlength=labels) / len(train_labels)
    return np.tile(shares, (rows, 1))


def word_counts(reviews: Reviews, words: int) -> csr_matrix:
    """How often each review has each word, (N, V), from its real tokens."""
    tokens, lengths = unpadded(reviews.ids, reviews.lengths)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    counts = csr_matrix((np.ones(len(tokens)), tokens, ends), shape=(len(lengths), words))
    counts.sum_duplicates()
    return counts


def naive_bayes(train: Reviews, test: Reviews, words: int) -> Floats:
    """Multinomial Naive Bayes on word counts, with one added to every count: (N, L)."""
    model = MultinomialNB(alpha=1.0).fit(word_counts(train, words), train.labels.numpy())
    chances: Floats = model.predict_proba(word_counts(test, words))
    return chances


def nbsvm(train: Reviews, test: Reviews, words: int, seed: int) -> Floats:
    """A line through the words and pairs that a review has, each counting as much as Naive Bayes
    would have it count: (N, L).

    Wang and Manning 2012, with logistic regression in the place of their support vector machine, for
    its probabilities. More than two labels are each told from the rest.
    """
    labels = train.labels.numpy()
    kinds = int(labels.max()) + 1
    read = unpadded(train.ids, train.lengths)
    keys, places = learn(*read, longest=2, words=words, least=1, limit=2 * len(read[0]))
    present = places.T.tocsr()  # (N, F)
    ratios: Floats = log_count_ratios(present, labels, kinds).astype(np.float64)  # (F, 1 or L)
    asked = incidence(*unpadded(test.ids, test.lengths), 2, words, Table(keys))

    def margin(label: int, ratio: Floats) -> Floats:
        line = LogisticRegression(
            C=PENALTY, solver="liblinear", dual=True, random_state=seed, max_iter=10_000
        )
        line.fit(weighed(present, ratio), labels == label)
        weights = line.coef_[0]
        weights = (1 - INTERPOLATION) * np.abs(weights).mean() + INTERPOLATION * weights
        odds: Floats = weighed(asked, ratio) @ weights + line.intercept_[0]
        return odds

    if kinds == 2:
        second = expit(margin(1, ratios[:, 0]))
        return np.stack([1 - second, second], 1)
    odds = np.stack([margin(label, ratios[:, label]) for label in range(kinds)], 1)
    # Each label's own probability, over their sum.
    chances: Floats = softmax(-np.logaddexp(0, -odds), axis=1)
    return chances


def weighed(rows: csr_matrix, ratios: Floats) -> csr_matrix:
    """The ratio of each n-gram that a review has, once however often it has it: (N, F)."""
    return csr_matrix((ratios[rows.indices], rows.indices, rows.indptr), rows.shape)


def under(place: Place, figures: Figures[str], names: Sequence[str] = ()) -> Figures[Place]:
    """Figures that stand at a place of their own, all of them or some `names`."""

    def placed(weights: Counts) -> dict[Place, Floats]:
        found = figures(weights)
        return {(*place, name): found[name] for name in names or found}

    return placed


def by_label(truth: Ints, guess: Ints, names: Sequence[str]) -> Figures[Place]:
    """Precision, recall and F1 of each label, their plain means, and the means by the labels' shares."""
    numbers = np.arange(len(names))
    is_label, is_guess = truth[:, None] == numbers, guess[:, None] == numbers  # (N, L)
    columns = np.concatenate([is_label, is_guess, is_label & is_guess], 1).astype(np.float64)

    def figures(weights: Counts) -> dict[Place, Floats]:
        labelled, guessed, right = np.split(weights @ columns, 3, axis=1)  # (b, L)
        found: dict[Place, Floats] = {}
        for kind, values in {
            "precision": share(right, guessed),
            "recall": share(right, labelled),
            "f1": share(2 * right, labelled + guessed),
        }.items():
            found |= {("labels", name, kind): values[:, n] for n, name in enumerate(names)}
            found["averages", "macro", kind] = values.mean(1)
            found["averages", "weighted", kind] = (values * labelled).sum(1) / labelled.sum(1)
        return found

    return figures


def together(parts: Sequence[Figures[Place]]) -> Figures[Place]:
    """All parts' figures, and by how much the classifier's are above each baseline's."""

    def figures(weights: Counts) -> dict[Place, Floats]:
        found = {place: values for part in parts for place, values in part(weights).items()}
        for baseline in BASELINES:
            for name in COMPARED:
                if ("classifier", name) in found:
                    ours, theirs = found["classifier", name], found[baseline, name]
                    found["differences", baseline, name] = ours - theirs
        return found

    return figures


def tree(figures: Mapping[Place, Any]) -> dict[str, Any]:
    """Figures by their places, as branches.

    >>> tree({("a", "b"): 1, ("a", "c"): 2})
    {'a': {'b': 1, 'c': 2}}
    """
    root: dict[str, Any] = {}
    for place, figure in figures.items():
        branch = root
        for name in place[:-1]:
            branch = branch.setdefault(name, {})
        branch[place[-1]] = figure
    return root


def equal_width(values: Floats, parts: int) -> Ints:
    """The number of the part of (0, 1] that each value falls into.

    >>> equal_width(np.array([0.0, 0.5, 0.51, 1.0]), 2).tolist()
    [0, 0, 1, 1]
    """
    return part_of(values, np.arange(1, parts) / parts)


def equal_mass(values: NDArray[Any], parts: int) -> Ints:
    """The number of the part that each value falls into, of parts of as equal counts as may be: equal
    values are never parted.

    >>> equal_mass(np.array([1, 9, 2, 2]), 2).tolist()
    [0, 1, 0, 0]
    """
    edges = np.quantile(values, np.arange(1, parts) / parts, method="inverted_cdf")
    return part_of(values, np.unique(edges))


def part_of(values: NDArray[Any], ends: Sequence[float] | NDArray[Any]) -> Ints:
    """How many of the ascending `ends` each value is above."""
    found: Ints = np.searchsorted(np.asarray(ends), values)
    return found


BINNINGS = {"ece_equal_width": equal_width, "ece_equal_mass": equal_mass}


def calibration_error(gaps: Floats, bins: Ints) -> float:
    """How far the probabilities of a bin are from its share of right ones, on average over the rows:
    the expected calibration error of gaps `probability - right` (N,).

    >>> calibration_error(np.array([0.9 - 1, 0.7 - 0, 0.6 - 1]), np.array([0, 0, 1]))
    0.3333333333333333
    """
    return float(np.abs(np.bincount(bins, gaps)).sum() / len(gaps))


def surest(truth: Ints, chances: Floats) -> tuple[Floats, Bools]:
    """The probability of each row's likeliest label, (N,), and whether it is the right one."""
    return chances.max(1), chances.argmax(1) == truth


def calibration_errors(truth: Ints, chances: Mapping[str, Floats], seed: int) -> dict[Place, float]:
    """The expected calibration errors of probabilities (N, L) before and after, in bins of equal width
    and of equal mass; and below which one 95 in 100 perfectly calibrated models would stay by chance.

    The bootstrap tells nothing here: the chance in each draw adds to an error that is never below 0.
    """
    found: dict[Place, float] = {}
    for name, chance in chances.items():
        sure, right = surest(truth, chance)
        for kind, binning in BINNINGS.items():
            found["calibration", name, kind] = calibration_error(sure - right, binning(sure, BINS))
    sure, _ = surest(truth, chances["after"])
    draw = np.random.default_rng(seed)
    perfect = [sure - (draw.random(len(sure)) < sure) for _ in range(PERFECT)]
    for kind, binning in BINNINGS.items():
        bins = binning(sure, BINS)
        errors = [calibration_error(gaps, bins) for gaps in perfect]
        found["calibration", "by_chance", kind] = float(np.quantile(errors, LEVEL))
    return found


def reliability(truth: Ints, chances: Mapping[str, Floats]) -> Iterator[tuple[Any, ...]]:
    """(name, probability, accuracy, low, high, reviews) of bins of equal mass: is what is told at 0.9
    right nine times in ten?"""
    for name, chance in chances.items():
        sure, right = surest(truth, chance)
        bins = equal_mass(sure, BINS)
        for number in np.unique(bins):
            mine = bins == number
            hits, count = int(right[mine].sum()), int(mine.sum())
            yield name, float(sure[mine].mean()), hits / count, *wilson(hits, count), count


class Rows(NamedTuple):
    """What is known of the test reviews beside their labels, in their order."""

    ids: list[str]
    hashes: list[str]  # SHA-256 of the text
    negated: Bools  # (N,)
    contrasted: Bools  # (N,)
    groups: list[str | None]
    lengths: Ints  # (N,) tokens, before any is cut
    unknown: Ints  # (N,) of them those without a row in the vocabulary


def read_rows(raw: Path, ids: Path) -> Rows:
    """The test rows of data/raw.parquet and data/ids.parquet. Raises Refusal where these differ."""
    names: list[str] = []
    hashes: list[str] = []
    groups: list[str | None] = []
    found: list[tuple[bool, bool]] = []
    with open_table(raw) as file:
        columns = ["id", "split", "text", *({"group"} & set(file.schema_arrow.names))]
    for batch in read_batches(raw, columns):
        part = batch.filter(np.asarray(batch["split"]) == TEST)
        names += part["id"].to_pylist()
        groups += part["group"].to_pylist() if "group" in columns else [None] * len(part)
        for text in part["text"].to_pylist():
            hashes.append(hashlib.sha256(text.encode()).hexdigest())
            found.append((bool(NEGATION.search(text)), bool(CONTRAST.search(text))))
    same: list[str] = []
    lengths: list[int] = []
    unknown: list[int] = []
    for batch in read_batches(ids, ["id", "split", "ids"]):
        part = batch.filter(np.asarray(batch["split"]) == TEST)
        same += part["id"].to_pylist()
        for row in part["ids"]:
            tokens = np.asarray(row.values)
            lengths.append(len(tokens))
            unknown.append(int((tokens == UNK).sum()))
    if names != same:
        raise Refusal(f"{ids}: its test rows are not those of {raw}; make both anew with `dvc repro`")
    negated, contrasted = np.array(found, bool).T
    return Rows(names, hashes, negated, contrasted, groups, np.array(lengths), np.array(unknown))


def slices(rows: Rows, kept: Ints) -> Iterator[tuple[str, str, Bools]]:
    """(slice, part, its rows (N,)) of all ways in which the test reviews are told apart. `kept` is how
    many tokens of each the model was shown."""
    yield "all", "all", np.ones(len(kept), bool)
    decile = equal_mass(rows.lengths, DECILES)
    for number in np.unique(decile):
        mine = decile == number
        shortest, longest = rows.lengths[mine].min(), rows.lengths[mine].max()
        yield "length", f"{shortest} to {longest} tokens", mine
    yield "negation", "with a negation", rows.negated
    yield "negation", "without a negation", ~rows.negated
    yield "contrast", "with a contrast", rows.contrasted
    yield "contrast", "without a contrast", ~rows.contrasted
    band = part_of(rows.unknown / np.maximum(rows.lengths, 1), UNKNOWN)
    names = ["none", *(f"up to {100 * end:.0f} %" for end in UNKNOWN[1:]), f"over {100 * UNKNOWN[-1]:.0f} %"]
    for number, name in enumerate(names):
        yield "unknown words", f"{name} unknown", band == number
    yield "cut", "cut to fit", rows.lengths > kept
    yield "cut", "whole", rows.lengths <= kept
    times = Counter(rows.hashes)
    repeated = np.array([times[text] > 1 for text in rows.hashes])
    yield "repeated", "text is in test again", repeated
    yield "repeated", "text is in test once", ~repeated
    told = Counter(group for group in rows.groups if group is not None)
    common = [group for group, _ in sorted(told.items(), key=lambda item: (-item[1], item[0]))[:GROUPS]]
    for group in common:
        yield "group", group, np.array([mine == group for mine in rows.groups])
    yield "group", "other groups or none", np.array([mine not in common for mine in rows.groups])


def sliced(right: Bools, parts: Iterator[tuple[str, str, Bools]]) -> Iterator[tuple[Any, ...]]:
    """(slice, part, reviews, accuracy, low, high, difference to all) of each part that is some of the
    rows, but neither none nor, after the first, all."""
    overall = float(right.mean())
    for name, part, mine in parts:
        count, hits = int(mine.sum()), int(right[mine].sum())
        if name == "all" or 0 < count < len(right):
            yield name, part, count, hits / count, *wilson(hits, count), hits / count - overall


def roc(truth: Ints, chances: Floats, names: list[str]) -> list[tuple[str, float, float]]:
    """Points (label, false positive rate, true positive rate); of two labels the second alone."""
    points = []
    for label in [1] if len(names) == 2 else range(len(names)):
        mine = truth == label
        if mine.any() and not mine.all():
            false, true, _ = sk.roc_curve(mine, chances[:, label])
            shown = np.unique(np.linspace(0, len(false) - 1, ROC_POINTS).astype(int))
            points += [(names[label], float(false[n]), float(true[n])) for n in shown]
    return points


def confusion(truth: Ints, guess: Ints, names: list[str]) -> list[tuple[str, str, int]]:
    """(label, predicted, reviews) for every pair of labels."""
    table = sk.confusion_matrix(truth, guess, labels=np.arange(len(names)))
    return [(a, b, int(table[i, j])) for i, a in enumerate(names) for j, b in enumerate(names)]


def only_right(truth: Ints, contenders: Mapping[str, Contender]) -> dict[Place, float]:
    """How many rows the classifier alone and each baseline alone has right, and McNemar's p."""
    found: dict[Place, float] = {}
    ours = contenders["classifier"].guess == truth
    for name in BASELINES:
        theirs = contenders[name].guess == truth
        alone, beaten = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
        found["differences", name, "only_classifier_right"] = alone
        found["differences", name, "only_baseline_right"] = beaten
        found["differences", name, "mcnemar_p"] = mcnemar(alone, beaten)
    return found


def evaluate(
    truth: Ints, contenders: Mapping[str, Contender], before: Floats, names: Sequence[str], params: Params
) -> dict[str, Any]:
    """All figures, and under `intervals` the interval of each where it stands.

    `before` are the classifier's probabilities (N, L) at temperature 1.
    """
    rows, ours = len(truth), contenders["classifier"]
    chances = {"before": before, "after": ours.chances}

    def figures(areas: bool) -> Figures[Place]:
        parts = [under((name,), figures_of(truth, *c, areas)) for name, c in contenders.items()]
        for name, chance in chances.items():
            told = figures_of(truth, *contender(chance), areas=False)
            parts.append(under(("calibration", name), told, TRUSTED))
        if len(names) == 2:
            half = figures_of(truth, *contender(ours.chances), areas=False)
            parts.append(under(("at_half",), half, DECIDED))
        else:
            parts.append(by_label(truth, ours.guess, names))
        return together(parts)

    found = once(figures(areas=True), rows)
    intervals = bootstrap(figures(areas=len(names) <= RANKED), rows, params.resamples, params.seed)
    for place, value in found.items():
        if place[-1] == "accuracy" and place[0] != "differences":
            intervals[place] = wilson(round(value * rows), rows)
    found |= calibration_errors(truth, chances, params.seed) | only_right(truth, contenders)
    if len(names) > 2:
        supports = np.bincount(truth, minlength=len(names)).tolist()
        found |= {("labels", name, "support"): n for name, n in zip(names, supports, strict=True)}
    shown = {place: interval._asdict() for place, interval in intervals.items() if place in found}
    return tree(found) | {"intervals": tree(shown)}


def main(
    params: Path,
    tensors: Path,
    classifier: Path,
    ids: Path,
    raw: Path,
    labels: Path,
    predictions: Path,
    metrics: Path,
    roc_csv: Path,
    confusion_csv: Path,
    reliability_csv: Path,
    slices_csv: Path,
) -> None:
    choices = read_params(params, "evaluation", Params)
    names: list[str] = read_json(labels)["labels"]
    prepare(0, choices.threads, "cpu")
    train, test = read_split(tensors, TRAIN), read_split(tensors, TEST)
    rows = read_rows(raw, ids)
    model = load(classifier)
    logits = score(model, test)
    before, after = (probabilities(logits, t).numpy() for t in (1.0, model.about.temperature))
    truth = test.labels.numpy().astype(np.int64)
    words = model.embedding.num_embeddings
    ours = contender(after, model.about.threshold)
    contenders = {
        "classifier": ours,
        "naive_bayes": contender(naive_bayes(train, test, words)),
        "nbsvm": contender(nbsvm(train, test, words, choices.seed)),
        "majority": contender(majority(train.labels.numpy(), len(names), len(truth))),
    }
    write_json(metrics, evaluate(truth, contenders, before, names, choices))
    write_csv(roc_csv, ["label", "false_positive_rate", "true_positive_rate"], roc(truth, after, names))
    write_csv(confusion_csv, ["label", "predicted", "reviews"], confusion(truth, ours.guess, names))
    write_csv(
        reliability_csv,
        ["calibration", "probability", "accuracy", "low", "high", "reviews"],
        reliability(truth, {"before": before, "after": after}),
    )
    write_csv(
        slices_csv,
        ["slice", "part", "reviews", "accuracy", "low", "high", "difference"],
        sliced(ours.guess == truth, slices(rows, test.lengths.numpy())),
    )
    table = {
        "id": rows.ids,
        "label": [names[n] for n in truth],
        "predicted": [names[n] for n in ours.guess],
        "probability": after[np.arange(len(truth)), ours.guess],  # of the predicted label
        **{f"probability_{name}": after[:, n] for n, name in enumerate(names)},
        "text_hash": rows.hashes,
    }
    told = pa.table(table)
    with table_writer(predictions, told.schema) as writer:
        writer.write_table(told)


if __name__ == "__main__":
    run(main)
