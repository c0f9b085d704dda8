"""Says what the classifier thinks of any text, and why.

    python -m tools.predict "A lovely film, but too long."
    python -m tools.predict < lines.txt
    python -m tools.predict --json --rev my-experiment "A lovely film."
    python -m tools.predict --file reviews.csv --column text --output scored.csv

Each text, or each line of standard input, gets a label, its probability, and what its words and
n-grams add to the logit. The model is additive up to there, so that the bias and the shares sum to it:

    logit = bias + the sum of the shares          probability = sigmoid(logit / temperature)

Of two labels the logit is the second one's: a positive share speaks for it, a negative one for the
first. Of more it is that of the predicted label, and the probability is a softmax. --of names another
label. A terminal shows the words in green and red, unless NO_COLOR is set.

--file reads .csv, .tsv, .jsonl or .parquet of any length, and writes --output, of any of these: the
same columns, and label and probability (of that label).

--rev takes the model from a commit, a branch, a tag or an experiment, without checking it out; without
it the model is that of the last run here.
"""

import argparse
import gc
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain as one_after_the_other
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from stages import UNK
from stages.lib import rows
from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.progress import progress
from stages.lib.startup import block_pandas
from stages.lib.tables import open_table
from tools.revisions import find
from tools.writers import format_of, writer

# torch takes two seconds to import: what is wrong with a command is told before.
if TYPE_CHECKING:
    from torch import Tensor

    from stages.robustness import Chain

ARTEFACTS = ("tokeniser.json", "vocabulary.parquet", "classifier.safetensors", "labels.json")
ADDED = ("label", "probability")  # columns
ROWS, LETTERS = 4096, 1 << 22  # reviews scored at a time, and letters: some reviews are books
CHUNK = 1 << 16  # bytes of standard input
STRONGEST = 8  # shares that people are shown
REPEATED = 400  # words of a text that are shown again in their colours

GREEN, RED, BOLD, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"


class Span(NamedTuple):
    """What a word or an n-gram adds to the logit."""

    text: str
    start: int  # its first token
    end: int  # the one after its last
    share: float


class Answer(NamedTuple):
    """What the classifier thinks of a text."""

    label: str
    chances: dict[str, float]  # of every label
    reason: "Reason | None"


class Reason(NamedTuple):
    """Why it does."""

    of: str  # the label whose logit it is
    logit: float
    bias: float
    spans: list[Span] | None  # the strongest first; None where the classifier has no shares
    tokens: list[str]  # that it was shown
    known: int  # how many of them are in its vocabulary
    unread: int  # tokens of a longer text that were cut off


class Batch(NamedTuple):
    """Rows of a table that are scored together."""

    rows: list[rows.Row]
    texts: list[str]


@contextmanager
def uncollected() -> Iterator[None]:
    """A block without garbage collection, whose objects are never looked through later: torch makes so many
    that it would take a third of its import, and as long again at the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def chain_of(revision: str | None) -> "Chain":
    """A text's way to its probability by the model of a revision, or of the last run here.

    Raises Refusal where there is no model, or its files are not of one run.
    """
    paths = [Path("data") / name for name in ARTEFACTS]
    if revision is not None:
        (found,) = find([revision])
        paths = [found.file(str(path)) for path in paths]
    elif missing := [path for path in paths if not path.is_file()]:
        raise Refusal(f"{missing[0]}: no such file; run the pipeline first: make repro, or dvc repro")
    with uncollected():
        from stages.robustness import Chain

        try:
            return Chain.load(*paths)
        except Refusal as refusal:  # which names files, and in a cache these are but checksums
            raise Refusal(f"{revision}: {refusal}" if revision else str(refusal)) from None


def judged(chain: "Chain", logits: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Logits (N, 1 or L) as probabilities (N, L) and label numbers (N,)."""
    from stages.classifier import decide, probabilities

    chances = probabilities(logits, chain.model.about.temperature)
    return chances, decide(chances, chain.model.about.threshold)


