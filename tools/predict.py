"""Predicts the label of any text, and explains the prediction.

    python -m tools.predict "A lovely film, but too long."
    python -m tools.predict < lines.txt
    python -m tools.predict --json --rev my-experiment "A lovely film."
    python -m tools.predict --abstain 0.9 "A lovely film, but too long."
    python -m tools.predict --file reviews.csv --column text --output scored.csv

Each text, or each line of standard input, gets a label, its probability, and the contributions of its words
and n-grams to the logit. The model is additive, so the bias and all contributions sum to the logit:

    logit = bias + the sum of the contributions          probability = sigmoid(logit / temperature)

The logit is that of the predicted label: a positive contribution is evidence for it, a negative one against
it. With more than two labels the probability is a softmax. --of names another label. A terminal shows the
words in green and red, unless NO_COLOR is set.

--file reads .csv, .tsv, .jsonl or .parquet of any length, and writes --output in any of these formats: the
same columns, and the columns label and probability (of that label). If the table has a column label already
(--label names another), it is kept as the right answer: the new columns are predicted_label and
predicted_probability, and the accuracy is printed.

--abstain P gives no label to a text whose probability is below P: "abstained", null in JSON, an empty cell in
a table. metrics/evaluation_coverage.csv has the share of test reviews that are answered, and the accuracy on
them.

--rev uses the model of a commit, a branch, a tag or an experiment, without checking it out. By default the
model is that of the last run in this folder.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from stages.lib import rows
from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.intervals import wilson
from stages.lib.progress import progress
from stages.lib.startup import block_pandas
from stages.lib.tables import open_table
from stages.lib.terminal import printable
from stages.lib.text import readable
from tools.revisions import find
from tools.writers import format_of, writer

# The model's libraries take a second to import: errors in the command line are reported before.
if TYPE_CHECKING:
    from stages.predictor import Contribution, Explanation, Predictor

FILES = ("tokeniser.json", "vocabulary.parquet", "ensemble.safetensors")  # in data/
ADDED = ("label", "probability")  # columns
ABSTAINED = "abstained"
ROWS, CHARACTERS = 4096, 1 << 22  # reviews, and their characters, scored at a time
CHUNK = 1 << 16  # bytes of standard input
STRONGEST = 8  # contributions that are printed
REPEATED = 400  # tokens; a longer text is not printed again in colour

GREEN, RED, BOLD, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"


class Answer(NamedTuple):
    """The prediction for a text."""

    label: str  # the predicted one
    probabilities: dict[str, float]  # of every label
    explanation: "Explanation | None"
    abstained: bool = False  # whether its probability is below --abstain

    @property
    def shown(self) -> str:
        """What is printed as the label."""
        return ABSTAINED if self.abstained else self.label


class Batch(NamedTuple):
    """Rows of a table that are scored together."""

    rows: list[rows.Row]
    texts: list[str]


def load_predictor(revision: str | None) -> "Predictor":
    """The predictor of a revision, or of the last run in this folder.

    Raises Refusal if there is no model, or if its files are of different runs.
    """
    paths = [Path("data") / name for name in FILES]
    if revision is not None:
        (run,) = find([revision])
        paths = [run.file(str(path)) for path in paths]
    elif missing := [path for path in paths if not path.is_file()]:
        raise Refusal(f"{missing[0]}: no such file; run the pipeline first: make repro, or dvc repro")
    from stages.predictor import Predictor

    try:
        return Predictor.load(*paths)
    except Refusal as refusal:  # names a file, which in a cache is a checksum
        raise Refusal(f"{revision}: {refusal}" if revision else str(refusal)) from None


def answers(
    predictor: "Predictor", texts: Sequence[str], of: str | None, explain: bool, abstain: float = 0.0
) -> Iterator[Answer]:
    """The prediction for each text, explained in terms of the label `of` if `explain`."""
    probabilities = predictor.probabilities(texts)
    predicted = predictor.model.predicted(probabilities)
    number = None if of is None else predictor.labels.index(of)
    explanations = predictor.explain_all(texts, number) if explain else [None] * len(texts)
    for label, row, explanation in zip(predicted.tolist(), probabilities.tolist(), explanations, strict=True):
        by_label = dict(zip(predictor.labels, row, strict=True))
        yield Answer(predictor.labels[label], by_label, explanation, row[label] < abstain)


def as_json(text: str, answer: Answer, count: int | None, escaped: bool = False) -> str:
    """An answer as one line of JSON, in ASCII if `escaped`, with the `count` strongest contributions."""
    fields: dict[str, Any] = {
        "text": readable(text),
        "label": None if answer.abstained else answer.label,
        "probability": answer.probabilities[answer.label],
        "probabilities": answer.probabilities,
    }
    if explanation := answer.explanation:
        fields |= {"of": explanation.label, "logit": explanation.logit, "bias": explanation.bias}
        fields |= {
            "tokens": len(explanation.tokens),
            "known": explanation.known,
            "dropped": explanation.dropped,
        }
        if explanation.contributions is not None:
            shown = explanation.contributions[:count]
            fields["contributions"] = [contribution._asdict() for contribution in shown]
            fields["others"] = sum(
                (c.value for c in explanation.contributions[len(shown) :]), explanation.others
            )
    return json.dumps(fields, ensure_ascii=escaped, allow_nan=False)


def as_line(answer: Answer, count: int | None) -> str:
    """An answer as one line of three columns: label, probability, strongest contributions."""
    cells = [printable(answer.shown), f"{answer.probabilities[answer.label]:.4f}"]
    if answer.explanation:
        shown = strongest(answer.explanation, count)
        parts = [f"{contribution.value:+.3f} {printable(contribution.text)}" for contribution in shown]
        if not answer.explanation.known:
            parts.append(f"({words_known(answer.explanation)})")
        cells.append("  ".join(parts))
    return "\t".join(cells)


def words_known(explanation: "Explanation") -> str:
    """How many of the text's words are in the vocabulary."""
    return f"{explanation.known:,} of {len(explanation.tokens):,} words known"


