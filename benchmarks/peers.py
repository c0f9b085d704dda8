"""The programs that Firth's embeddings are compared with, each run in its own process.

gensim's seconds are of its training only; it has read and counted the words before. It reads lists of
words in memory, or the file. With two workers, lists are faster for CBOW, not slower for skip-gram, and
need memory for the text.

fastText reads, counts and trains in one call. A run without epochs does everything but the training, so
its seconds are subtracted. Its Python function has no argument for the seed, but its table of defaults
has an entry. It splits a line of more than 1,024 words into several.

With fewer than ten threads fastText initialises only a tenth of its table's rows per thread and leaves the
others as they were in memory (facebookresearch/fastText#1061). These are mostly zeros; if not, training
ends in NaN. MALLOC makes them zeros, without cost in speed.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import measured, own_peak
from benchmarks.texts import LINES

MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 17)}  # bytes; larger blocks are new memory, which is zeros
END_OF_LINE = "</s>"  # which fastText counts as a word

Vectors = NDArray[np.float32]
Unknown = Callable[[str], Vectors | None]
Settings = dict[str, Any]  # the keys of Firth's embeddings, and min_count, feed


class Run(NamedTuple):
    """The cost and the result of one training."""

    seconds: float
    megabytes: float
    words: list[str]  # V, by decreasing frequency
    vectors: Vectors  # (V, D)
    unknown: Unknown  # returns the vector (D,) of another word, or None


def peer(program: str, folder: Path, settings: Settings, others: Sequence[str]) -> Run:
    """Trains a program on the text in `folder`; `others` are words that it may not know."""
    out = folder / program
    (folder / "others.json").write_text(json.dumps(list(others)), encoding="utf-8")
    measured("benchmarks.peers", program, folder, json.dumps(settings), out, **MALLOC)
    facts = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    unknown = dict(zip(facts["others"], np.load(out.with_suffix(".unknown.npy")), strict=True))
    vectors = np.load(out.with_suffix(".npy"))
    return Run(facts["seconds"], facts["megabytes"], facts["words"], vectors, unknown.get)


def train_gensim(text: Path, settings: Settings) -> Run:
    """Word2Vec with Firth's settings and its own learning rate. Unknown words have no vectors."""
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=settings["dim"], window=settings["window"], min_count=settings["min_count"],
        sg=int(settings["objective"] == "skipgram"), negative=settings["negatives"],
        ns_exponent=settings["noise_power"], sample=settings["subsample"], seed=settings["seed"],
        workers=settings["threads"],
    )  # fmt: skip
    model.build_vocab(corpus_file=str(text))
    feed: dict[str, Any] = {"corpus_file": str(text)}
    if settings["feed"] == "lists":
        feed = {"corpus_iterable": [line.split() for line in text.read_text(encoding="utf-8").splitlines()]}
    totals = {"total_examples": model.corpus_count, "total_words": model.corpus_total_words}
    start = time.perf_counter()
    model.train(**feed, **totals, epochs=settings["epochs"])
    seconds = time.perf_counter() - start
    return Run(seconds, own_peak(), model.wv.index_to_key, model.wv.vectors, lambda word: None)


def train_fasttext(text: Path, settings: Settings) -> Run:
    """fastText with Firth's settings and its own learning rate. Its noise_power is always 0.5."""
    import fasttext

    ngrams = settings["char_ngrams"] or {"min": 0, "max": 0, "buckets": 0}
    fasttext.FastText.unsupervised_default["seed"] = settings["seed"]

    def trained(epochs: int) -> tuple[float, Any]:
        start = time.perf_counter()
        model = fasttext.train_unsupervised(
            str(text), model=settings["objective"], dim=settings["dim"], ws=settings["window"],
            neg=settings["negatives"], t=settings["subsample"], epoch=epochs, thread=settings["threads"],
            minCount=settings["min_count"], minn=ngrams["min"], maxn=ngrams["max"], bucket=ngrams["buckets"],
            verbose=0,
        )  # fmt: skip
        return time.perf_counter() - start, model

    reading = trained(0)[0]
    seconds, model = trained(settings["epochs"])
    megabytes = own_peak()
    words = [word for word in model.words if word != END_OF_LINE]
    vectors = np.array([model.get_word_vector(word) for word in words])
    unknown = model.get_word_vector if settings["char_ngrams"] else lambda word: None
    return Run(seconds - reading, megabytes, words, vectors, unknown)


PROGRAMS = {"gensim": train_gensim, "fastText": train_fasttext}


def main(program: str, folder: str, settings: str, out: str) -> None:
    """Runs in the process that `peer` starts."""
    choices = json.loads(settings)
    others = json.loads((Path(folder) / "others.json").read_text(encoding="utf-8"))
    run = PROGRAMS[program](Path(folder) / LINES, choices)
    unknown = {word: vector for word in others if (vector := run.unknown(word)) is not None}
    np.save(f"{out}.npy", run.vectors)
    np.save(f"{out}.unknown.npy", np.array(list(unknown.values()), np.float32).reshape(-1, choices["dim"]))
    facts = {
        "seconds": run.seconds,
        "megabytes": run.megabytes,
        "words": run.words,
        "others": list(unknown),
    }
    Path(f"{out}.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
