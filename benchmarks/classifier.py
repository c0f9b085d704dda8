"""The classifier: what each of its choices is worth, and how it does beside fastText and scikit-learn.

    make bench-classifier ARCHIVE=aclImdb_dev.tar.gz SST2=SST-2.zip

ARCHIVE is the IMDb archive, SST2 that of the Stanford Sentiment Treebank; either may be left out.
OPTIONS="..." goes to the command as it is; `python -m benchmarks.classifier --help` lists them.
The stages before the classifier are run once for each corpus, with the parameters of its preset;
--work keeps what they make, so that the groups can be run one at a time:

    ablation    the textbook (a mean of vectors and a line) with one choice switched on, and the
                preset with one choice changed: figures of the validation reviews alone, so that
                nothing is chosen by the test reviews
    peers       Firth, fastText and scikit-learn trained on the same reviews, and the test reviews
    features    IMDb alone: n-grams of the train reviews, Firth and CountVectorizer
    scoring     IMDb alone: test reviews a second, Firth and fastText

Every run is a process of its own. Firth's seconds are those of its processes, Python's start and
imports included; those of the peers are of the work alone. Where a peer has several settings, that
of the most right validation reviews is taken and the others' seconds are not counted.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from benchmarks.classifier_peers import Settings, peer, write_lines
from benchmarks.features import WAYS, features
from benchmarks.measure import Cost, processor, table
from benchmarks.scoring import scored
from benchmarks.stages import changed, checksum, preset, run_stage
from stages import LABELLED, SPLITS, TEST, TRAIN, VALIDATION
from stages.classifier import decide, load, probabilities, score
from stages.lib.files import read_json
from stages.lib.intervals import wilson
from stages.lib.reviews import read_split
from stages.lib.tables import BATCH, table_writer

GROUPS = ("ablation", "peers", "features", "scoring")
TIMED = ("imdb",)  # the other corpus is too small for the speed of n-grams and of scoring
CORPORA = {"imdb": "IMDb", "sst2": "SST-2"}
BEFORE = ("raw", "tokens", "vocabulary", "ids", "tensors", "embeddings")  # stages that are run once

# Changes are written as for `dvc exp run -S`, without the `classifier.` in front.
TEXTBOOK = (
    "start=trained", "tuning=fine_tuned", "pool=mean", "word_dropout=0", "weight_decay=0", "averaging=false",
    "class_weight=none", "ngrams=null", "self_training=0", "calibration=none", "threshold=0.5",
)  # fmt: skip
OF_WORDS = (  # choices of the part with the vectors
    "pool=mean", "pool=sum", "pool=max", "pool=mean_max", "pool=idf_mean", "tuning=fine_tuned",
    "tuning=frozen", "start=trained", "start=random", "vectors_lr=0.0005", "vectors_lr=0.001",
    "vectors_lr=0.002", "word_dropout=0", "word_dropout=0.3", "word_dropout=0.5", "weight_decay=0",
    "weight_decay=0.01", "averaging=false", "averaging=true", "class_weight=none", "class_weight=balanced",
)  # fmt: skip
OF_NGRAMS = (
    "blend=validation", "blend=0.5", "blend=1", "self_training=0", "self_training=0.3", "self_training=1",
    "ngrams=null", "ngrams.longest=1", "ngrams.longest=2", "ngrams.longest=3",
    "ngrams.counts=unique", "ngrams.counts=counted", "ngrams.pool=mean", "ngrams.pool=sum",
    "ngrams.ratios=weights", "ngrams.ratios=none", "ngrams.rarity=0", "ngrams.rarity=0.25",
    "ngrams.ending=0", "ngrams.ending=0.5",
    "ngrams.decay=0.3", "ngrams.decay=3", "ngrams.decay=10", "ngrams.decay=30", "ngrams.buckets=null",
    "ngrams.buckets=262144", "ngrams.buckets=1048576",
)  # fmt: skip
WIDTHS = {"imdb": (256, 400), "sst2": (10, 20)}  # tokens a review
PLAIN = {
    "longest": 2, "counts": "counted", "pool": "sum", "ending": 0, "ratios": "none", "rarity": 0, "decay": 1,
}  # fmt: skip
ON_PLAIN = (
    "ngrams.longest=1", "ngrams.counts=unique", "ngrams.ratios=weights", "ngrams.rarity=0.25",
    "ngrams.ending=0.5",
)  # fmt: skip

TOKENS_TO_MODEL = ("vocabulary", "ids", "tensors", "embeddings", "classifier")
BIGRAMS = "Firth, bigrams alone"
THEIRS = "fastText, bigrams"


class Made(NamedTuple):
    """A corpus and its artefacts up to the embeddings."""

    corpus: str
    folder: Path
    params: dict[str, Any]

    def reviews(self, split: str) -> int:
        """How many reviews a split has."""
        count: int = read_json(self.folder / "metrics/raw.json")["reviews"][split]
        return count


class Row(NamedTuple):
    """A row of an ablation: the preset and what is changed in it."""

    name: str
    changes: tuple[str, ...]


class Contender(NamedTuple):
    """A row of the contest: a program and the settings that it may choose from."""

    program: str
    settings: list[Settings]


def fasttext(longest: int, lr: float, *epochs: int) -> Contender:
    """fastText with several numbers of epochs to choose from."""
    return Contender("fastText", [{"longest": longest, "lr": lr, "epochs": count} for count in epochs])


def scikit(program: str, *penalties: float) -> Contender:
    """A line of scikit-learn over words and pairs of them."""
    return Contender(program, [{"longest": 2, "C": penalty} for penalty in penalties])


# With `blend=1` nothing of the vectors is in the model, so that row goes without their stage, and without
# the unlabelled reviews, which fastText does not get either.
ALONE = {"changes": ["blend=1", "ngrams.longest=2"], "without": ["embeddings"], "splits": LABELLED}
CONTENDERS = {
    "Firth, preset": Contender("Firth", [{"changes": [], "without": [], "splits": SPLITS}]),
    BIGRAMS: Contender("Firth", [ALONE]),
    "fastText, words": fasttext(1, 0.1, 5),
    THEIRS: fasttext(2, 0.1, 5),
    "fastText, words, tuned": fasttext(1, 0.5, 5, 10, 25),
    "fastText, bigrams, tuned": fasttext(2, 0.5, 5, 10, 25),
    "NBSVM, bigrams": scikit("NBSVM", 0.01, 0.1, 1, 10),
    "TF-IDF, bigrams": scikit("TF-IDF", 1, 10, 100),
}


def say(*words: object) -> None:
    """News of the progress, on standard error."""
    print(*words, file=sys.stderr, flush=True)


def prepared(corpus: str, archive: Path, work: Path) -> Made:
    """Runs the stages before the classifier, unless `work` holds what they made with these parameters."""
    folder = work / corpus
    params = changed(preset(corpus), [f"raw.checksum={checksum(archive)}"])
    made, stamp = {stage: params[stage] for stage in BEFORE}, folder / "made.json"
    write_params(folder, params)
    if not stamp.exists() or read_json(stamp) != made:
        stamp.unlink(missing_ok=True)
        for stage in BEFORE:
            cost = run_stage(stage, folder, corpus, FIRTH_MIRROR=str(archive))
            say(f"{corpus}: {stage}, {cost.seconds:.1f} s")
        write_lines(folder)
        stamp.write_text(json.dumps(made), encoding="utf-8")
    return Made(corpus, folder, params)


def write_params(folder: Path, params: Mapping[str, Any]) -> None:
    """params.yaml in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


