"""Firth with its shipped defaults beside tuned peers on many corpora: accuracy on test.

    make bench-suite SUITE=corpora ARCHIVE=aclImdb_v1.tar.gz SST2=SST-2.zip

SUITE is a folder of corpora, each a folder with source.yaml as in data/corpora; ARCHIVE is the IMDb archive
and SST2 that of the Stanford Sentiment Treebank. Each may be omitted. OPTIONS="..." is passed to the
command; `python -m benchmarks.suite --help` lists the options.

Firth runs every stage of dvc.yaml up to evaluation with its command there. Of params.yaml only the corpus is
changed. With --presets it also runs with the presets of IMDb and SST-2, which are not compared. The peers
(benchmarks/suite_peers.py) are tuned on validation and trained on train and validation, on the rows that
Firth's stage raw wrote. Nothing is chosen on test, with one exception in the peers' favour: the best peer of
a corpus is the one that is best on test.

Seconds are those of whole processes: Firth's stages, or a peer's choice of settings and last training.
Processor seconds, the sum over all threads, depend less on what else the machine does. Each
result is kept as a JSON file in --out, and an interrupted run continues from there. Firth runs again if its
code, its parameters or the corpus changed; a peer runs again if its code or the rows changed.
"""

import argparse
import hashlib
import importlib.util
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple, Self

import pooch
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from benchmarks.measure import ROOT, measured, processor
from benchmarks.peers import MALLOC
from benchmarks.stages import changed, checksum, preset, run_stage
from benchmarks.suite_peers import PEERS, read_rows
from stages import TEST
from stages.lib.files import read_json, sha256, write_json
from stages.lib.intervals import paired, wilson
from stages.lib.markdown import table
from stages.lib.params import read_yaml

FIRTH, PRESET = "Firth", "Firth, preset"
LAST = "evaluation"  # the last stage that is run
CODE = ("stages/**/*.py", "dvc.yaml")  # what Firth's results depend on beside parameters and corpus
PEER_CODE = "benchmarks/suite_peers.py"
SECONDS = {
    "seconds": "seconds",
    "processor_seconds": "processor seconds",
    "fit_seconds": "seconds of the last training",
}
WITHIN = 0.5  # points: a model so much behind another counts as no worse

Result = dict[str, Any]  # of a model on a corpus, as in its JSON file
Results = dict[str, dict[str, Result]]  # by corpus, then by model


class Corpus(NamedTuple):
    """A corpus of the suite."""

    name: str
    folder: Path  # with source.yaml
    archive: Path | None  # the file that stands for its download

    def params(self, start: dict[str, Any]) -> dict[str, Any]:
        """Parameters for this corpus."""
        changes = [f"raw.checksum={checksum(self.archive)}"] if self.archive else []
        return changed(start, [*changes, f"corpus={self.name}"])

    def files(self) -> list[Path]:
        """The files that its rows depend on."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return files + ([self.archive] if self.archive else [])


class Clocks(NamedTuple):
    """The time, and the processor time of the processes that ended."""

    seconds: float
    processor_seconds: float

    @classmethod
    def now(cls) -> Self:
        """Both clocks."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(time.perf_counter(), ended.ru_utime + ended.ru_stime)

    def since(self, start: "Clocks") -> Result:
        """The seconds between two readings, by clock."""
        return {name: now - then for name, now, then in zip(self._fields, self, start, strict=True)}


def log(*values: object) -> None:
    """Prints progress on standard error."""
    print(*values, file=sys.stderr, flush=True)


