"""Embeddings compared with gensim and fastText: words per second, memory, agreement with people.

    make bench-embeddings WORDSETS=wordsets TEXT=enwiki_100MB.txt.xz ARCHIVE=aclImdb_dev.tar.gz

TEXT is a text of lower-case words, plain or .xz, such as text8; it is cut into documents of a thousand
words. ARCHIVE is the IMDb archive; the stages raw and tokens read its train and unlabelled reviews. Either
may be left out. WORDSETS is a folder with the files of WORDSETS below. OPTIONS="..." is passed to the
command; `python -m benchmarks.embeddings --help` lists the options.

For each text there is one table for each part:

    plain          whole words: Firth, gensim, fastText
    char_ngrams    words and their character n-grams: Firth, fastText
    rare           the same, but all except the most frequent words are unknown to both programs and have
                   only their n-grams; agreement over the pairs with such a word

All programs get the same documents, the same settings and two threads, and use their own default learning
rate. Within a seed they run in turns. Words are raw words of the text times epochs. Firth's seconds are of
the whole stage, including Python's start; those of the peers are of their training only
(benchmarks/peers.py). A second ratio therefore subtracts the time that the stage takes on one document.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import yaml
from safetensors.numpy import load_file

from benchmarks.measure import ROOT, processor
from benchmarks.peers import PROGRAMS, Run, Settings, Unknown, Vectors, peer
from benchmarks.stages import run_stage
from benchmarks.texts import from_reviews, from_words, write_text
from stages import UNK
from stages.lib.char_ngrams import CharNgrams, vector_of
from stages.lib.markdown import table
from stages.lib.params import Loader
from stages.lib.wordsets import Analogies, Similarity, measure, read_wordset

WORDSETS = {  # name in the tables: file
    "WS-353": "EN-WS-353-ALL.txt",
    "SimLex-999": "EN-SIMLEX-999.txt",
    "analogies": "questions-words-semantic.txt",
}
COMMON: Settings = {
    "loss": "negative_sampling", "dim": 100, "window": 5, "negatives": 5, "noise_power": 0.75,
    "subsample": 1e-3, "threads": 2, "min_count": 5,
}  # fmt: skip
PEERS_ONLY = ("min_count", "feed")  # settings that are not in the embeddings section
DEFAULTS: Settings = {"engine": "blocks", "pretrained": None, "char_ngrams": None}

Wordsets = Mapping[str, Similarity | Analogies]


class Plan(NamedTuple):
    """What is run, from the command line."""

    programs: list[str]
    objectives: list[str]
    seeds: list[int]
    settings: Settings  # of all programs
    changes: Settings  # of Firth's embeddings alone
    wordsets: Wordsets


class Part(NamedTuple):
    """One table: its title, the programs that support it, and its own settings."""

    title: str
    programs: tuple[str, ...]
    settings: Settings
    rare: bool  # agreement over the pairs with an unknown word


def changes_of(items: Sequence[str]) -> Settings:
    """The changes that --set makes.

    >>> changes_of(["lr=1e-2", "objective=cbow"])
    {'lr': 0.01, 'objective': 'cbow'}
    """
    return {key: yaml.load(value, Loader) for key, _, value in (item.partition("=") for item in items)}


def write_firth_params(folder: Path, settings: Settings, changes: Settings) -> None:
    """Writes params.yaml as shipped, with the settings and then the changes in its embeddings section."""
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"), Loader)
    section = params["embeddings"]
    params["vocabulary"] |= {"min_count": settings["min_count"], "max_words": None}
    section |= DEFAULTS | {key: value for key, value in settings.items() if key not in PEERS_ONLY} | changes
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def firth(folder: Path, settings: Settings, changes: Settings) -> Run:
    """Runs the embeddings stage on the ids in `folder`."""
    write_firth_params(folder, settings, changes)
    cost = run_stage("embeddings", folder)
    words = pq.read_table(folder / "data/vocabulary.parquet", columns=["token"])["token"].to_pylist()
    tables = load_file(folder / "data/embeddings.safetensors")
    vectors, first = tables["embeddings"], UNK + 1
    unknown = firth_unknown(tables.get("char_ngrams"), settings["char_ngrams"])
    return Run(cost.seconds, cost.megabytes, words[first:], vectors[first:], unknown)


def firth_start(folder: Path, settings: Settings, changes: Settings) -> float:
    """The seconds of the stage on the first document: start of Python, vocabulary, noise table, output."""
    ids = folder / "data/ids.parquet"
    whole = ids.rename(folder / "data/whole.parquet")
    with pq.ParquetFile(whole) as file:
        pq.write_table(file.read_row_group(0).slice(0, 1), ids)
    write_firth_params(folder, settings | {"epochs": 1}, changes)
    seconds = run_stage("embeddings", folder).seconds
    whole.replace(ids)
    return seconds


def firth_unknown(table: Vectors | None, settings: Mapping[str, int] | None) -> Unknown:
    """A function that returns the vector of a word without a row, from its character n-grams if any."""
    if table is None or settings is None:
        return lambda word: None
    ngrams = CharNgrams.model_validate(settings)
    return lambda word: vector_of(word, table, ngrams)


def number_of(run: Run) -> dict[str, int]:
    """The row of each word."""
    return {word: row for row, word in enumerate(run.words)}


def agreement(run: Run, wordsets: Wordsets) -> list[float]:
    """The agreement of a run's vectors with each word set."""
    number = number_of(run)
    return [score(measure(wordset, number, run.vectors)) for wordset in wordsets.values()]


