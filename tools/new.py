"""Makes a corpus of a table of reviews, and says how to train on it.

    python -m tools.new reviews.csv
    python -m tools.new "https://example.org/reviews.jsonl.gz" --name shop --label stars
    python -m tools.new reviews.xlsx --run

Tables are .csv, .tsv, .jsonl, .json, .parquet and .xlsx, each also .gz, with any separator and encoding. The
columns are found by their contents. The table is copied to data/corpora/NAME, or referred to where it is
large; `dvc add` keeps it out of git, and lets queued experiments find it.
"""

import argparse
import contextlib
import io
import json
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import yaml

from stages import LABELLED, raw
from stages.lib import rows
from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.corpora import NAME_RULE, TABLES, is_corpus_name
from stages.lib.files import read_json, sha256, write_json
from stages.lib.inspection import quoted
from stages.lib.params import Loader
from stages.lib.resources import disk_is_full, writing
from stages.lib.terminal import printable
from tools.revisions import dvc
from tools.sniff import columns_of, encoding_of, separator_of, splits_in

CORPORA, PARAMS = Path("data/corpora"), Path("params.yaml")
INCLUDED = ("sample", "imdb", "sst2")
LARGE = 200_000_000  # bytes; a larger file is not copied
LONG = 100  # words in half of the texts, and
MANY = 3000  # train reviews, from which presets/long.args is better
SHOWN = 10  # labels
SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|"}


class Checked(NamedTuple):
    """What the stage `raw` makes of the corpus."""

    facts: dict[str, Any]  # its metrics
    labels: dict[str, Any]  # its data/labels.json
    words: float  # in half of the texts


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises Refusal if no corpus can be made of the table. Nothing is left of it then."""
    options = build_parser().parse_args(arguments)
    name = options.name or name_for(options.table)
    folder = CORPORA / name
    if not is_corpus_name(name) or name in INCLUDED:
        raise Refusal(f"--name: found {name!r}; use a name {NAME_RULE}, and none of {', '.join(INCLUDED)}")
    if folder.exists() and not options.replace:
        raise Refusal(f"{folder}: exists already; give another --name, or --replace it")
    CORPORA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CORPORA, prefix=".new-") as temporary:
        made = Path(temporary) / name
        made.mkdir()
        try:
            source, checked = make(options, made)
        except Refusal as refusal:  # name the file as it was given, and not the copy
            raise Refusal(str(refusal).replace(f"{made}/", "")) from None
        shutil.rmtree(folder, ignore_errors=True)
        made.replace(folder)
    print_corpus(folder, source, checked)
    add_to_dvc(folder)
    command = ["exp", "run", "-S", f"corpus={name}", *preset(checked)]
    print(f"\nto train and measure a model:\n  dvc {' '.join(command)}")
    if options.run:
        sys.stdout.flush()
        train(command)


def make(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Checked]:
    """Writes the table and source.yaml into a folder; returns the content of source.yaml, and the check."""
    table, location = bring(options.table, folder)
    source = describe(table, options) | location
    (folder / "source.yaml").write_text(as_yaml(source), encoding="utf-8")
    checked = check(folder)
    if (positive := checked.labels["positive"]) is not None:
        source["positive"] = positive
        (folder / "source.yaml").write_text(as_yaml(source), encoding="utf-8")
    return source, checked


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        "python -m tools.new", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", metavar="TABLE", help="a file, or the URL of one")
    parser.add_argument("--text", metavar="COLUMN", help="the column with the reviews")
    parser.add_argument("--label", metavar="COLUMN", help="the column with the labels")
    parser.add_argument("--split", metavar="COLUMN", help="the column that says train, validation or test")
    parser.add_argument("--id", metavar="COLUMN", help="the column with a name for each row")
    parser.add_argument("--group", metavar="COLUMN", help="accuracy is reported for each of its values")
    parser.add_argument("--name", help="of the corpus (default: that of the file)")
    parser.add_argument("--replace", action="store_true", help="replace the corpus of that name")
    parser.add_argument("--run", action="store_true", help="train and measure a model at once")
    return parser


def name_for(table: str) -> str:
    """The name of the corpus of a file or URL.

    >>> name_for("/home/me/Shop Reviews (2).csv.gz"), name_for("https://example.org/a.jsonl?raw=1")
    ('shop_reviews_2', 'a')
    """
    stem = PurePosixPath(table.partition("?")[0]).name.lower()
    for ending in sorted((*TABLES, ".txt", ".ndjson"), key=len, reverse=True):
        stem = stem.removesuffix(ending)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-") or "mine"


def file_name(table: str) -> str:
    """The name of a table in its folder, with an ending that says what it is. Raises Refusal if unknown."""
    name = PurePosixPath(table.partition("?")[0]).name
    packed = ".gz" if name.lower().endswith(".gz") else ""
    stem, _, ending = name.lower().removesuffix(".gz").rpartition(".")
    ending = {"ndjson": "jsonl", "txt": "csv", "tab": "tsv"}.get(ending, ending)
    if f".{ending}" not in TABLES:
        raise Refusal(
            f"{table}: found a file of the kind {name.rpartition('.')[2]!r}, expected one of "
            f"{', '.join(rows.TABLES)}, each also .gz; archives are described by hand (docs/own-data.md)"
        )
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', stem).strip('_') or 'reviews'}.{ending}{packed}"


def bring(table: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The table as a file, copied or downloaded unless it is large, and the keys of source.yaml for it."""
    name = file_name(table)
    if "://" in table:
        download(table, folder / name)
        return folder / name, {"origin": table, "file": name}
    path = Path(table).expanduser().absolute()
    if not path.is_file():
        raise Refusal(f"{table}: no such file")
    if path.stat().st_size > LARGE and path.name.lower().endswith(TABLES):
        return path, {"path": str(path), "checksum": f"sha256:{sha256(path)}"}
    shutil.copyfile(path, folder / name)
    return folder / name, {"file": name}