def digest(texts: Sequence[str]) -> str:
    """What a result was made from, in a few letters."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()


def firth(corpus: Corpus, params: dict[str, Any], raw: Path) -> Result:
    """Runs the pipeline; keeps its output of the stage raw."""
    stages = list(read_yaml(ROOT / "dvc.yaml")["stages"])
    environment = {"FIRTH_MIRROR": str(corpus.archive)} if corpus.archive else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(corpus.folder, folder / "data/corpora" / corpus.name)
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        costs = [
            run_stage(stage, folder, corpus.name, **environment) for stage in stages[: stages.index(LAST) + 1]
        ]
        shutil.copy(folder / "data/raw.parquet", raw)
        correct = of_predictions(folder / "data/predictions.parquet", raw)
    seconds, megabytes = sum(cost.seconds for cost in costs), max(cost.megabytes for cost in costs)
    return {"correct": correct, "seconds": seconds, "megabytes": megabytes}


def of_predictions(predictions: Path, raw: Path) -> str:
    """For each test row of the stage raw, in its order: 1 if the prediction is correct, otherwise 0."""
    columns = pq.read_table(predictions, columns=["id", "label", "predicted"]).to_pydict()
    rows = zip(columns["id"], columns["label"], columns["predicted"], strict=True)
    correct = {name: str(int(label == predicted)) for name, label, predicted in rows}
    table = pq.read_table(raw, columns=["id", "split"])
    return "".join(correct[name] for name in table.filter(pc.field("split") == TEST)["id"].to_pylist())


def peer(name: str, raw: Path) -> Result:
    """Tunes and tests a peer in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out, start = Path(folder) / "result.json", Clocks.now()
        measured("benchmarks.suite_peers", name, raw, out, **MALLOC)
        return read_json(out) | Clocks.now().since(start)


def kept(path: Path, key: str, make: Callable[[], Result]) -> Result:
    """The result in a file, if it was made from the same `key`; otherwise makes and keeps it."""
    if path.exists() and (result := read_json(path))["key"] == key:
        return result
    write_json(path, make() | {"key": key})
    result = read_json(path)
    log(f"{path.parent.name}: {path.stem}, {result['seconds']:.0f} s, {accuracy(result):.2f} %")
    return result


def results_on(corpus: Corpus, models: Sequence[str], out: Path) -> dict[str, Result]:
    """The results of Firth, which runs first, and of other models."""
    folder = out / corpus.name
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for pattern in CODE for path in sorted(ROOT.glob(pattern))] + corpus.files()
    hashes = [sha256(path) for path in files]

    def run_firth(model: str, start: dict[str, Any], raw: Path) -> Result:
        params = corpus.params(start)
        key = digest([*hashes, yaml.safe_dump(params)])
        return kept(folder / f"{model}.json", key, partial(firth, corpus, params, raw))

    raw = folder / "raw.parquet"
    results = {FIRTH: run_firth(FIRTH, read_yaml(ROOT / "params.yaml"), raw)}
    if PRESET in models and (ROOT / f"presets/{corpus.name}.args").exists():
        results[PRESET] = run_firth(PRESET, preset(corpus.name), folder / "preset.parquet")
    key = digest([repr(read_rows(raw)), sha256(ROOT / PEER_CODE)])
    for name in models:
        if name in PEERS:
            results[name] = kept(folder / f"{name}.json", key, partial(peer, name, raw))
    return results


def accuracy(result: Result) -> float:
    """In percent."""
    correct: str = result["correct"]
    return 100 * correct.count("1") / len(correct)


def share(result: Result) -> str:
    """The accuracy and its interval.

    >>> share({"correct": "1" * 90 + "0" * 10})
    '90.00 (82.56 to 94.48)'
    """
    low, high = wilson(result["correct"].count("1"), len(result["correct"]))
    return f"{accuracy(result):.2f} ({100 * low:.2f} to {100 * high:.2f})"


def difference(result: Result, other: Result) -> str:
    """How many points a result is ahead of another on the same rows, and the interval.

    >>> difference({"correct": "1" * 100}, {"correct": "0" * 8 + "1" * 92})
    '+8.00 (+2.28 to +13.40)'
    """
    pairs = list(zip(result["correct"], other["correct"], strict=True))
    low, high = paired(pairs.count(("1", "0")), pairs.count(("0", "1")), len(pairs))
    return f"{accuracy(result) - accuracy(other):+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def best_peer(results: dict[str, Result]) -> str:
    """The peer with the highest accuracy on test."""
    return max((name for name in results if name in PEERS), key=lambda name: accuracy(results[name]))