def answers(chain: "Chain", texts: Sequence[str], of: str | None, reasons: bool) -> Iterator[Answer]:
    """What the classifier thinks of each text, and with `reasons` why, in terms of the label `of`."""
    logits = chain.logits(texts)
    chances, guesses = (found.tolist() for found in judged(chain, logits))
    two = len(chain.labels) == 2
    for text, logit, chance, guess in zip(texts, logits.tolist(), chances, guesses, strict=True):
        number = chain.labels.index(of) if of is not None else 1 if two else guess
        yield Answer(
            chain.labels[guess],
            dict(zip(chain.labels, chance, strict=True)),
            reason(chain, text, logit, number) if reasons else None,
        )


def reason(chain: "Chain", text: str, logits: Sequence[float], label: int) -> Reason:
    """How a text's logits, (1 or L,), come about, seen from a label's number."""
    import numpy as np

    from stages.tensors import rectangle

    # Two labels have one logit between them, the second's; the first's is its negative.
    column, sign = (label, 1) if len(logits) > 1 else (0, 2 * label - 1)
    every, read = chain.tokens([text])[0], chain.ids([text])
    ids = read.ids[0, : int(read.lengths[0])]  # (T,)
    about = chain.model.about
    places, _ = rectangle(
        np.arange(len(every), dtype=np.int32), np.array([len(every)], np.int32), len(ids), about.keep
    )
    tokens = [every[place] for place in places[0]]
    between = " " if chain.tokeniser.by_word else ""
    sums: dict[tuple[int, int], float] = defaultdict(float)
    try:
        for start, end, share in chain.model.shares(ids):
            sums[start, end] += sign * share[column].item()
    except ValueError:  # pooled by maximum
        found = None
    else:
        found = [Span(between.join(tokens[a:b]), a, b, share) for (a, b), share in sums.items()]
        found.sort(key=lambda span: (-abs(span.share), span.start, span.end))
    return Reason(
        of=chain.labels[label],
        logit=sign * logits[column],
        bias=sign * float(chain.model.bias()[column]),
        spans=found,
        tokens=tokens,
        known=int((ids != UNK).sum()),
        unread=len(every) - len(tokens),
    )


def as_json(text: str, answer: Answer, strongest: int | None) -> str:
    """An answer as one line of JSON."""
    told: dict[str, Any] = {
        "text": rows.readable(text),
        "label": answer.label,
        "probability": answer.chances[answer.label],
        "probabilities": answer.chances,
    }
    if why := answer.reason:
        told |= {"of": why.of, "logit": why.logit, "bias": why.bias}
        told |= {"tokens": len(why.tokens), "known": why.known, "unread": why.unread}
        if why.spans is not None:
            told["shares"] = [span._asdict() for span in why.spans[:strongest]]
            told["others"] = sum((span.share for span in why.spans[len(told["shares"]) :]), 0.0)
    return json.dumps(told, ensure_ascii=False, allow_nan=False)


def as_line(answer: Answer, strongest: int | None) -> str:
    """An answer as one line of three columns: label, probability, the strongest shares."""
    cells = [answer.label, f"{answer.chances[answer.label]:.4f}"]
    if answer.reason:
        cells.append("  ".join(f"{span.share:+.3f} {span.text}" for span in strong(answer.reason, strongest)))
    return "\t".join(cells)


def strong(why: Reason, strongest: int | None) -> list[Span]:
    """The shares that people are shown."""
    return (why.spans or [])[: STRONGEST if strongest is None else strongest]


