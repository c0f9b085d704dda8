"""Embeddings beside gensim: words a second, memory, and how well the vectors agree with people.

    make bench-embeddings TEXT=enwiki_100MB.txt.xz WORDSETS=wordsets

TEXT is a text of lower-case words, plain or .xz, such as text8. WORDSETS is a folder with the files
named in SIMILARITY (word, word, score) and ANALOGIES (four words a line). Both programs get the same
text in documents of DOCUMENT words, the same parameters and two threads, each its own default
learning rate. Words are raw corpus words times epochs. gensim's seconds are of the training alone,
Firth's of the whole stage, Python's start included.
"""

import argparse
import json
import lzma
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.stats import spearmanr

from benchmarks.measure import ROOT, measured, own_peak, processor, table
from stages.lib.tables import table_writer
from stages.tokens import SCHEMA

DOCUMENT = 1000  # words
GROUP = 1000  # documents a row group
ANALOGY_WORDS = 30_000  # the commonest words, among which an analogy's answer is sought
SIMILARITY = ("EN-WS-353-ALL.txt", "EN-SIMLEX-999.txt")
ANALOGIES = "questions-words-semantic.txt"

Vectors = NDArray[np.float32]
Run = tuple[float, float, list[str], Vectors]  # seconds, megabytes, words, vectors


def words_of(path: Path) -> list[str]:
    """The words of a text file."""
    data = path.read_bytes()
    return (lzma.decompress(data) if path.suffix == ".xz" else data).decode("utf-8").split()


def write_tokens(words: list[str], path: Path) -> None:
    """The text as the tokens stage would write it: unlabelled documents."""
    documents = [words[n : n + DOCUMENT] for n in range(0, len(words), DOCUMENT)]
    with table_writer(path, SCHEMA) as writer:
        for start in range(0, len(documents), GROUP):
            part = documents[start : start + GROUP]
            columns = [
                pa.array([str(start + n) for n in range(len(part))]),
                pa.nulls(len(part), pa.int32()),
                pa.array(["unlabelled"] * len(part)),
                pa.array(part, pa.list_(pa.string())),
            ]
            writer.write_batch(pa.record_batch(columns, SCHEMA))


def firth(folder: Path, changes: dict[str, object]) -> Run:
    """Runs vocabulary, ids and embeddings: seconds and megabytes of the last, words, vectors."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["vocabulary"] |= {"min_count": 5, "max_words": None}
    params["embeddings"] |= changes
    at = {
        name: folder / name
        for name in ("tokens.parquet", "vocabulary.parquet", "ids.parquet", "v.safetensors")
    }
    yaml_path, scrap = folder / "params.yaml", folder / "scrap.json"
    yaml_path.write_text(yaml.safe_dump(params), encoding="utf-8")
    tokens, vocabulary, ids, vectors = at.values()
    if not ids.exists():
        measured("stages.vocabulary", yaml_path, tokens, vocabulary, scrap)
        measured("stages.ids", yaml_path, tokens, vocabulary, ids, scrap)
    cost = measured("stages.embeddings", yaml_path, ids, vocabulary, vectors, scrap, folder / "loss.csv")
    import polars as pl

    names = pl.read_parquet(vocabulary)["token"].to_list()
    return cost.seconds, cost.megabytes, names[2:], load_file(vectors)["embeddings"][2:]


def gensim_peer(folder: Path, params: dict[str, object]) -> Run:
    """gensim's Word2Vec with the same parameters, in a process of its own."""
    out, names = folder / "gensim.npy", folder / "gensim.json"
    measured("benchmarks.embeddings", "--gensim", folder / "text.txt", json.dumps(params), out, names)
    facts = json.loads(names.read_text(encoding="utf-8"))
    return facts["seconds"], facts["megabytes"], facts["words"], np.load(out)


def train_gensim(text: str, params: str, out: str, names: str) -> None:
    """What the process of `gensim_peer` runs."""
    from gensim.models import Word2Vec

    p = json.loads(params)
    model = Word2Vec(
        vector_size=p["dim"], window=p["window"], min_count=5, sg=int(p["objective"] == "skipgram"),
        negative=p["negatives"], ns_exponent=p["noise_power"], sample=p["subsample"], alpha=0.025,
        seed=p["seed"], workers=2, sorted_vocab=1,
    )  # fmt: skip
    model.build_vocab(corpus_file=text)
    start = time.perf_counter()
    sentences = [line.split() for line in Path(text).read_text(encoding="utf-8").splitlines()]
    start = time.perf_counter()
    model.train(
        sentences, total_examples=model.corpus_count, total_words=model.corpus_total_words, epochs=p["epochs"]
    )
    seconds = time.perf_counter() - start
    np.save(out, model.wv.vectors)
    facts = {"seconds": seconds, "megabytes": own_peak(), "words": model.wv.index_to_key}
    Path(names).write_text(json.dumps(facts), encoding="utf-8")