def summary(results: Results) -> str:
    """The accuracies of every model on every corpus, their means, and how far Firth is ahead."""
    models = [FIRTH, *(name for name in PEERS if all(name in of for of in results.values()))]
    if models == [FIRTH]:
        return ""
    rows = []
    for corpus, of in results.items():
        best = best_peer(of)
        cells = [f"{accuracy(of[name]):.2f}" for name in models]
        rows.append([corpus, str(len(of[FIRTH]["correct"])), *cells, best, difference(of[FIRTH], of[best])])
    means = {name: mean(accuracy(of[name]) for of in results.values()) for name in models}
    single = max(models[1:], key=means.__getitem__)
    cells = [f"{value:.2f}" for value in means.values()]
    rows.append(["mean", "", *cells, single, f"{means[FIRTH] - means[single]:+.2f}"])
    leads = [accuracy(of[FIRTH]) - accuracy(of[best_peer(of)]) for of in results.values()]
    behind = sum(lead < -WITHIN for lead in leads)
    return "\n".join(
        [
            table(["", "test rows", *models, "best peer", "Firth's lead"], rows),
            "",
            f"- Firth's lead over each corpus's best peer: {mean(leads):+.2f} points on average;",
            f"  more than {WITHIN} points behind on {behind} of {len(leads)} corpora.",
        ]
    )


def details(results: Results) -> str:
    """A row for every corpus and model."""
    rows = [
        [
            f"{corpus}, {name}",
            share(result),
            f"{100 * result['validation']:.2f}" if "validation" in result else "",
            *(f"{result[key]:.1f}" if key in result else "" for key in SECONDS),
            result.get("chosen", ""),
        ]
        for corpus, of in results.items()
        for name, result in of.items()
    ]
    return table(["", "test accuracy", "validation", *SECONDS.values(), "chosen"], rows)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", type=Path, help="folder of corpora")
    parser.add_argument("--archive", type=Path, help="of IMDb")
    parser.add_argument("--sst2", type=Path, help="archive of SST-2")
    parser.add_argument("--corpus", nargs="+", metavar="NAME", help="only these; default: all that are given")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--presets", action="store_true", help="run the presets of IMDb and SST-2 as well")
    parser.add_argument(
        "--out", type=Path, default=Path(pooch.os_cache("firth")) / "suite", help="folder for the results"
    )
    options = parser.parse_args()
    options.corpora = [
        corpus for corpus in corpora(options) if not options.corpus or corpus.name in options.corpus
    ]
    if not options.corpora:
        parser.error("no corpus: --suite, --archive or --sst2 is needed, and --corpus must name one of them")
    return options


def corpora(options: argparse.Namespace) -> Iterator[Corpus]:
    """The corpora of the suite's folder, IMDb and SST-2, as far as they are given."""
    if options.suite:
        for source in sorted(options.suite.resolve().glob("*/source.yaml")):
            yield Corpus(source.parent.name, source.parent, None)
    for name, archive in (("imdb", options.archive), ("sst2", options.sst2)):
        if archive:
            yield Corpus(name, ROOT / "data/corpora" / name, archive.resolve())


def main() -> None:
    options = arguments()
    models = [*([PRESET] if options.presets else []), *options.peers]
    if "fastText" in models and not importlib.util.find_spec("fasttext"):
        log("fastText is not installed and is left out; python -m tools.extra bench installs it")
        models.remove("fastText")
    log(f"results are kept in {options.out}")
    results = {corpus.name: results_on(corpus, models, options.out) for corpus in options.corpora}
    print(f"Accuracies on test in %, with 95 % intervals; {processor()}\n\n{summary(results)}\n")
    print(details(results))


if __name__ == "__main__":
    main()
