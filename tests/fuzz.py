"""Changes valid files of every kind at random and reads them: each is read or refused, and nothing else.

    make fuzz SECONDS=600
    python -m tests.fuzz --seconds 600 --only r.csv model.safetensors
    python -m tests.fuzz --replay .work/fuzz/3f2a-r.csv      # reads one file again

Two processes change the files of tests/odd_files.py: bits, bytes and numbers; pieces taken out, doubled, put
in from a list or from other files; inside a compressed file, too. A file whose refusal is new is changed
further. An input may take 4 GB more memory and 20 s of a processor. One that raises anything but a Refusal,
takes more, or kills its process is kept in --keep, and the command that reads it again is printed; of equal
failures the first is kept. The exit code is 1 if there is one. The same --seed gives the same inputs to a
reader, as long as no process is killed.
"""

import argparse
import contextlib
import faulthandler
import gzip
import hashlib
import io
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stages.check import read_sections
from stages.lib.checkpoint import Checkpoint
from stages.lib.command import Refusal
from stages.lib.corpora import Source, read_source
from stages.lib.files import read_labels
from stages.lib.folds import HeldOut
from stages.lib.model import Model
from stages.lib.ngram.model import NGramModel
from stages.lib.pairs import read_pairs
from stages.lib.readers import columns_of, reviews
from stages.lib.reviews import read_split
from stages.lib.tables import read_batches
from stages.lib.vectors import read_vectors
from stages.lib.word_model import ClassifierConfig, WordModel
from stages.lib.wordsets import read_wordset
from stages.raw import to_row
from stages.tokens import read_tokeniser
from tests.odd_files import FOLDERS, SEEDS
from tools import new
from tools.dvc_state import lock_of, rwlock_of
from tools.predict import lines_of

PROCESSES = 2
IN_MEMORY = "/dev/shm"  # a folder in which a file is written three times as fast
MEMORY, SECONDS = 4 << 30, 20  # that one input may take
TURN = 0.25  # seconds until the next kind of file has its turn
POOL = 300  # files of a kind that are changed further
LARGEST = 1 << 16  # bytes of such a file
COLUMNS = {"columns": {"text": "text", "label": "label"}}

ODD = [
    b"",
    b"\0",
    b"\xff",
    b"\xf0\x9f",
    b"-1",
    b"9" * 30,
    b"9" * 5000,
    b"nan",
    b'"',
    b"\t",
    b",",
    b"\n",
    b"[" * 3000,
]
TOKENS = [
    *ODD, b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc2\x85", b"\xe2\x80\xa8",
    b"\\ud83d", b"\\u0000", b"1e400", b"-0", b"0x10", b"1_000", b"infinity", b"2024-02-30", b"2024-01-01",
    b"null", b"true", b"{}", b"[]", b"{", b"}", b":", b": ", b'{"a":' * 1500, b"a" * 2000,
    b"- ", b"? ", b"&a ", b"*a", b"!!python/x ", b"!!int x", b"!!binary x", b"<<: *a", b"---", b"|", b">",
    b"%", b"'", b"''", b'""', b"=", b"~", b"../", b"C:", b"/", b"\\", b"utf-7", b"idna", b"undefined",
    b"\x7fELF", b"PK\x03\x04", b"\x1f\x8b", b"PAR1", b"<t>", b"</row>", b"&#0;", b"<![CDATA[", b"text",
    b"label", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0" * 512,
    b'"data_offsets":[0,99999999999]', b'"dtype":"BF16"', b'"dtype":"F64"',
]  # fmt: skip


def read(path: Path) -> None:
    """Reads a file as the stages and tools read one of its name."""
    name = path.name
    kind, _, ending = name.partition(".")
    if kind == "r":
        read_reviews(path)
    elif kind == "new":
        options = argparse.Namespace(text=None, label=None, split=None, id=None, group=None)
        new.as_yaml(new.describe(path, options))
    elif ending == "vec":
        read_vectors(path, {"the": 0, "of": 1}, np.zeros((2, 2), np.float32))
    else:
        READERS[name](path)


