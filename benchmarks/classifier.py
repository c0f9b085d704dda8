"""The classifier, the n-grams and their ensemble: the effect of each parameter, and a comparison with
fastText and scikit-learn.

    make bench-classifier ARCHIVE=aclImdb_dev.tar.gz SST2=SST-2.zip

ARCHIVE is the IMDb archive, SST2 that of the Stanford Sentiment Treebank; either may be omitted.
OPTIONS="..." is passed to the command; `python -m benchmarks.classifier --help` lists the options.
The stages before the classifier run once for each corpus, with the parameters of its preset. With
--work their output is kept, so that the groups can be run one at a time:

    ablation    the textbook's model (a mean of vectors and a linear layer) with one parameter changed,
                and the preset with one parameter changed: results on the validation reviews only, so
                that nothing is selected on the test reviews
    peers       Firth, fastText and scikit-learn trained on the same reviews; results on the test reviews
    features    IMDb only: n-gram counts of the train reviews, by Firth and CountVectorizer
    scoring     IMDb only: test reviews per second, by Firth and fastText

Every run is a process of its own. Firth's seconds are those of its processes, with Python's start and
imports; those of the peers are without. If a peer has several settings, the one with the highest
validation accuracy is used, and the seconds of the others are not counted.
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
from benchmarks.features import METHODS, features
from benchmarks.measure import Cost, processor
from benchmarks.scoring import scored
from benchmarks.stages import changed, checksum, preset, run_stage
from stages import LABELLED, SPLITS, STAGES, TEST, TRAIN, VALIDATION
from stages.lib.files import read_json
from stages.lib.intervals import wilson
from stages.lib.markdown import table
from stages.lib.model import Model, decide, probabilities
from stages.lib.ngram.model import NGramModel
from stages.lib.reviews import read_split
from stages.lib.tables import BATCH, table_writer

GROUPS = ("ablation", "peers", "features", "scoring")
TIMED = ("imdb",)  # the other corpus is too small to measure speed
CORPORA = {"imdb": "IMDb", "sst2": "SST-2"}
BEFORE = ("raw", "tokens", "vocabulary", "ids", "tensors", "embeddings")  # stages that run once

MODEL_STAGES = ("ngrams", "classifier", "ensemble")

# Changes are written as for `dvc exp run -S`; those without a stage are of the classifier.
TEXTBOOK = (
    "init=trained", "freeze=false", "pool=mean", "word_dropout=0", "weight_decay=0", "weight_averaging=false",
    "class_weight=none", "ngrams.max_n=0", "ensemble.calibration=none", "ensemble.threshold=0.5",
)  # fmt: skip
OF_WORDS = (  # parameters of the classifier
    "pool=mean", "pool=sum", "pool=max", "pool=mean_max", "pool=idf_mean", "freeze=false", "freeze=true",
    "init=trained", "init=random", "embedding_lr=0.0005", "embedding_lr=0.001", "embedding_lr=0.002",
    "word_dropout=0", "word_dropout=0.3", "word_dropout=0.5", "weight_decay=0", "weight_decay=0.01",
    "weight_averaging=false", "weight_averaging=true", "class_weight=none", "class_weight=balanced",
)  # fmt: skip
OF_NGRAMS = (
    "ensemble.weights=validation", "ensemble.weights=0.5", "ensemble.weights=1",
    "ngrams.max_n=0", "ngrams.max_n=1", "ngrams.max_n=2", "ngrams.max_n=3",
    "ngrams.binary=true", "ngrams.binary=false", "ngrams.pool=mean", "ngrams.pool=sum",
    "ngrams.nb_ratios=true", "ngrams.nb_ratios=false", "ngrams.df_power=0", "ngrams.df_power=0.25",
    "ngrams.ending_boost=0", "ngrams.ending_boost=0.5", "ngrams.l2=0.3", "ngrams.l2=3", "ngrams.l2=10",
    "ngrams.l2=30", "ngrams.buckets=null", "ngrams.buckets=262144", "ngrams.buckets=1048576",
    "ngrams.class_weight=none", "ngrams.class_weight=balanced",
)  # fmt: skip
WIDTHS = {"imdb": (256, 400), "sst2": (10, 20)}  # tokens per review
PLAIN = (
    "ngrams.max_n=2", "ngrams.binary=false", "ngrams.pool=sum", "ngrams.ending_boost=0",
    "ngrams.nb_ratios=false", "ngrams.df_power=0", "ngrams.l2=1", "ngrams.class_weight=none",
)  # fmt: skip
ON_PLAIN = (
    "ngrams.max_n=1", "ngrams.binary=true", "ngrams.nb_ratios=true", "ngrams.df_power=0.25",
    "ngrams.ending_boost=0.5",
)  # fmt: skip

TOKENS_TO_MODEL = ("vocabulary", "ids", "tensors", "embeddings", *MODEL_STAGES)
BIGRAMS = "Firth, bigrams only"
FASTTEXT_BIGRAMS = "fastText, bigrams"


class Made(NamedTuple):
    """A corpus and its artefacts up to the embeddings."""

    corpus: str
    folder: Path
    params: dict[str, Any]

    def reviews(self, split: str) -> int:
        """The number of reviews of a split."""
        count: int = read_json(self.folder / "metrics/raw.json")["reviews"][split]
        return count


class Row(NamedTuple):
    """A row of an ablation: the preset with some changes."""

    name: str
    changes: tuple[str, ...]


class Contender(NamedTuple):
    """A row of the comparison: a program, and the settings that are selected from."""

    program: str
    settings: list[Settings]


def fasttext(max_n: int, lr: float, *epochs: int) -> Contender:
    """fastText with several numbers of epochs to select from."""
    return Contender("fastText", [{"max_n": max_n, "lr": lr, "epochs": count} for count in epochs])


def scikit(program: str, *penalties: float) -> Contender:
    """Logistic regression of scikit-learn on unigrams and bigrams."""
    return Contender(program, [{"max_n": 2, "C": penalty} for penalty in penalties])


# The n-grams need neither vectors nor the unlabelled reviews, which fastText does not read either.
NGRAMS_ONLY = {
    "changes": ["ngrams.max_n=2"],
    "without": ["embeddings", "classifier", "ensemble"],
    "splits": LABELLED,
}
CONTENDERS = {
    "Firth, preset": Contender("Firth", [{"changes": [], "without": [], "splits": SPLITS}]),
    BIGRAMS: Contender("Firth", [NGRAMS_ONLY]),
    "fastText, words": fasttext(1, 0.1, 5),
    FASTTEXT_BIGRAMS: fasttext(2, 0.1, 5),
    "fastText, words, tuned": fasttext(1, 0.5, 5, 10, 25),
    "fastText, bigrams, tuned": fasttext(2, 0.5, 5, 10, 25),
    "NBSVM, bigrams": scikit("NBSVM", 0.01, 0.1, 1, 10),
    "TF-IDF, bigrams": scikit("TF-IDF", 1, 10, 100),
}


def log(*values: object) -> None:
    """Prints progress on standard error."""
    print(*values, file=sys.stderr, flush=True)


def prepared(corpus: str, archive: Path, work: Path) -> Made:
    """Runs the stages before the classifier, unless `work` has their output for these parameters."""
    folder = work / corpus
    params = changed(preset(corpus), [f"raw.checksum={checksum(archive)}"])
    made, stamp = {stage: params[stage] for stage in BEFORE}, folder / "made.json"
    write_params(folder, params)
    if not stamp.exists() or read_json(stamp) != made:
        stamp.unlink(missing_ok=True)
        for stage in BEFORE:
            cost = run_stage(stage, folder, corpus, FIRTH_MIRROR=str(archive))
            log(f"{corpus}: {stage}, {cost.seconds:.1f} s")
        write_lines(folder)
        stamp.write_text(json.dumps(made), encoding="utf-8")
    return Made(corpus, folder, params)


def write_params(folder: Path, params: Mapping[str, Any]) -> None:
    """params.yaml in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