def strongest(explanation: "Explanation", count: int | None) -> list["Contribution"]:
    """The contributions that are printed."""
    return (explanation.contributions or [])[: STRONGEST if count is None else count]


def as_text(answer: Answer, count: int | None, colour: bool) -> str:
    """An answer for a terminal: the text in the colours of its contributions, and the strongest of these."""
    probability = f"{answer.probabilities[answer.label]:.4f}"
    if answer.abstained:
        probability = f"({printable(answer.label)} {probability})"
    lines = [painted(f"{printable(answer.shown)} {probability}", BOLD, colour)]
    if explanation := answer.explanation:
        every = explanation.contributions
        if colour and every and len(explanation.tokens) <= REPEATED:
            lines.append(coloured(explanation))
        shown = strongest(explanation, count)
        rest = (contribution.value for contribution in (every or [])[len(shown) :])
        others = sum(rest, explanation.others)
        lines += [
            f"{painted(f'{one.value:+.3f}', GREEN if one.value > 0 else RED, colour)}  {printable(one.text)}"
            for one in shown
        ]
        no_contributions = "no contributions: the classifier takes a maximum"
        lines.append(no_contributions if every is None else f"{others:+.3f}  all others")
        lines.append(f"{explanation.bias:+.3f}  bias")
        lines.append(f"{explanation.logit:+.3f}  logit of {printable(explanation.label)}")
        if explanation.known < len(explanation.tokens):
            lines.append(words_known(explanation))
        if explanation.dropped:
            lines.append(f"{explanation.dropped:,} tokens were cut off")
    return "\n  ".join(lines) + "\n"


def coloured(explanation: "Explanation") -> str:
    """The tokens in the colour of their contributions. That of an n-gram is spread evenly over its tokens."""
    values = [0.0] * len(explanation.tokens)
    for contribution in explanation.contributions or []:
        for position in range(contribution.start, contribution.end):
            values[position] += contribution.value / (contribution.end - contribution.start)
    highest = max(map(abs, values), default=0)
    shown = []
    for token, value in zip(explanation.tokens, values, strict=True):
        code = (GREEN if value > 0 else RED) + (BOLD if abs(value) > highest / 2 else "")
        shown.append(painted(printable(token), code, abs(value) > highest / 10))
    return " ".join(shown)


def painted(text: str, code: str, colour: bool) -> str:
    """Text with a terminal's colour code, if `colour`."""
    return f"{code}{text}{PLAIN}" if colour else text