def read_reviews(path: Path) -> None:
    name = path.name
    encoding = {"r.utf-16.csv": "utf-16", "r.cp1252.csv": "cp1252"}.get(name, "utf-8")
    archive = ".tar" in name or name == "r.zip"
    kind: dict[str, Any] = {"folders": FOLDERS} if archive else COLUMNS.copy()
    if name == "r.members.zip":
        kind |= {"members": {"train": "train.csv", "test": "test.csv"}}
    source = Source.model_validate({"file": name, "encoding": encoding} | kind)
    for review in reviews(source, path):
        for part in to_row(review, "firth"):
            str(part).encode()  # as the database of `raw` does
    columns_of(source, path)


def read_table(path: Path) -> None:
    for batch in read_batches(path, ["text", "label", "tokens"], ["tokens.list.element"]):
        batch.to_pylist()


def read_tensors(path: Path) -> None:
    read_split(path, "train")
    ClassifierConfig.of_run(path, path, "mean")


def read_lines(path: Path) -> None:
    with path.open("rb") as file:
        for lines in lines_of(file):
            "".join(lines)


READERS: dict[str, Any] = {
    "lines.txt": read_lines,
    "table.parquet": read_table,
    "labels.json": read_labels,
    "tokeniser.json": lambda path: read_tokeniser(path).split(pl.DataFrame({"text": ["a good film 🙃", ""]})),
    "model.safetensors": Model.load,
    "classifier.safetensors": WordModel.from_classifier,
    "ngrams.safetensors": NGramModel.load,
    "held_out.safetensors": lambda path: HeldOut.load(path).there,
    "tensors.safetensors": read_tensors,
    "state.safetensors": lambda path: Checkpoint(path.parent).load(),
    "words.tsv": read_wordset,
    "pairs.csv": lambda path: read_pairs(path.parent, [path.name]),
    "params.yaml": read_sections,
    "source.yaml": lambda path: read_source(path.parent),
    "dvc.lock": lambda path: lock_of(path.read_bytes()),
    "rwlock": lambda path: rwlock_of(path.read_bytes()),
}

Edit = tuple[float, int, bytes]  # where in the file, how many bytes are taken out there, what is put in


def changed(content: bytes, edits: Sequence[Edit], name: str) -> bytes:
    """A file after some edits. The checksums of tar headers are corrected: a reader stops at a wrong one."""
    data = bytearray(content)
    for place, length, inserted in edits:
        at = int(place * len(data))
        data[at : at + length] = inserted
    return bytes(tar_sums(data) if ".tar" in name else data)


def tar_sums(data: bytearray) -> bytearray:
    """Corrects the checksum of each tar header, since a reader looks no further after a wrong one."""
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return data


def inside(content: bytes, name: str, rng: random.Random, pool: Sequence[bytes]) -> bytes | None:
    """A compressed file of which what is inside was changed, or None if it is none."""
    with contextlib.suppress(Exception):  # the file was damaged before
        if name.endswith(".gz"):
            unpacked = gzip.decompress(content)
            return gzip.compress(mutated(unpacked, name.removesuffix(".gz"), rng, [unpacked]), 1, mtime=0)
        if name.endswith((".zip", ".xlsx")):
            file = io.BytesIO()
            with zipfile.ZipFile(io.BytesIO(content)) as one, zipfile.ZipFile(file, "w") as other:
                chosen = rng.choice(one.namelist() or [""])
                for member in one.namelist():
                    part = one.read(member)
                    part = mutated(part, member, rng, [part]) if member == chosen else part
                    other.writestr(zipfile.ZipInfo(member), part)
            return file.getvalue()
        if name.endswith(".safetensors"):
            length = int.from_bytes(content[:8], "little")
            header, rest = content[8 : 8 + length], content[8 + length :]
            header = mutated(header, "header.json", rng, [header])
            return len(header).to_bytes(8, "little") + header + rest
    return None


