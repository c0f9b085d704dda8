"""The programs that Firth's embeddings are measured beside, each run in a process of its own.

gensim's seconds are of its training alone: reading and counting the words come before. It is fed
lists of words held in memory, or the file itself; with two workers lists are faster for CBOW, no
slower for skip-gram, and cost the memory of the text.

fastText reads, counts and trains in one call. A run of no epochs does all but the training, so its
seconds are taken off. Its Python function takes no seed, but its table of defaults holds one. A line
of more than 1,024 words is several to it.

Where fastText trains with fewer than ten threads it gives a tenth of its table's rows a random start
for each thread and leaves the others as the memory was (facebookresearch/fastText#1061). That is
mostly zeros, and where it is not the training ends in NaN. MALLOC makes it zeros, and no slower.
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

MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 17)}  # bytes from which memory is taken afresh, so zeros
END_OF_LINE = "</s>"  # a word to fastText

Vectors = NDArray[np.float32]
Unknown = Callable[[str], Vectors | None]
Settings = dict[str, Any]  # the keys of Firth's embeddings, and min_count, feed


class Run(NamedTuple):
    """What one training took and made."""

    seconds: float
    megabytes: float
    words: list[str]  # V, the commonest first
    vectors: Vectors  # (V, D)
    unknown: Unknown  # the vector (D,) of a word that is not among them, or None


def peer(program: str, folder: Path, settings: Settings, asked: Sequence[str]) -> Run:
    """Trains a program on the text in `folder`; `asked` are words that may be unknown to it."""
    out = folder / program
    (folder / "asked.json").write_text(json.dumps(list(asked)), encoding="utf-8")
    measured("benchmarks.peers", program, folder, json.dumps(settings), out, **MALLOC)
    facts = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    unknown = dict(zip(facts["asked"], np.load(out.with_suffix(".unknown.npy")), strict=True))
    vectors = np.load(out.with_suffix(".npy"))
    return Run(facts["seconds"], facts["megabytes"], facts["words"], vectors, unknown.get)


def train_gensim(text: Path, settings: Settings) -> Run:
    """Word2Vec with Firth's settings and its own learning rate. It has nothing for unknown words."""
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
    """fastText with Firth's settings and its own learning rate. Its noise_power is 0.5 and fixed."""
    import fasttext

    pieces = settings["subwords"] or {"min": 0, "max": 0, "buckets": 0}
    fasttext.FastText.unsupervised_default["seed"] = settings["seed"]

    def trained(epochs: int) -> tuple[float, Any]:
        start = time.perf_counter()
        model = fasttext.train_unsupervised(
            str(text), model=settings["objective"], dim=settings["dim"], ws=settings["window"],
            neg=settings["negatives"], t=settings["subsample"], epoch=epochs, thread=settings["threads"],
            minCount=settings["min_count"], minn=pieces["min"], maxn=pieces["max"], bucket=pieces["buckets"],
            verbose=0,
        )  # fmt: skip
        return time.perf_counter() - start, model

    reading = trained(0)[0]
    seconds, model = trained(settings["epochs"])
    megabytes = own_peak()
    words = [word for word in model.words if word != END_OF_LINE]
    vectors = np.array([model.get_word_vector(word) for word in words])
    unknown = model.get_word_vector if settings["subwords"] else lambda word: None
    return Run(seconds - reading, megabytes, words, vectors, unknown)


PROGRAMS = {"gensim": train_gensim, "fastText": train_fasttext}


def main(program: str, folder: str, settings: str, out: str) -> None:
    """What the process that `peer` starts runs."""
    choices = json.loads(settings)
    asked = json.loads((Path(folder) / "asked.json").read_text(encoding="utf-8"))
    run = PROGRAMS[program](Path(folder) / LINES, choices)
    found = {word: vector for word in asked if (vector := run.unknown(word)) is not None}
    np.save(f"{out}.npy", run.vectors)
    np.save(f"{out}.unknown.npy", np.array(list(found.values()), np.float32).reshape(-1, choices["dim"]))
    facts = {
        "seconds": run.seconds,
        "megabytes": run.megabytes,
        "words": run.words,
        "asked": list(found),
    }
    Path(f"{out}.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