def lines_of(stream: IO[bytes]) -> Iterator[list[str]]:
    """The lines of a stream in batches of those that have arrived, so that each is answered at once.

    Raises Refusal on a line that is not UTF-8.
    """
    number = 0
    for lines in chunks_of(stream):
        texts = []
        for line in lines:
            number += 1
            try:
                texts.append(line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise Refusal(
                    f"standard input, line {number}: not UTF-8 (byte {line[error.start]:#04x}); "
                    "expected UTF-8 text"
                ) from None
        yield texts


def chunks_of(stream: IO[bytes]) -> Iterator[list[bytes]]:
    """The complete lines of a stream that have arrived."""
    incomplete: list[bytes] = []
    while chunk := stream.read1(CHUNK):  # type: ignore[attr-defined]
        incomplete.append(chunk)
        if b"\n" in chunk:
            *complete, rest = b"".join(incomplete).split(b"\n")
            incomplete = [rest] if rest else []
            yield complete
    if incomplete:
        yield [b"".join(incomplete)]


def batches_of(table: Iterable[rows.Row], column: str, where: str) -> Iterator[Batch]:
    """Rows and their texts in batches. Raises Refusal if a row has no text."""
    batch: list[rows.Row] = []
    texts: list[str] = []
    characters = 0
    for number, row in enumerate(table, 1):
        rows.require([column], row, where if number == 1 else f"{where}, row {number}")
        value = row[column]
        if isinstance(value, bytes | list | dict):
            raise Refusal(f"{where}, row {number}: {column!r} is {value!r:.40}, expected text")
        text = "" if value is None or value != value else str(value)
        batch.append(row)
        texts.append(text)
        characters += len(text)
        if len(batch) == ROWS or characters > CHARACTERS:
            yield Batch(batch, texts)
            batch, texts, characters = [], [], 0
    if batch:
        yield Batch(batch, texts)


class Tally:
    """How many predictions for rows with a known label are right."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.rows = self.answered = self.right = 0
        self.unknown: dict[str, int] = {}  # labels that the model does not have, and how often they occur

    def add(self, label: object, predicted: object) -> None:
        """Counts a row; `predicted` is None if the model abstained. A row without a label is not counted."""
        name = "" if label is None else str(label)
        if name in self.labels:
            self.rows += 1
            self.answered += predicted is not None
            self.right += predicted == name
        elif name:
            self.unknown[name] = self.unknown.get(name, 0) + 1

    def lines(self) -> Iterator[str]:
        """The accuracy with its interval, and what was not counted."""
        if self.answered:
            low, high = (100 * end for end in wilson(self.right, self.answered))
            yield (
                f"accuracy {100 * self.right / self.answered:.1f} % ({low:.1f} to {high:.1f}) "
                f"on {self.answered:,} rows with a label"
            )
        if self.answered < self.rows:
            yield f"abstained on {self.rows - self.answered:,} of {self.rows:,} rows with a label"
        if self.unknown:
            name = max(self.unknown, key=lambda name: (self.unknown[name], name))
            count = sum(self.unknown.values())
            other = f"{count:,} with another label, such as {name[:40]!r}"
            yield f"not counted: {other}; the model has {self.labels}"


def scored(
    predictor: "Predictor", batches: Iterable[Batch], names: Sequence[str], abstain: float
) -> Iterator[list[rows.Row]]:
    """Rows with their label, None below the probability `abstain`, and its probability in columns of these
    names."""
    from stages.lib.parallel import map_ahead

    def score(batch: Batch) -> list[rows.Row]:
        probabilities = predictor.probabilities(batch.texts)
        predicted = predictor.model.predicted(probabilities).tolist()
        for row, label, values in zip(batch.rows, predicted, probabilities.tolist(), strict=True):
            row[names[0]] = predictor.labels[label] if values[label] >= abstain else None
            row[names[1]] = values[label]
        return batch.rows

    yield from map_ahead(score, batches)


def label_column(options: argparse.Namespace, row: rows.Row) -> str | None:
    """The column with the right labels, if the table, with this first row, has one. Raises Refusal if it
    has not the one that was named."""
    if options.label is not None:
        rows.require([options.label], row, str(options.file))
        return str(options.label)
    return "label" if "label" in row and options.column != "label" else None


def columns_to_add(options: argparse.Namespace, row: rows.Row) -> list[str]:
    """The names of the added columns. Raises Refusal if the table has one already."""
    prefix = options.prefix
    if prefix is None:
        prefix = "predicted_" if label_column(options, row) is not None else ""
    names = [f"{prefix}{name}" for name in ADDED]
    if existing := [name for name in names if name in row]:
        raise Refusal(
            f"{options.file}: has a column {existing[0]!r} already; with --prefix new_ it is kept, and the "
            f"added one is new_{existing[0].removeprefix(prefix)}"
        )
    return names


def score_file(load: Callable[[], "Predictor"], options: argparse.Namespace) -> None:
    """Writes the rows of a file with the label and the probability of the text in a column, and prints the
    accuracy if the file has labels.

    Raises Refusal if the file has no such column, or has one of the added columns already.
    """
    import pyarrow as pa

    file, column, where = options.file, options.column, str(options.file)
    with file.open("rb") as opened, progress("predict", "reviews") as bar:
        batches = batches_of(rows.read(opened, file.name, where), column, where)
        first = next(batches, None)
        if first is None:
            raise Refusal(f"{file}: found a header and no reviews")
        names, labels = columns_to_add(options, first.rows[0]), label_column(options, first.rows[0])
        schema = None
        if format_of(file, "--file") == "parquet":
            with open_table(file) as table:
                schema = table.schema_arrow
            for name, kind in zip(names, (pa.string(), pa.float64()), strict=True):
                schema = schema.append(pa.field(name, kind))
        predictor = load()
        tally = Tally(predictor.labels)
        with writer(options.output, schema) as write:
            for batch in scored(predictor, chain([first], batches), names, options.abstain):
                for row in batch:
                    tally.add(None if labels is None else row.get(labels), row[names[0]])
                write(batch)
                bar.update(len(batch))
    for line in tally.lines():
        print(line)


def answer_all(predictor: "Predictor", options: argparse.Namespace) -> None:
    """Prints an answer to each text, or to each line of standard input."""
    if options.of is not None and options.of not in predictor.labels:
        raise Refusal(f"--of: found {options.of!r}, expected a label: {', '.join(predictor.labels)}")
    terminal = sys.stdout.isatty()
    in_utf8 = sys.stdout.encoding.lower() in ("utf-8", "utf8")
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if not options.text and sys.stdin.isatty():
        print("one review per line; Ctrl-D to end", file=sys.stderr)
    count = options.contributions
    for texts in [options.text] if options.text else lines_of(sys.stdin.buffer):
        answered = answers(predictor, texts, options.of, count != 0, options.abstain)
        for text, answer in zip(texts, answered, strict=True):
            if options.json:
                print(as_json(text, answer, count, not in_utf8))
            elif terminal:
                print(as_text(answer, count, colour))
            else:
                print(as_line(answer, count))
        sys.stdout.flush()


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        "predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", nargs="*", help="a review; without any, each line of standard input is one")
    parser.add_argument("--file", type=Path, help="a table of reviews")
    parser.add_argument("--column", help="the column of the table with the reviews (default: text)")
    parser.add_argument("--output", type=Path, help="the table with labels to write")
    parser.add_argument("--label", help="the column with the right labels, to score (default: label)")
    parser.add_argument("--prefix", help="of the added columns (default: none, or predicted_ beside labels)")
    parser.add_argument(
        "--abstain", type=float, default=0.0, metavar="P", help="give no label if its probability is below P"
    )
    parser.add_argument("--rev", help="whose model: a commit, branch, tag or experiment")
    parser.add_argument("--json", action="store_true", help="one line of JSON per review")
    parser.add_argument(
        "--contributions", type=int, metavar="N", help="print the N strongest; 0: none, and faster"
    )
    parser.add_argument("--of", metavar="LABEL", help="the label whose logit is explained")
    return parser


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Raises Refusal if they contradict each other."""
    options = build_parser().parse_args(arguments)
    if options.contributions is not None and options.contributions < 0:
        raise Refusal(f"--contributions: found {options.contributions}, expected 0 or more")
    if not 0 <= options.abstain <= 1:
        raise Refusal(f"--abstain: found {options.abstain:g}, expected a probability from 0 to 1")
    if options.file is None:
        of_tables = ("column", "output", "prefix", "label")
        if extra := [name for name in of_tables if getattr(options, name) is not None]:
            raise Refusal(f"--{extra[0]}: needs --file")
        return options
    if extra := [name for name in ("text", "json", "contributions", "of") if getattr(options, name)]:
        raise Refusal(f"--file: cannot be combined with {extra[0]}; leave out one of them")
    format_of(options.file, "--file")
    if options.output is None:
        raise Refusal("--output: missing; name the file to write, such as scored.csv")
    format_of(options.output, "--output")
    if options.output.resolve() == options.file.resolve():
        raise Refusal(f"--output: {options.output} is the input file; name another")
    options.column = "text" if options.column is None else options.column
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal if the command line, the model or the reviews are invalid."""
    options = parse(arguments)
    if options.file is None:
        answer_all(load_predictor(options.rev), options)
    else:
        score_file(lambda: load_predictor(options.rev), options)


if __name__ == "__main__":
    block_pandas()
    with exit_on_refusal("predict"):
        main()
