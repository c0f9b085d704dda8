"""Long work that a kill cannot undo: what was learnt so far, kept in a file that is replaced whole.

    .work/STAGE/lock                   held by the one process that works on the stage
    .work/STAGE/KEY/state.safetensors  the last checkpoint, gone when the work is done

KEY tells checkpoints of other choices, inputs or code apart: a run only goes on from its own.
"""

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stages.lib.command import Refusal
from stages.lib.files import atomic

SECONDS = 20.0  # between checkpoints, at least
SHARE = 20  # and so many times what the last one took, so that large tables do not slow the work


class Checkpoint:
    """The state of a work in progress: some tensors, and JSON that says how far it is."""

    def __init__(self, folder: Path) -> None:
        """The checkpoint that lies, or will lie, in `folder`."""
        self.path = folder / "state.safetensors"
        self.next = time.monotonic() + SECONDS

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was saved last, or None where nothing was, or where a broken disk has cut it short."""
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
                return tensors, json.loads((file.metadata() or {})["state"])
        except (FileNotFoundError, SafetensorError, KeyError, ValueError):
            return None

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() >= self.next

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Puts a new checkpoint in the place of the old one, at once."""
        start = time.monotonic()
        with atomic(self.path) as temporary:
            save_file(dict(tensors), temporary, {"state": json.dumps(state)})
        end = time.monotonic()
        self.next = end + max(SECONDS, SHARE * (end - start))


@contextmanager
def checkpoint(stage: str, choices: str, inputs: Sequence[Path]) -> Iterator[Checkpoint]:
    """The checkpoint of a stage's work with these choices and input files; removed when it is done.

    Raises Refusal while another process works on the same stage.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")) / ".work" / stage
    folder.mkdir(parents=True, exist_ok=True)
    die_with_dvc()
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            other = lock.read().strip() or "?"
            raise Refusal(f"process {other} is at work on this stage; wait for its end, or stop it") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        mine = folder / key(choices, inputs)
        yield Checkpoint(mine)
        shutil.rmtree(mine, ignore_errors=True)


def key(choices: str, inputs: Sequence[Path]) -> str:
    """A name for work with these choices on these inputs by the code that runs now."""
    digest = hashlib.sha256(f"{choices} torch {torch.__version__}".encode())
    code = [module.__file__ for name, module in sys.modules.items() if name.startswith("stages")]
    main = sys.modules["__main__"].__dict__.get("__file__")
    for path in [*sorted({file for file in [*code, main] if file}), *inputs]:
        with Path(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def die_with_dvc() -> None:
    """Ends this process when DVC, which started it, is killed: else it would go on unseen, and write
    where the next run writes. Only Linux can do this; elsewhere the lock keeps the next run out."""
    if "DVC_ROOT" in os.environ and sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