def as_text(answer: Answer, strongest: int | None, colour: bool) -> str:
    """An answer for a terminal: the text in the colours of its shares, and the strongest of these."""
    lines = [painted(f"{answer.label} {answer.chances[answer.label]:.4f}", BOLD, colour)]
    if why := answer.reason:
        if colour and why.spans and len(why.tokens) <= REPEATED:
            lines.append(coloured(why))
        told = strong(why, strongest)
        others = sum(span.share for span in why.spans or []) - sum(span.share for span in told)
        lines += [
            f"{painted(f'{span.share:+.3f}', GREEN if span.share > 0 else RED, colour)}  {span.text}"
            for span in told
        ]
        lines.append(
            f"{others:+.3f}  all others" if why.spans is not None else "no shares: it pools by maximum"
        )
        lines.append(f"{why.bias:+.3f}  bias")
        lines.append(f"{why.logit:+.3f}  logit of {why.of}")
        if not why.known:
            lines.append("it knows no word of this")
        if why.unread:
            lines.append(f"{why.unread:,} tokens were cut off and not read")
    return "\n  ".join(lines) + "\n"


def coloured(why: Reason) -> str:
    """The tokens in the colour of what they add, an n-gram's share dealt out evenly among its own."""
    each = [0.0] * len(why.tokens)
    for span in why.spans or []:
        for place in range(span.start, span.end):
            each[place] += span.share / (span.end - span.start)
    most = max(map(abs, each), default=0)
    shown = []
    for token, share in zip(why.tokens, each, strict=True):
        code = (GREEN if share > 0 else RED) + (BOLD if abs(share) > most / 2 else "")
        shown.append(painted(token, code, abs(share) > most / 10))
    return " ".join(shown)


def painted(text: str, code: str, colour: bool) -> str:
    """Text in a colour of the terminal's."""
    return f"{code}{text}{PLAIN}" if colour else text


