"""Robustness: a change that keeps the meaning should keep the prediction.

The test reviews are altered in ways that a human reader hardly notices, and scored again: letters are
mistyped, words shuffled, the text is cut or written in upper case. A model without word order gives the
same logits for shuffled words; its n-grams do not. Then minimal pairs are scored, two short texts that
differ in one thing, such as a negation (`stages.lib.pairs`). A pair counts as correct only if both of its
texts are, so a model that always predicts the same label scores zero on negation and contrast.

    Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList"

    python -m stages.robustness --help
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages import TEST
from stages.lib.arrays import Float64, Int64
from stages.lib.command import run
from stages.lib.files import write_json
from stages.lib.intervals import paired, wilson
from stages.lib.pairs import Pair, metrics_by_kind, read_pairs
from stages.lib.params import Section, read_params
from stages.lib.reviews import read_split
from stages.lib.tables import batch_of, read_batches, table_writer
from stages.lib.typos import mistyped
from stages.predictor import Predictor, as_lists, lengths_of

UNALTERED = "unaltered"

ALTERED = pa.schema(
    [(name, pa.string()) for name in ("id", "alteration", "label", "predicted")]
    + [("probability", pa.float64())]  # of the predicted label
)
ANSWERS = pa.schema(
    [(name, pa.string()) for name in ("id", "kind", "text_a", "text_b", "label_a", "label_b")]
    + [("predicted_a", pa.string()), ("predicted_b", pa.string())]
    + [("probability_a", pa.float64()), ("probability_b", pa.float64())]  # of label_a, of label_b
    + [("right", pa.bool_())]
)

Part = TypeVar("Part")
Percent = Annotated[int, Field(ge=1, le=100)]


class Params(Section):
    typos: list[Percent]  # letters that are mistyped: how many are too many?
    kept: int = Field(ge=1)  # tokens kept of a review: is the verdict at its beginning or at its end?
    pairs: list[str]  # files in data/pairs
    seed: int = Field(ge=0, lt=2**63)  # of typing errors and shuffling


def shuffled(lists: pa.ListArray, generator: np.random.Generator) -> pa.ListArray:
    """Each list's values in random order."""
    review = np.repeat(np.arange(len(lists)), lengths_of(lists))
    order = np.argsort(review + generator.random(len(review)), kind="stable")
    return as_lists(lists.flatten().take(pa.array(order)), lengths_of(lists))


def ends_of(lists: pa.ListArray, kept: int, keep: str) -> pa.ListArray:
    """The first (`head`) or last (`tail`) `kept` values of each list.

    >>> ends_of(pa.array([[2, 3, 4], [5]]), 2, "tail").to_pylist()
    [[3, 4], [5]]
    """
    lengths = lengths_of(lists)
    remaining = np.minimum(lengths, kept)
    starts = np.asarray(lists.offsets)[:-1] + (lengths - remaining if keep == "tail" else 0)
    bounds = (pa.array(bound, pa.int32()) for bound in (starts, remaining))
    return as_lists(pa.ListViewArray.from_arrays(*bounds, lists.values).flatten(), remaining)


def alterations_of_words(params: Params) -> dict[str, Callable[[pa.ListArray], pa.ListArray]]:
    """Functions of lists of tokens. `shuffled` draws again at every call."""
    generator = np.random.default_rng([params.seed, 0])
    return {
        "shuffled": lambda lists: shuffled(lists, generator),
        f"first_{params.kept}": lambda lists: ends_of(lists, params.kept, "head"),
        f"last_{params.kept}": lambda lists: ends_of(lists, params.kept, "tail"),
    }


def alterations_of_text(params: Params) -> dict[str, Callable[[list[str]], list[str]]]:
    """Functions of texts. Those with typing errors draw again at every call."""

    def typos(percent: int) -> Callable[[list[str]], list[str]]:
        generator = np.random.default_rng([params.seed, percent])
        return lambda texts: mistyped(texts, percent, generator)

    return {
        **{f"typos_{percent}": typos(percent) for percent in params.typos},
        "upper_case": lambda texts: [text.upper() for text in texts],
    }


def score_altered(
    batches: Iterator[Part],
    alterations: dict[str, Callable[[Part], Part]],
    logits: Callable[[Part], Float64],
) -> dict[str, Float64]:
    """The logits (N, O) of all batches under each alteration."""
    parts: dict[str, list[Float64]] = {name: [] for name in alterations}
    for batch in batches:
        for name, alter in alterations.items():
            parts[name].append(logits(alter(batch)))
    return {name: np.concatenate(part) for name, part in parts.items()}


def column_of_test(path: Path, column: str, numbered: Sequence[str] = ()) -> Iterator[pa.Array]:
    """A column of the test reviews, batch by batch. Columns in `numbered` are dictionary arrays."""
    for batch in read_batches(path, ["split", column], numbered):
        if len(part := batch.filter(np.asarray(batch["split"]) == TEST)):
            yield part[column]