@contextmanager
def scratch(made: Made, params: Mapping[str, Any]) -> Iterator[Path]:
    """A folder with links to the artefacts, in which stages run with other parameters.

    They replace a link and do not change its target.
    """
    with tempfile.TemporaryDirectory(dir=made.folder) as name:
        folder = Path(name)
        write_params(folder, params)
        (folder / "data").mkdir()
        for path in (made.folder / "data").iterdir():
            if path.is_file():
                (folder / "data" / path.name).symlink_to(path.resolve())
        yield folder


def with_changes(params: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Params with changes of the classifier, or of another stage if its name is the prefix."""
    sections = tuple(f"{stage}." for stage in STAGES)
    return changed(params, [item if item.startswith(sections) else f"classifier.{item}" for item in changes])


def rows_on(params: dict[str, Any], base: Row, choices: Sequence[str]) -> list[Row]:
    """A base, and the base with one parameter changed.

    There is no row for a parameter that has this value already, or for one of n-grams if there are none.
    """
    start = with_changes(params, base.changes)
    rows = [base]
    for item in choices:
        if item.startswith("ngrams.") and not start["ngrams"]["max_n"]:
            continue
        if with_changes(start, [item]) != start:
            rows.append(Row(item, (*base.changes, item)))
    return rows


def textbook_rows(made: Made) -> list[Row]:
    """One parameter changed at a time: first those of the classifier, then those of n-grams."""
    rows = rows_on(made.params, Row("textbook", TEXTBOOK), [*OF_WORDS, *widths(made)])
    shipped = made.params["ngrams"]
    if shipped["max_n"]:
        plain = Row("plain n-grams", (*TEXTBOOK, *PLAIN))
        rows += [
            row._replace(name=f"... {row.name}" if row.name != plain.name else row.name)
            for row in rows_on(made.params, plain, ON_PLAIN)
        ]
        presets = [f"ngrams.{key}={json.dumps(value)}" for key, value in shipped.items()]
        rows.append(Row("the preset's n-grams", (*TEXTBOOK, *presets)))
    return rows


def preset_rows(made: Made) -> list[Row]:
    """One parameter of the preset changed at a time."""
    return rows_on(made.params, Row("preset", ()), [*OF_NGRAMS, *OF_WORDS, *widths(made)])


def widths(made: Made) -> list[str]:
    """Shorter reviews."""
    return [f"tensors.max_length={width}" for width in WIDTHS[made.corpus]]


def ablation(made: Made, rows: Sequence[Row]) -> str:
    """Trains a model for each row: its cost, and its results on validation."""
    n = made.reviews(VALIDATION)
    cells = []
    for row in rows:
        try:
            cost, results = trained_model(made, row.changes)
        except SystemExit as error:  # if a training diverges, the other rows are still useful
            log(f"{made.corpus}: {row.name}: {error}")
            cells.append([row.name, "-", "-", "-", "-"])
            continue
        correct = round(results["accuracy"] * n)
        numbers = [
            f"{cost.seconds:.1f}",
            f"{cost.megabytes:.0f}",
            percent(correct, n),
            f"{results['loss']:.4f}",
        ]
        cells.append([row.name, *numbers])
        log(f"{made.corpus}:", *cells[-1])
    return table(["", "seconds", "peak MB", "validation accuracy", "log loss"], cells)


def trained_model(made: Made, changes: Sequence[str]) -> tuple[Cost, dict[str, float]]:
    """Runs the stages of the model; their cost, and the results on validation."""
    with scratch(made, with_changes(made.params, changes)) as folder:
        if any(item.startswith("tensors.") for item in changes):
            run_stage("tensors", folder, made.corpus)
        costs = [run_stage(stage, folder, made.corpus) for stage in MODEL_STAGES]
        results: dict[str, float] = read_json(folder / "metrics/ensemble.json")["validation"]
        cost = Cost(sum(cost.seconds for cost in costs), max(cost.megabytes for cost in costs))
        return cost, results


def percent(correct: int, n: int) -> str:
    """An accuracy and its interval.

    >>> percent(90, 100)
    '90.00 (82.56 to 94.48)'
    """
    low, high = wilson(correct, n)
    return f"{100 * correct / n:.2f} ({100 * low:.2f} to {100 * high:.2f})"


class Result(NamedTuple):
    """The cost of a training, the reviews that are classified correctly, and the seconds of each stage."""

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
    """Runs the stages from the vocabulary to the model."""
    with scratch(made, with_changes(made.params, settings["changes"])) as folder:
        if settings["splits"] != SPLITS:
            keep_splits(folder / "data/tokens.parquet", settings["splits"])
        stages = [stage for stage in TOKENS_TO_MODEL if stage not in settings["without"]]
        costs = {stage: run_stage(stage, folder, made.corpus) for stage in stages}
        correct = [correct_of(folder, split, "ensemble" in stages) for split in (VALIDATION, TEST)]
    parts = {stage: cost.seconds for stage, cost in costs.items()}
    peak = max(cost.megabytes for cost in costs.values())
    return Result(sum(parts.values()), peak, correct[0], correct[1], parts)


def correct_of(folder: Path, split: str, ensemble: bool) -> int:
    """How many reviews of a split the ensemble classifies correctly, or the n-grams if there is none."""
    reviews = read_split(folder / "data/tensors.safetensors", split)
    documents = reviews.documents
    if ensemble:
        model = Model.load(folder / "data/ensemble.safetensors")
        predicted = model.predicted(model.probabilities(model.logits(documents)))
    else:
        ngrams = NGramModel.load(folder / "data/ngrams.safetensors")
        predicted = decide(probabilities(ngrams.logits(documents)), 0.5)
    return int((predicted == reviews.labels).sum())


def keep_splits(tokens: Path, splits: Sequence[str]) -> None:
    """Replaces data/tokens.parquet, which is a link, by a file with the reviews of some splits."""
    table = pq.read_table(tokens)
    with table_writer(tokens, table.schema) as writer:
        writer.write_table(table.filter(pc.is_in(table["split"], pa.array(splits))), row_group_size=BATCH)


def contest(made: Made, names: Sequence[str], times: int) -> str:
    """Trains all contenders in turns; their table, and below it the seconds of Firth's stages."""
    runs: dict[str, list[Result]] = {}
    chosen: dict[str, Settings] = {}
    for turn in range(times):
        for name in names:
            program, settings = CONTENDERS[name]
            candidates = [chosen[name]] if name in chosen else settings
            results = []
            for candidate in candidates:
                results.append(trained(program, made, candidate))
                log(f"{made.corpus}: {name}, turn {turn + 1}:", candidate, results[-1])
            best = max(range(len(results)), key=lambda number: results[number].validation)
            chosen[name] = candidates[best]
            runs.setdefault(name, []).append(results[best])
    header = ["", "chosen", "seconds", "peak MB", "validation accuracy", "test accuracy"]
    lines = [table(header, [contest_row(made, name, chosen[name], runs[name]) for name in names]), ""]
    for name in names:
        if parts := [run.parts for run in runs[name] if run.parts]:
            stages = [f"{stage} {statistics.median(part[stage] for part in parts):.1f}" for stage in parts[0]]
            lines.append(f"- {name}, seconds of each stage: {', '.join(stages)}")
    if BIGRAMS in runs and FASTTEXT_BIGRAMS in runs:
        whole, stage, fasttext_seconds = (
            statistics.median(seconds)
            for seconds in (
                [run.seconds for run in runs[BIGRAMS]],
                [run.parts["ngrams"] for run in runs[BIGRAMS]],
                [run.seconds for run in runs[FASTTEXT_BIGRAMS]],
            )
        )
        lines.append(
            f"- seconds, {FASTTEXT_BIGRAMS} : {BIGRAMS} = {fasttext_seconds / whole:.2f},"
            f" and to its stage ngrams = {fasttext_seconds / stage:.2f}"
        )
    return "\n".join(lines)


def contest_row(made: Made, name: str, chosen: Settings, runs: Sequence[Result]) -> list[str]:
    """A row of the comparison: medians over the turns."""
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
    """The matrix of n-gram counts by several methods in turns."""
    settings = {"max_n": 3, "min_df": made.params["ngrams"]["min_df"]}
    results: dict[str, list[Any]] = {method: [] for method in METHODS}
    for turn in range(times):
        for method, runs in results.items():
            runs.append(features(method, made.folder, settings))
            log(f"{made.corpus}: {method}, turn {turn + 1}:", runs[-1])
    seconds = {method: statistics.median(run.seconds for run in runs) for method, runs in results.items()}
    cells = [
        [
            method,
            f"{seconds[method]:.2f}",
            f"{seconds[method] / seconds['Firth, from words']:.1f}",
            f"{statistics.median(run.megabytes for run in runs):.0f}",
            f"{runs[-1].ngrams:,}",
            f"{runs[-1].cells:,}",
        ]
        for method, runs in results.items()
    ]
    return table(["", "seconds", "ratio", "peak MB", "n-grams", "cells"], cells)


def scoring_contest(made: Made, names: Sequence[str], times: int) -> str:
    """Reviews per second of the preset's model, and of the models of fastText among the names."""
    threads = made.params["classifier"]["threads"]
    with scratch(made, made.params) as folder:
        for stage in MODEL_STAGES:
            run_stage(stage, folder, made.corpus)
        models = {"Firth": folder / "data/ensemble.safetensors"}
        for name in [name for name in ("fastText, words", FASTTEXT_BIGRAMS) if name in names]:
            models[name] = folder / f"{name}.bin"
            (settings,) = CONTENDERS[name].settings
            peer("fastText", folder, settings | {"threads": threads, "save": str(models[name])})
        results: dict[str, list[Any]] = {name: [] for name in models}
        for turn in range(times):
            for name, runs in results.items():
                runs.append(scored(name.partition(",")[0], folder, models[name]))
                log(f"{made.corpus}: {name}, turn {turn + 1}:", runs[-1])
    cells = []
    for name, runs in results.items():
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
    parser.add_argument(
        "--corpus", nargs="+", choices=CORPORA, default=list(CORPORA), help="of the given ones"
    )
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument(
        "--rows", nargs="+", default=[""], metavar="TEXT", help="of the ablation: names with TEXT"
    )
    parser.add_argument("--programs", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--times", type=int, default=3, help="number of runs in the other groups")
    parser.add_argument("--work", type=Path, help="folder for the output of the stages")
    options = parser.parse_args()
    if not options.archive and not options.sst2:
        parser.error("no corpus: --archive or --sst2 is needed")
    return options


def tables(made: Made, options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(title, text) of each table."""
    if "ablation" in options.groups:
        for title, rows in (
            ("The textbook, with one parameter changed", textbook_rows(made)),
            ("The preset, with one parameter changed", preset_rows(made)),
        ):
            if selected := [row for row in rows if any(text in row.name for text in options.rows)]:
                yield title, ablation(made, selected)
    if "peers" in options.groups:
        yield f"From tokens to a model, {medians(options)}", contest(made, options.programs, options.times)
    if made.corpus in TIMED:
        if "features" in options.groups:
            yield f"N-grams of 1 to 3 words, {medians(options)}", feature_contest(made, options.times)
        if "scoring" in options.groups:
            caption = f"From text to probability, {medians(options)}"
            yield caption, scoring_contest(made, options.programs, options.times)


def medians(options: argparse.Namespace) -> str:
    """How the seconds of a table were measured."""
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