@contextmanager
def scratch(made: Made, params: Mapping[str, Any]) -> Iterator[Path]:
    """A folder with links to what is made, for stages to write anew with other parameters. They replace
    a link and leave alone what it leads to."""
    with tempfile.TemporaryDirectory(dir=made.folder) as name:
        folder = Path(name)
        write_params(folder, params)
        (folder / "data").mkdir()
        for path in (made.folder / "data").iterdir():
            if path.is_file():
                (folder / "data" / path.name).symlink_to(path.resolve())
        yield folder


def with_changes(params: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Params with changes of the classifier, or of another stage where its name stands in front."""
    sections = tuple(f"{stage}." for stage in BEFORE)
    return changed(params, [item if item.startswith(sections) else f"classifier.{item}" for item in changes])


def rows_on(params: dict[str, Any], base: Row, choices: Sequence[str]) -> list[Row]:
    """A base and the base with one choice changed; what is so already, or has no n-grams to change, has
    no row."""
    start = with_changes(params, base.changes)
    rows = [base]
    for item in choices:
        if item.startswith("ngrams.") and start["classifier"]["ngrams"] is None:
            continue
        if with_changes(start, [item]) != start:
            rows.append(Row(item, (*base.changes, item)))
    return rows


def textbook_rows(made: Made) -> list[Row]:
    """One choice switched on at a time: first those of the words' part, then those of n-grams."""
    shipped = made.params["classifier"]["ngrams"]
    rows = rows_on(made.params, Row("textbook", TEXTBOOK), [*OF_WORDS, *widths(made)])
    if shipped is not None:
        plain = Row("plain n-grams", (*TEXTBOOK, f"ngrams={json.dumps(shipped | PLAIN)}"))
        rows += [
            row._replace(name=f"... {row.name}" if row.name != plain.name else row.name)
            for row in rows_on(made.params, plain, ON_PLAIN)
        ]
        rows.append(Row("the preset's n-grams", (*TEXTBOOK, f"ngrams={json.dumps(shipped)}")))
    return rows


def preset_rows(made: Made) -> list[Row]:
    """One choice of the preset changed at a time."""
    return rows_on(made.params, Row("preset", ()), [*OF_NGRAMS, *OF_WORDS, *widths(made)])


def widths(made: Made) -> list[str]:
    """Reviews cut to fewer tokens."""
    return [f"tensors.max_length={width}" for width in WIDTHS[made.corpus]]


def ablation(made: Made, rows: Sequence[Row]) -> str:
    """Runs the classifier stage for each row: what it took, and its figures on validation."""
    n = made.reviews(VALIDATION)
    cells = []
    for row in rows:
        try:
            cost, found = classified(made, row.changes)
        except SystemExit as refused:  # a training may diverge: the others are still worth having
            say(f"{made.corpus}: {row.name}: {refused}")
            cells.append([row.name, "-", "-", "-", "-"])
            continue
        right = round(found["accuracy"] * n)
        figures = [f"{cost.seconds:.1f}", f"{cost.megabytes:.0f}", percent(right, n), f"{found['loss']:.4f}"]
        cells.append([row.name, *figures])
        say(f"{made.corpus}:", *cells[-1])
    return table(["", "seconds", "peak MB", "validation accuracy", "log loss"], cells)


def classified(made: Made, changes: Sequence[str]) -> tuple[Cost, dict[str, float]]:
    """Runs the classifier stage; what it took, and its figures on validation."""
    with scratch(made, with_changes(made.params, changes)) as folder:
        if any(item.startswith("tensors.") for item in changes):
            run_stage("tensors", folder, made.corpus)
        cost = run_stage("classifier", folder, made.corpus)
        figures: dict[str, float] = read_json(folder / "metrics/classifier.json")["validation"]
        return cost, figures


def percent(right: int, n: int) -> str:
    """An accuracy and its interval.

    >>> percent(90, 100)
    '90.00 (82.56 to 94.48)'
    """
    low, high = wilson(right, n)
    return f"{100 * right / n:.2f} ({100 * low:.2f} to {100 * high:.2f})"


class Result(NamedTuple):
    """What a training took, how many reviews it then had right, and of which parts its seconds are."""

    seconds: float
    megabytes: float
    validation: int
    test: int
    parts: dict[str, float]


def trained(program: str, made: Made, settings: Settings) -> Result:
    """One training, from tokens to a model."""
    if program == "Firth":
        return firth(made, settings)
    threads = made.params["classifier"]["threads"]
    return Result(*peer(program, made.folder, settings | {"threads": threads}), {})


def firth(made: Made, settings: Settings) -> Result:
    """Runs the stages from the vocabulary to the classifier."""
    with scratch(made, with_changes(made.params, settings["changes"])) as folder:
        if settings["splits"] != SPLITS:
            keep_splits(folder / "data/tokens.parquet", settings["splits"])
        stages = [stage for stage in TOKENS_TO_MODEL if stage not in settings["without"]]
        costs = {stage: run_stage(stage, folder, made.corpus) for stage in stages}
        model = load(folder / "data/classifier.safetensors")
        right = []
        for split in (VALIDATION, TEST):
            reviews = read_split(folder / "data/tensors.safetensors", split)
            chances = probabilities(score(model, reviews), model.about.temperature)
            right.append(int((decide(chances, model.about.threshold) == reviews.labels).sum()))
    parts = {stage: cost.seconds for stage, cost in costs.items()}
    most = max(cost.megabytes for cost in costs.values())
    return Result(sum(parts.values()), most, right[0], right[1], parts)


def keep_splits(tokens: Path, splits: Sequence[str]) -> None:
    """Writes data/tokens.parquet anew, in the place of a link to it, with the reviews of some splits."""
    table = pq.read_table(tokens)
    with table_writer(tokens, table.schema) as writer:
        writer.write_table(table.filter(pc.is_in(table["split"], pa.array(splits))), row_group_size=BATCH)


def contest(made: Made, names: Sequence[str], times: int) -> str:
    """Trains all contenders in turns; their table, and below it what Firth's seconds are made of."""
    runs: dict[str, list[Result]] = {}
    chosen: dict[str, Settings] = {}
    for turn in range(times):
        for name in names:
            program, settings = CONTENDERS[name]
            candidates = [chosen[name]] if name in chosen else settings
            found = []
            for candidate in candidates:
                found.append(trained(program, made, candidate))
                say(f"{made.corpus}: {name}, turn {turn + 1}:", candidate, found[-1])
            best = max(range(len(found)), key=lambda number: found[number].validation)
            chosen[name] = candidates[best]
            runs.setdefault(name, []).append(found[best])
    header = ["", "chosen", "seconds", "peak MB", "validation accuracy", "test accuracy"]
    lines = [table(header, [contest_row(made, name, chosen[name], runs[name]) for name in names]), ""]
    for name in names:
        if parts := [run.parts for run in runs[name] if run.parts]:
            stages = [f"{stage} {statistics.median(part[stage] for part in parts):.1f}" for stage in parts[0]]
            lines.append(f"- {name}, seconds of each stage: {', '.join(stages)}")
    if BIGRAMS in runs and THEIRS in runs:
        whole, stage, theirs = (
            statistics.median(seconds)
            for seconds in (
                [run.seconds for run in runs[BIGRAMS]],
                [run.parts["classifier"] for run in runs[BIGRAMS]],
                [run.seconds for run in runs[THEIRS]],
            )
        )
        lines.append(
            f"- seconds, {THEIRS} : {BIGRAMS} = {theirs / whole:.2f},"
            f" and to its classifier stage alone = {theirs / stage:.2f}"
        )
    return "\n".join(lines)


def contest_row(made: Made, name: str, chosen: Settings, runs: Sequence[Result]) -> list[str]:
    """A row of the contest: medians over the turns."""
    options = CONTENDERS[name].settings
    tried = ", ".join(
        f"{key} {value}" for key, value in chosen.items() if len({str(o[key]) for o in options}) > 1
    )
    return [
        name,
        tried,
        f"{statistics.median(run.seconds for run in runs):.1f}",
        f"{statistics.median(run.megabytes for run in runs):.0f}",
        percent(statistics.median_low(run.validation for run in runs), made.reviews(VALIDATION)),
        percent(statistics.median_low(run.test for run in runs), made.reviews(TEST)),
    ]


def feature_contest(made: Made, times: int) -> str:
    """The table of n-grams, made in several ways in turns."""
    about = made.params["classifier"]["ngrams"] or {"least": 2}
    most = made.params["classifier"]["threads"]
    ways = {(way, threads): WAYS[way] for way in WAYS for threads in ((1, most) if "Firth" in way else (1,))}
    found: dict[tuple[str, int], list[Any]] = {way: [] for way in ways}
    for turn in range(times):
        for (way, threads), runs in found.items():
            settings = {"longest": 3, "least": about["least"], "threads": threads}
            runs.append(features(way, made.folder, settings))
            say(f"{made.corpus}: {way}, threads {threads}, turn {turn + 1}:", runs[-1])
    seconds = {way: statistics.median(run.seconds for run in runs) for way, runs in found.items()}
    reference = seconds["Firth, from words", most]
    cells = [
        [
            f"{way}, {threads} thread{'s' * (threads > 1)}",
            f"{seconds[way, threads]:.2f}",
            f"{seconds[way, threads] / reference:.1f}",
            f"{statistics.median(run.megabytes for run in runs):.0f}",
            f"{runs[-1].ngrams:,}",
            f"{runs[-1].cells:,}",
        ]
        for (way, threads), runs in found.items()
    ]
    return table(["", "seconds", "ratio", "peak MB", "n-grams", "cells"], cells)


def scoring_contest(made: Made, names: Sequence[str], times: int) -> str:
    """Reviews a second of the preset's classifier, and of those of fastText's that are among the names."""
    threads = made.params["classifier"]["threads"]
    with scratch(made, made.params) as folder:
        run_stage("classifier", folder, made.corpus)
        models = {"Firth": folder / "data/classifier.safetensors"}
        for name in [name for name in ("fastText, words", THEIRS) if name in names]:
            models[name] = folder / f"{name}.bin"
            (settings,) = CONTENDERS[name].settings
            peer("fastText", folder, settings | {"threads": threads, "save": str(models[name])})
        found: dict[str, list[Any]] = {name: [] for name in models}
        for turn in range(times):
            for name, runs in found.items():
                runs.append(scored(name.partition(",")[0], folder, models[name], threads))
                say(f"{made.corpus}: {name}, turn {turn + 1}:", runs[-1])
    cells = []
    for name, runs in found.items():
        n = runs[0].reviews
        loading, scoring, whole, megabytes = (
            statistics.median(getattr(run, field) for run in runs)
            for field in ("loading", "scoring", "whole", "megabytes")
        )
        rates = [n / scoring, n / (loading + scoring), n / whole]
        cells.append([name, *(f"{rate:,.0f}" for rate in rates), f"{loading:.2f}", f"{megabytes:.0f}"])
    header = ["", "reviews/s", "with loading", "whole process", "seconds of loading", "peak MB"]
    return table(header, cells)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", type=Path, help="of IMDb")
    parser.add_argument("--sst2", type=Path, help="archive of SST-2")
    parser.add_argument("--corpus", nargs="+", choices=CORPORA, default=list(CORPORA), help="of those given")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--rows", nargs="+", default=[""], metavar="TEXT", help="of the ablation: with TEXT")
    parser.add_argument("--programs", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--times", type=int, default=3, help="that the other groups are timed")
    parser.add_argument("--work", type=Path, help="folder that keeps what the stages make")
    options = parser.parse_args()
    if not options.archive and not options.sst2:
        parser.error("nothing to learn from: --archive or --sst2 is needed")
    return options


def tables(made: Made, options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(title, text) of each table that the options ask for."""
    if "ablation" in options.groups:
        for title, rows in (
            ("The textbook, and one choice switched on", textbook_rows(made)),
            ("The preset, and one choice changed", preset_rows(made)),
        ):
            if asked := [row for row in rows if any(text in row.name for text in options.rows)]:
                yield title, ablation(made, asked)
    if "peers" in options.groups:
        yield f"From tokens to a model, {medians(options)}", contest(made, options.programs, options.times)
    if made.corpus in TIMED:
        if "features" in options.groups:
            yield f"N-grams of 1 to 3 words, {medians(options)}", feature_contest(made, options.times)
        if "scoring" in options.groups:
            caption = f"From text to probability, {medians(options)}"
            yield caption, scoring_contest(made, options.programs, options.times)


def medians(options: argparse.Namespace) -> str:
    """How a table's seconds were had."""
    return f"median of {options.times}" if options.times > 1 else "one run"


def main() -> None:
    options = arguments()
    archives = {"imdb": options.archive, "sst2": options.sst2}
    print(f"Two labels; accuracies in %, with 95 % intervals; {processor()}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        work = (options.work or Path(name)).resolve()
        for corpus, title in CORPORA.items():
            if corpus not in options.corpus or archives[corpus] is None:
                continue
            made = prepared(corpus, archives[corpus].resolve(), work)
            counts = ", ".join(f"{made.reviews(split):,} {split}" for split in (TRAIN, VALIDATION, TEST))
            print(f"\n## {title}: {counts}", flush=True)
            for caption, text in tables(made, options):
                print(f"\n{caption}\n\n{text}", flush=True)


if __name__ == "__main__":
    main()