def effect(labels: Int64, before: Int64, after: Int64) -> dict[str, float]:
    """What an alteration does to the accuracy: labels and predictions (N,) before and after."""
    n, was_right, is_right = len(labels), before == labels, after == labels
    low, high = wilson(int(is_right.sum()), n)
    lowest, highest = paired(int((is_right & ~was_right).sum()), int((was_right & ~is_right).sum()), n)
    return {
        "accuracy": float(is_right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "difference": float(is_right.mean() - was_right.mean()),
        "difference_low": lowest,
        "difference_high": highest,
        "changed": float((before != after).mean()),
    }


def answer(pairs: Sequence[Pair], predictor: Predictor) -> pa.Table:
    """The predictions for pairs with known labels: one row of `ANSWERS` per pair.

    A pair is right if both texts are classified correctly and, for intensity, the probability rises.
    """
    number = {name: n for n, name in enumerate(predictor.labels)}
    sides = []
    for text, label in (("text_a", "label_a"), ("text_b", "label_b")):
        probabilities = predictor.probabilities([getattr(pair, text) for pair in pairs])
        labels = np.array([number[getattr(pair, label)] for pair in pairs], np.int64)
        predicted = predictor.model.predicted(probabilities)
        sides.append((predicted, probabilities[np.arange(len(pairs)), labels], predicted == labels))
    (predicted_a, own_a, right_a), (predicted_b, own_b, right_b) = sides
    not_stronger = np.array([pair.kind == "intensity" for pair in pairs], np.bool_) & ~(own_b > own_a)
    columns = [
        *(zip(*pairs, strict=True) if pairs else [[]] * len(Pair._fields)),
        *([predictor.labels[n] for n in predicted] for predicted in (predicted_a, predicted_b)),
        *(own_a, own_b, right_a & right_b & ~not_stronger),
    ]
    return pa.Table.from_batches([batch_of(columns, ANSWERS)])


def write_altered(
    path: Path, ids: Sequence[str], labels: Int64, logits: dict[str, Float64], predictor: Predictor
) -> dict[str, Int64]:
    """Writes data/robustness.parquet; returns the predictions (N,) under each alteration."""
    names = np.array(predictor.labels)
    predictions = {}
    with table_writer(path, ALTERED) as writer:
        for alteration, values in logits.items():
            probabilities = predictor.model.probabilities(values)
            predictions[alteration] = predicted = predictor.model.predicted(probabilities)
            own = probabilities[np.arange(len(predicted)), predicted]
            columns = [ids, [alteration] * len(ids), names[labels], names[predicted], own]
            writer.write_batch(batch_of(columns, ALTERED))
    return predictions


def main(
    params: Path,
    raw: Path,
    tokeniser: Path,
    vocabulary: Path,
    tokens: Path,
    tensors: Path,
    ensemble: Path,
    pairs: Path,
    robustness: Path,
    robustness_pairs: Path,
    metrics: Path,
) -> None:
    choices = read_params(params, "robustness", Params)
    all_pairs = read_pairs(pairs, choices.pairs)
    predictor = Predictor.load(tokeniser, vocabulary, ensemble)
    test = read_split(tensors, TEST)
    texts = (column.to_pylist() for column in column_of_test(raw, "text"))
    words = column_of_test(tokens, "tokens", numbered=["tokens.list.element"])
    logits = {
        UNALTERED: predictor.model.logits(test.documents),
        **score_altered(
            words, alterations_of_words(choices), lambda part: predictor.score(predictor.encode_tokens(part))
        ),
        **score_altered(texts, alterations_of_text(choices), predictor.logits),
    }
    labels = test.labels.astype(np.int64)
    names = [name for column in column_of_test(tokens, "id") for name in column.to_pylist()]
    predictions = write_altered(robustness, names, labels, logits, predictor)
    known = [pair for pair in all_pairs if {pair.label_a, pair.label_b} <= set(predictor.labels)]
    answers = answer(known, predictor)
    with table_writer(robustness_pairs, ANSWERS) as writer:
        writer.write_table(answers)
    before = predictions.pop(UNALTERED)
    low, high = wilson(int((before == labels).sum()), len(labels))
    accuracy = {"accuracy": float((before == labels).mean()), "accuracy_low": low, "accuracy_high": high}
    write_json(
        metrics,
        {
            UNALTERED: accuracy,
            "altered": {name: effect(labels, before, after) for name, after in predictions.items()},
            "pairs": metrics_by_kind(answers),
            "pairs_left_out": len(all_pairs) - len(known),  # whose labels the corpus does not have
        },
    )


if __name__ == "__main__":
    run(main)