def mutated(content: bytes, name: str, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    """A file after one to four random edits."""
    if rng.random() < 0.5 and (packed := inside(content, name, rng, pool)) is not None:
        return packed
    edits = [edit(content, rng, pool) for _ in range(rng.choice((1, 1, 1, 2, 3, 4)))]
    return changed(content, edits, name)


def edit(content: bytes, rng: random.Random, pool: Sequence[bytes]) -> Edit:
    """A random change of a file."""
    place, size = rng.random(), len(content)
    at = int(place * size)
    match rng.randrange(9):
        case 0:  # a bit
            return place, 1, bytes([byte ^ 1 << rng.randrange(8) for byte in content[at : at + 1]])
        case 1:
            return place, 1, rng.randbytes(1)
        case 2:
            return place, rng.randrange(1, 9), b""
        case 3:
            return place, rng.randrange(3), rng.choice(TOKENS)
        case 4:
            return place, 0, content[at : at + rng.randrange(1, 200)] * rng.choice((1, 1, 2, 50))
        case 5:  # a number
            value = rng.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, rng.getrandbits(32)))
            width = rng.choice((2, 4, 8))
            return place, width, (value % 256**width).to_bytes(width, rng.choice(("little", "big")))
        case 6:  # the end of another file
            other = rng.choice(pool)
            return place, size, other[int(rng.random() * len(other)) :]
        case 7 if rng.random() < 0.3:
            return place, size, b""  # cut
        case _:
            found = [m.start() for m in re.finditer(rb"\d+", content[at : at + 400])]
            start = at + (found[0] if found else 0)
            number = rng.choice((b"0", b"-1", b"1.5", b"1e999", b"99999999999999999999", b"", b"x"))
            return start / max(size, 1), 1, number


class Limits:
    """Ends the process if one input takes too much processor time; memory raises MemoryError."""

    def __init__(self, memory: int, seconds: float) -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self.seconds = seconds

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """One input."""
        signal.setitimer(signal.ITIMER_PROF, self.seconds)  # SIGPROF ends the process
        yield
        signal.setitimer(signal.ITIMER_PROF, 0)


def outcome_of(path: Path) -> tuple[str, BaseException | None]:
    """How reading a file ended: "" if it was read, the kind of refusal, or what it raised."""
    unraised: list[BaseException | None] = []  # by the end of a generator, say, which prints a traceback
    sys.unraisablehook = lambda one: unraised.append(one.exc_value)
    try:
        read(path)
    except Refusal as refusal:
        if unraised:
            return "", unraised[0]
        text = str(refusal).replace(str(path), "")
        return re.sub(r"'[^']*'|\"[^\"]*\"|[\d,]+|\[.*", "#", text)[:80], None
    except BaseException as error:  # a panic of Rust is no Exception
        return "", error
    return "", unraised[0] if unraised else None


def place_of(error: BaseException) -> str:
    """Where an error came from: its type and the last line of this repository."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    ours = [f for f in frames if "/stages/" in f.filename or "/tools/" in f.filename] or frames
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__} in {where}"


def report(key: str, what: str, content: bytes, name: str, folder: Path) -> None:
    """Saves a failing input and prints how to read it again, unless one with this key was saved before."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:8]}-{name}"
    with contextlib.suppress(FileExistsError), path.open("xb") as file:
        file.write(content)
        print(f"{name}: {key}: {what:.200}\n    python -m tests.fuzz --replay {path}", flush=True)


class Shared:
    """What each process counts: (process, kind of file). No two processes write to one number."""

    def __init__(self, names: Sequence[str]) -> None:
        self.inputs, self.refused, self.failed, self.kinds, self.slowest = (
            np.frombuffer(multiprocessing.RawArray("d", PROCESSES * len(names))).reshape(PROCESSES, -1)
            for _ in range(5)
        )

    def __str__(self) -> str:
        inputs, refused, failed = (int(part.sum()) for part in (self.inputs, self.refused, self.failed))
        return f"{inputs:,} inputs, {refused:,} refused, {failed:,} failed"