def rare_agreement(run: Run, wordsets: Wordsets) -> list[float]:
    """The same over the pairs with an unknown word, each followed by the number of pairs."""
    number = number_of(run)
    figures = []
    for wordset in wordsets.values():
        if isinstance(wordset, Similarity):
            result = measure(with_unknown(wordset, number), number, run.vectors, run.unknown)
            figures += [score(result), result["pairs"]]
    return figures


def with_unknown(wordset: Similarity, number: Mapping[str, int]) -> Similarity:
    """The pairs of which at least one word has no row.

    >>> with_unknown(Similarity([("a", "b"), ("A", "a")], [1.0, 2.0]), {"a": 0})
    Similarity(pairs=[('a', 'b')], scores=[1.0])
    """
    lines = zip(wordset.pairs, wordset.scores, strict=True)
    kept = [(pair, mark) for pair, mark in lines if any(word.lower() not in number for word in pair)]
    return Similarity([pair for pair, _ in kept], [mark for _, mark in kept])


def score(result: Mapping[str, float]) -> float:
    """The agreement with a word set, or NaN if too few of its words are known."""
    return result.get("spearman", result.get("accuracy", float("nan")))


def middle(figures: Sequence[float], digits: int) -> str:
    """The median and half the range.

    >>> middle([1.0, 4.0, 2.0], 1), middle([0.25], 2), middle([float("nan")], 3)
    ('2.0 ± 1.5', '0.25', '-')
    """
    if any(figure != figure for figure in figures):
        return "-"
    text = f"{statistics.median(figures):.{digits}f}"
    return text if len(figures) == 1 else f"{text} ± {(max(figures) - min(figures)) / 2:.{digits}f}"


def columns_of(part: Part, wordsets: Wordsets) -> dict[str, int]:
    """The columns of a table and their number of decimals."""
    columns = {"1000 words/s": 0, "seconds": 0, "peak MB": 0}
    for name, wordset in wordsets.items():
        if not part.rare:
            columns[name] = 3
        elif isinstance(wordset, Similarity):
            columns |= {name: 3, f"{name} pairs": 0}
    return columns


def trained(program: str, folder: Path, plan: Plan, settings: Settings) -> Run:
    """One run of one program."""
    if program == "Firth":
        return firth(folder, settings, plan.changes)
    pairs = [pair for one in plan.wordsets.values() if isinstance(one, Similarity) for pair in one.pairs]
    return peer(program, folder, settings, sorted({word.lower() for pair in pairs for word in pair}))


def contest(part: Part, plan: Plan, folder: Path, words: int) -> str:
    """Runs the programs of a part in turns; returns its table and below it the ratios of speed."""
    settings = plan.settings | part.settings
    write_firth_params(folder, settings, {})
    for stage in ("vocabulary", "ids"):
        run_stage(stage, folder)
    rows, ratios = [], []
    columns = columns_of(part, plan.wordsets)
    for objective in plan.objectives:
        start = firth_start(folder, settings | {"objective": objective}, plan.changes)
        results: dict[str, list[list[float]]] = {name: [] for name in part.programs if name in plan.programs}
        for seed in plan.seeds:
            for program, runs in results.items():
                run = trained(program, folder, plan, settings | {"objective": objective, "seed": seed})
                rate = words * settings["epochs"] / run.seconds / 1000
                judged = (rare_agreement if part.rare else agreement)(run, plan.wordsets)
                runs.append([rate, run.seconds, run.megabytes, *judged])
                print(part.title, objective, program, seed, runs[-1], file=sys.stderr, flush=True)
        for program, runs in results.items():
            cells = map(middle, zip(*runs, strict=True), columns.values())
            rows.append([f"{objective}, {program}", *cells])
        ratios += ratios_of(objective, results, start)
    return "\n".join([table(["", *columns], rows), *(["", *ratios] if ratios else [])])