def lines_of(stream: IO[bytes]) -> Iterator[list[str]]:
    """The lines of a stream, as many at a time as have come, so that each is answered at once.

    Raises Refusal on what is not UTF-8.
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
                    "wanted UTF-8 text"
                ) from None
        yield texts


def chunks_of(stream: IO[bytes]) -> Iterator[list[bytes]]:
    """What has come of a stream, as whole lines."""
    begun: list[bytes] = []  # a line whose end has not come
    while chunk := stream.read1(CHUNK):  # type: ignore[attr-defined]
        begun.append(chunk)
        if b"\n" in chunk:
            *whole, rest = b"".join(begun).split(b"\n")
            begun = [rest] if rest else []
            yield whole
    if begun:
        yield [b"".join(begun)]


def batches_of(table: Iterable[rows.Row], column: str, where: str) -> Iterator[Batch]:
    """Rows and their texts, as many as are scored at a time. Raises Refusal where one has no text."""
    batch: list[rows.Row] = []
    texts: list[str] = []
    letters = 0
    for number, row in enumerate(table, 1):
        rows.require([column], row, where if number == 1 else f"{where}, row {number}")
        value = row[column]
        if isinstance(value, bytes | list | dict):
            raise Refusal(f"{where}, row {number}: {column!r} is {value!r:.40}, wanted text")
        text = "" if value is None or value != value else str(value)
        batch.append(row)
        texts.append(text)
        letters += len(text)
        if len(batch) == ROWS or letters > LETTERS:
            yield Batch(batch, texts)
            batch, texts, letters = [], [], 0
    if batch:
        yield Batch(batch, texts)


def scored(chain: "Chain", batches: Iterable[Batch], names: Sequence[str]) -> Iterator[list[rows.Row]]:
    """Rows with their label and its probability, in columns of these names."""
    from stages.tokens import ahead

    def judge(batch: Batch) -> tuple[list[rows.Row], list[int], list[float]]:
        chances, guesses = judged(chain, chain.score(chain.lists(batch.texts)))
        return batch.rows, guesses.tolist(), chances.gather(1, guesses[:, None])[:, 0].tolist()

    for found, guesses, own in ahead(judge, batches):
        for row, guess, chance in zip(found, guesses, own, strict=True):
            row[names[0]], row[names[1]] = chain.labels[guess], chance
        yield found


def score_file(
    load: Callable[[], "Chain"], file: Path, column: str, output: Path, names: Sequence[str]
) -> None:
    """Writes the rows of a file with the label and the probability of the text in a column.

    Raises Refusal on a file without such a column, or with one of these `names` already.
    """
    import pyarrow as pa

    where = str(file)
    schema = None
    if format_of(file, "--file") == "parquet":
        with open_table(file) as table:
            schema = table.schema_arrow
        for name, kind in zip(names, (pa.string(), pa.float64()), strict=True):
            schema = schema.append(pa.field(name, kind))
    with file.open("rb") as opened, progress("predict", "reviews") as bar:
        batches = batches_of(rows.read(opened, file.name, where), column, where)
        first = next(batches, None)
        if first is None:
            raise Refusal(f"{file}: no reviews in it, only a header")
        if there := [name for name in names if name in first.rows[0]]:
            raise Refusal(
                f"{file}: has a column {there[0]!r} already; with --prefix predicted_ it stays, and the new "
                f"one is predicted_{there[0]}"
            )

        with writer(output, schema) as write:
            for done in scored(load(), one_after_the_other([first], batches), names):
                write(done)
                bar.update(len(done))


def answer_all(chain: "Chain", options: argparse.Namespace) -> None:
    """Prints an answer to each text, or to each line of standard input."""
    if options.of is not None and options.of not in chain.labels:
        raise Refusal(f"--of: found {options.of!r}, wanted a label: {', '.join(chain.labels)}")
    terminal = sys.stdout.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if not options.text and sys.stdin.isatty():
        print("one review a line; Ctrl-D ends", file=sys.stderr)
    for texts in [options.text] if options.text else lines_of(sys.stdin.buffer):
        for text, answer in zip(texts, answers(chain, texts, options.of, options.shares != 0), strict=True):
            if options.json:
                print(as_json(text, answer, options.shares))
            elif terminal:
                print(as_text(answer, options.shares, colour))
            else:
                print(as_line(answer, options.shares))
        sys.stdout.flush()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command's options. Raises Refusal where they contradict each other."""
    parser = argparse.ArgumentParser(
        "predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", nargs="*", help="a review; without any, each line of standard input is one")
    parser.add_argument("--file", type=Path, help="a table of reviews")
    parser.add_argument("--column", help="of the table, with the reviews (text)")
    parser.add_argument("--output", type=Path, help="the table with its labels")
    parser.add_argument("--prefix", help="of the columns that are added, if the table has such ones")
    parser.add_argument("--rev", help="whose model: a commit, branch, tag or experiment")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each review")
    parser.add_argument("--shares", type=int, metavar="N", help="tell the N strongest; 0: none, and faster")
    parser.add_argument("--of", metavar="LABEL", help="whose logit the shares explain")
    options = parser.parse_args(arguments)
    if options.shares is not None and options.shares < 0:
        raise Refusal(f"--shares: found {options.shares}, wanted 0 or more")
    if options.file is None:
        if lost := [name for name in ("column", "output", "prefix") if getattr(options, name) is not None]:
            raise Refusal(f"--{lost[0]}: is of a --file, and there is none")
        return options
    if lost := [name for name in ("text", "json", "shares", "of") if getattr(options, name)]:
        raise Refusal(f"--file: a table of reviews is not asked for with {lost[0]}; leave out one of them")
    format_of(options.file, "--file")
    if options.output is None:
        raise Refusal("--output: missing; name the file to write, such as scored.csv")
    format_of(options.output, "--output")
    if options.output.resolve() == options.file.resolve():
        raise Refusal(f"--output: {options.output} is the file that is read; name another")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal where the command, the model or the reviews are unsound."""
    options = parse(arguments)
    if options.file is None:
        answer_all(chain_of(options.rev), options)
    else:
        names = [f"{options.prefix or ''}{name}" for name in ADDED]
        column = "text" if options.column is None else options.column
        score_file(lambda: chain_of(options.rev), options.file, column, options.output, names)


if __name__ == "__main__":
    block_pandas()
    with exit_on_refusal("predict"):
        try:
            main()
        except BrokenPipeError:  # whoever read has had enough, as `head` has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