def work(
    number: int, names: Sequence[str], seed: str, end: float, shared: Shared, home: Path, kept: Path
) -> None:
    """Changes and reads files until the time is over. `home`/`number` has the file that is being read."""
    with Path(os.devnull).open("w", encoding="utf-8") as null:
        os.dup2(null.fileno(), 2)  # what readers warn of
    faulthandler.disable()
    rngs = [random.Random(f"{seed} {name}") for name in names]
    pools = [list(SEEDS[name]) for name in names]
    seen: set[tuple[str, str]] = set()
    limits = Limits(MEMORY, SECONDS)
    folder = home / str(number)
    while time.time() < end:
        for n, name in enumerate(names):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            path, rng = folder / name, rngs[n]
            next_kind = time.time() + TURN
            while time.time() < next_kind:
                content = mutated(rng.choice(rng.choice((SEEDS[name], pools[n]))), name, rng, pools[n])
                path.write_bytes(content)
                start = time.process_time()
                with limits.held():
                    outcome, error = outcome_of(path)
                taken = time.process_time() - start
                shared.inputs[number, n] += 1
                shared.slowest[number, n] = max(shared.slowest[number, n], taken)
                shared.refused[number, n] += bool(outcome)
                key = (name, place_of(error) if error else outcome)
                if key not in seen:
                    seen.add(key)
                    shared.kinds[number, n] += bool(outcome)
                    if error is None and len(content) <= LARGEST and len(pools[n]) < POOL:
                        pools[n].append(content)
                    if error is not None:
                        report(key[1], str(error), content, name, kept)
                shared.failed[number, n] += error is not None


def fuzz(names: Sequence[str], seconds: float, seed: int, kept: Path) -> bool:
    """Runs the processes until the time is over; prints a table, and returns whether nothing failed."""
    context = multiprocessing.get_context("fork")
    shared, end = Shared(names), time.time() + seconds
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if Path(IN_MEMORY).is_dir() else None) as home:
        running: dict[int, Any] = {}
        starts, shown = 0, time.time()
        while time.time() < end or running:
            for number in range(PROCESSES):
                process = running.get(number)
                if process is not None and not process.is_alive():
                    del running[number]
                    if process.exitcode:
                        for path in (Path(home) / str(number)).glob("*"):
                            report(f"exit code {process.exitcode}", "", path.read_bytes(), path.name, kept)
                            shared.failed[number, names.index(path.name)] += 1
                if number not in running and time.time() < end:
                    starts += 1
                    arguments = (number, names, f"{seed} {starts}", end, shared, Path(home), kept)
                    running[number] = context.Process(target=work, args=arguments)
                    running[number].start()
            time.sleep(0.2)
            if time.time() > shown + 30:
                shown = time.time()
                print(shared, flush=True)
    print(f"{table(names, shared)}\n{shared}, seed {seed}")
    return not shared.failed.any()


def table(names: Sequence[str], shared: Shared) -> str:
    """The counts of each kind of file, in Markdown."""
    lines = [
        "| file | inputs | refused | kinds of refusal | failed | slowest |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    counts = (shared.inputs.sum(0), shared.refused.sum(0), shared.kinds.max(0), shared.failed.sum(0))
    for name, slowest, *of_kind in zip(names, shared.slowest.max(0), *counts, strict=True):
        lines.append(f"| {' | '.join([name, *(f'{count:,.0f}' for count in of_kind)])} | {slowest:.2f} s |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        "fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=list(SEEDS), default=list(SEEDS))
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, default=Path(".work/fuzz"), help="for inputs that fail"
    )
    parser.add_argument("--replay", metavar="FILE", type=Path, help="read one of them, without limits")
    options = parser.parse_args(arguments)
    if options.replay is None:
        return 0 if fuzz(options.only, options.seconds, options.seed, options.keep) else 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / options.replay.name.partition("-")[2]
        shutil.copyfile(options.replay, path)
        try:
            read(path)
        except Refusal as refusal:
            print(f"refused: {refusal}")
        else:
            print("read")
    return 0


if __name__ == "__main__":
    sys.exit(main())