def ratios_of(objective: str, results: Mapping[str, list[list[float]]], start: float) -> list[str]:
    """Firth's words per second divided by each peer's, within a seed: of the whole stage, and without
    its start.

    >>> ratios_of("cbow", {"Firth": [[4.0, 5.0], [9.0, 4.0]], "gensim": [[2.0, 9.0], [3.0, 9.0]]}, 1.0)
    ['- cbow, words per second, Firth : gensim = 2.50 ± 0.50; without 1.0 s of start 3.25 ± 0.75']
    """
    lines = []
    for program in [name for name in results if name != "Firth" and "Firth" in results]:
        pairs = list(zip(results["Firth"], results[program], strict=True))
        ratios = [firth[0] / peer[0] for firth, peer in pairs]
        training = [ratio * run[1] / (run[1] - start) for ratio, (run, _) in zip(ratios, pairs, strict=True)]
        lines.append(
            f"- {objective}, words per second, Firth : {program} = {middle(ratios, 2)}; "
            f"without {start:.1f} s of start {middle(training, 2)}"
        )
    return lines


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    programs, parts = ["Firth", *PROGRAMS], ["plain", "char_ngrams", "rare"]
    parser.add_argument("wordsets", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--programs", nargs="+", choices=programs, default=programs)
    parser.add_argument("--objectives", nargs="+", default=["skipgram", "cbow"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--feed", choices=["lists", "file"], default="lists", help="how gensim gets the text")
    parser.add_argument(
        "--char-ngrams", nargs=3, type=int, default=[3, 6, 200_000], metavar=("MIN", "MAX", "BUCKETS")
    )
    parser.add_argument("--rare-min-count", type=int, default=1000, help="of the words known in part rare")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of Firth's embeddings")
    options = parser.parse_args()
    if not options.text and not options.archive:
        parser.error("nothing to learn from: --text or --archive is needed")
    return options


def plan_of(options: argparse.Namespace) -> Plan:
    """What the options ask for."""
    settings = COMMON | {"objective": options.objectives[0], "seed": options.seeds[0]}
    settings |= {"epochs": options.epochs, "feed": options.feed, "char_ngrams": None}
    wordsets = {name: read_wordset(options.wordsets / file) for name, file in WORDSETS.items()}
    changes = changes_of(options.set)
    return Plan(options.programs, options.objectives, options.seeds, settings, changes, wordsets)


def parts_of(options: argparse.Namespace) -> list[Part]:
    """The tables that the options ask for."""
    shortest, longest, buckets = options.char_ngrams
    ngrams = {"char_ngrams": {"min": shortest, "max": longest, "buckets": buckets}}
    rare = ngrams | {"min_count": options.rare_min_count}
    grams = f"n-grams of {shortest} to {longest} characters in {buckets:,} buckets"
    known = f"Words of {options.rare_min_count:,} occurrences or more"
    parts = {
        "plain": Part("Whole words", ("Firth", "gensim", "fastText"), {}, rare=False),
        "char_ngrams": Part(f"Words and {grams}", ("Firth", "fastText"), ngrams, rare=False),
        "rare": Part(
            f"{known}, and {grams}: pairs with a rarer word", ("Firth", "fastText"), rare, rare=True
        ),
    }
    return [parts[name] for name in options.parts]


def main() -> None:
    options = arguments()
    plan, parts = plan_of(options), parts_of(options)
    print(f"{options.epochs} epochs, seeds {plan.seeds}: median ± half the range; {processor()}", flush=True)
    for path, documents_of in ((options.text, from_words), (options.archive, from_reviews)):
        if path is None:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            documents, words = write_text(documents_of(path.resolve()), folder)
            print(f"\n## {path.name}: {documents:,} documents, {words:,} words")
            for part in parts:
                print(f"\n{part.title}\n\n{contest(part, plan, folder, words)}", flush=True)


if __name__ == "__main__":
    main()