def similarity(path: Path, number: dict[str, int], unit: Vectors) -> float:
    """Spearman's correlation of cosines with people's scores, over the pairs that are known."""
    cosines, scores = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        one, other, score = line.split("\t")
        if one.lower() in number and other.lower() in number:
            cosines.append(float(unit[number[one.lower()]] @ unit[number[other.lower()]]))
            scores.append(float(score))
    return float(spearmanr(cosines, scores).statistic)


def quadruples(path: Path, number: dict[str, int]) -> Iterator[list[int]]:
    """The analogies whose four words are among the commonest."""
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.lower().split()
        if not line.startswith(":") and all(number.get(w, ANALOGY_WORDS) < ANALOGY_WORDS for w in words):
            yield [number[w] for w in words]


def analogies(path: Path, number: dict[str, int], unit: Vectors) -> float:
    """The share of analogies a : b = c : d whose d is nearest to b - a + c (3CosAdd)."""
    common = unit[:ANALOGY_WORDS]
    rows = np.array(list(quadruples(path, number)))
    right = 0
    for a, b, c, d in (part.T for part in np.array_split(rows, max(1, len(rows) // 500))):
        scores = (common[b] - common[a] + common[c]) @ common.T
        for asked in (a, b, c):
            scores[np.arange(len(a)), asked] = -np.inf
        right += int((scores.argmax(1) == d).sum())
    return right / max(1, len(rows))


def quality(words: list[str], vectors: Vectors, wordsets: Path) -> list[float]:
    """WS-353, SimLex-999, analogies."""
    number = {word: n for n, word in enumerate(words)}
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return [
        *(similarity(wordsets / name, number, unit) for name in SIMILARITY),
        analogies(wordsets / ANALOGIES, number, unit),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path)
    parser.add_argument("wordsets", type=Path)
    parser.add_argument("--objectives", nargs="+", default=["skipgram", "cbow"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of Firth's embeddings")
    parser.add_argument("--without-gensim", action="store_true")
    options = parser.parse_args()
    words = words_of(options.text)
    changes = {k: yaml.safe_load(v) for k, _, v in (item.partition("=") for item in options.set)}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tokens(words, folder / "tokens.parquet")
        lines = (" ".join(words[n : n + DOCUMENT]) for n in range(0, len(words), DOCUMENT))
        (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
        for objective in options.objectives:
            params: dict[str, object] = {
                "objective": objective, "loss": "negative_sampling", "dim": 100, "window": 5, "negatives": 5,
                "noise_power": 0.75, "subsample": 1e-3, "epochs": options.epochs, "threads": 2,
            }  # fmt: skip
            programs: dict[str, Callable[[dict[str, object]], Run]] = {
                "Firth": lambda p: firth(folder, p | changes),
                "gensim": lambda p: gensim_peer(folder, p),
            }
            for program, run in programs.items():
                if program == "gensim" and options.without_gensim:
                    continue
                found = []
                for seed in options.seeds:
                    seconds, megabytes, names, vectors = run(params | {"seed": seed})
                    rate = len(words) * options.epochs / seconds
                    found.append(
                        [rate / 1000, seconds, megabytes, *quality(names, vectors, options.wordsets)]
                    )
                    print(objective, program, seed, found[-1], file=sys.stderr)
                cells = [f"{objective}, {program}"]
                for column, digits in zip(zip(*found, strict=True), (0, 0, 0, 3, 3, 3), strict=True):
                    spread = (max(column) - min(column)) / 2
                    cells.append(f"{statistics.median(column):.{digits}f} ± {spread:.{digits}f}")
                rows.append(cells)
    print(f"{len(words):,} words, {options.epochs} epochs, seeds {options.seeds}: median and half the range")
    print(processor(), "\n")
    print(table(["", "1000 words/s", "seconds", "MB", "WS-353", "SimLex-999", "analogies"], rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--gensim"]:
        train_gensim(*sys.argv[2:])
    else:
        main()