def download(url: str, path: Path) -> None:
    """Downloads a file. Raises Refusal if that fails."""
    import requests

    try:
        with requests.get(url, stream=True, timeout=60) as answer, writing(path), path.open("wb") as file:
            answer.raise_for_status()
            shutil.copyfileobj(answer.raw, file)
    except (requests.RequestException, OSError) as error:
        if disk_is_full(error):
            raise
        raise Refusal(
            f"cannot download {url}: {type(error).__name__}; download it by hand, and give the file"
        ) from None


def describe(table: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The keys of source.yaml that say how the table is read."""
    source: dict[str, Any] = {}
    kind = table.name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind in ("csv", "tsv", "jsonl"):
        encoding = encoding_of(table)
        if encoding != "utf-8":
            source["encoding"] = encoding
        if kind != "jsonl":
            separator = separator_of(table, encoding)
            if separator != {"csv": ",", "tsv": "\t"}[kind]:
                source["separator"] = separator
    dialect = rows.Dialect(source.get("encoding", "utf-8"), source.get("separator"))
    named = {key: getattr(options, key) for key in ("text", "label", "split", "id", "group")}
    with table.open("rb") as file:
        columns = columns_of(rows.read(file, table.name, table.name, dialect), named, table.name)
    source["columns"] = {
        key: value for key, value in columns._asdict().items() if value is not None and key != "others"
    }
    if columns.others:
        print(f"{quoted(columns.others)} could be the label too: choose by --label")
    if columns.split:
        with table.open("rb") as file:
            read = rows.read(file, table.name, table.name, dialect)
            values = dict.fromkeys(rows.text_of(row.get(columns.split)) for row in read)
        splits = splits_in([value for value in values if value is not None])
        source["splits"] = {value: split for value, split in splits.items() if value != split}
    return {key: value for key, value in source.items() if value}


def as_yaml(source: Mapping[str, Any]) -> str:
    """A source.yaml. Text that YAML 1.1 or 1.2 reads as something else is in quotation marks."""

    def scalar(text: str) -> str:
        plain = re.fullmatch(r"[A-Za-z_][\w./-]*", text) and all(
            yaml.load(text, loader) == text  # nosec B506  # both are safe
            for loader in (Loader, yaml.SafeLoader)
        )
        return text if plain else json.dumps(text, ensure_ascii=False)

    lines = ["# made by tools.new; origin and licence are for those who use this corpus after you"]
    for key, value in source.items():
        if isinstance(value, dict):
            lines += [f"{key}:", *(f"  {scalar(name)}: {scalar(item)}" for name, item in value.items())]
        else:
            lines.append(f"{key}: {scalar(value)}")
    return "\n".join(lines) + "\n"


def check(folder: Path) -> Checked:
    """What the stage `raw` makes of the corpus: it refuses what cannot be trained on, and warns."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        write_json(out / "check.json", {"corpus": folder.name})
        with contextlib.redirect_stderr(io.StringIO()):  # its warnings are in the metrics too
            paths = [out / name for name in ("check.json", "raw.parquet", "labels.json", "raw.json")]
            raw.main(PARAMS, paths[0], folder, *paths[1:])
        texts = pq.read_table(paths[1], columns=["text"])["text"].to_pylist()
        words = median(len(text.split()) for text in texts)
        return Checked(read_json(paths[3]), read_json(paths[2]), words)


def print_corpus(folder: Path, source: Mapping[str, Any], checked: Checked) -> None:
    """What was understood, and what is unusual."""
    facts, labels = checked.facts, checked.labels
    form = [source.get("encoding", "utf-8")]
    if separator := source.get("separator"):
        form.append(f"separated by {SEPARATOR_NAMES[separator]}")
    file = printable(source.get("file") or source["path"])
    print(f"{folder}/source.yaml: {file} ({', '.join(form)})")
    for key, column in source["columns"].items():
        print(f"  {key:<9} column {column!r}")
    for name in labels["labels"][:SHOWN]:
        count = sum(facts["labels"][split].get(name, 0) for split in LABELLED)
        print(f"  label     {name!r}, {count:,} rows")
    if len(labels["labels"]) > SHOWN:
        print(f"  ...       and {len(labels['labels']) - SHOWN} more labels")
    if labels["positive"] is not None:
        print(f"  positive  {labels['positive']!r}")
    if labels["order"] is not None:
        print(f"  order     {printable(' < '.join(labels['order']))}")
    print(
        f"  reviews   {', '.join(f'{split} {count:,}' for split, count in facts['reviews'].items() if count)}"
    )
    print(f"  length    {checked.words:,.0f} words in half of them")
    for sentence in facts["warnings"].values():
        print(f"warning: {sentence}")


def preset(checked: Checked) -> list[str]:
    """The arguments for `dvc exp run` that suit the texts."""
    if "no_spaces" in checked.facts["warnings"]:
        return ["-S", "tokens.unit=characters"]
    if checked.words >= LONG and checked.facts["reviews"]["train"] >= MANY:
        return ["$(cat presets/long.args)"]
    return []


def add_to_dvc(folder: Path) -> None:
    """Lets DVC keep the corpus, and git its .dvc file, which has a checksum and no texts."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # DVC calls deprecated functions
            repo.scm_context.quiet = True  # about `git add`, which the next line does
            repo.add(str(folder))
            repo.scm.add([f"{folder}.dvc"])
    except DvcException as error:
        print(f"warning: DVC does not keep it ({printable(str(error))}); queued experiments will not find it")


def train(command: Sequence[str]) -> None:
    """Runs an experiment, and says where the report is. Ends the process if it fails."""
    words: list[str] = []
    for word in command:
        preset_file = re.fullmatch(r"\$\(cat (.*)\)", word)
        words += Path(preset_file[1]).read_text(encoding="utf-8").split() if preset_file else [word]
    if dvc(*words):
        raise Refusal("the experiment failed, see above; nothing of the run before is lost")
    print("\nreport: metrics/report.html")


if __name__ == "__main__":
    with exit_on_refusal("new"):
        main()
