"""Checkpoints: the state of a long training in a file, so that a killed run can resume.

    .work/STAGE/lock                   locked by the one process that runs the stage
    .work/STAGE/KEY/state.safetensors  the last checkpoint, removed when the training is finished

KEY is a hash of the parameters, the inputs and the code, so a run resumes only from its own checkpoint.
"""

import fcntl
import hashlib
import json
import os
import shutil
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

INTERVAL = 20.0  # seconds between checkpoints, at least
COST_FACTOR = 20  # the interval is at least this multiple of the time that the last checkpoint took


class Checkpoint:
    """The saved state of a training: some tensors, and JSON with the position in it."""

    def __init__(self, folder: Path) -> None:
        """The file is `folder`/state.safetensors; it need not exist."""
        self.path = folder / "state.safetensors"
        self.next = time.monotonic() + INTERVAL

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last saved state, or None if there is none or the file is damaged."""
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
                return tensors, json.loads((file.metadata() or {})["state"])
        except (FileNotFoundError, SafetensorError, KeyError, ValueError):
            return None

    def due(self) -> bool:
        """Whether the interval since the last checkpoint has passed."""
        return time.monotonic() >= self.next

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replaces the old checkpoint atomically."""
        start = time.monotonic()
        with atomic(self.path) as temporary:
            save_file(dict(tensors), temporary, {"state": json.dumps(state)})
        end = time.monotonic()
        self.next = end + max(INTERVAL, COST_FACTOR * (end - start))


@contextmanager
def checkpoint(stage: str, params: str, inputs: Sequence[Path]) -> Iterator[Checkpoint]:
    """The checkpoint of a stage with these parameters and input files; removed when the block succeeds.

    Raises Refusal if another process runs the same stage.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")) / ".work" / stage
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            process = lock.read().strip() or "?"
            raise Refusal(
                f"process {process} is running this stage; wait until it ends, or stop it"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        work = folder / key(params, inputs)
        yield Checkpoint(work)
        shutil.rmtree(work, ignore_errors=True)


def key(params: str, inputs: Sequence[Path]) -> str:
    """A hash of the parameters, the contents of the inputs, the version of torch and the loaded code."""
    digest = hashlib.sha256(f"{params} torch {torch.__version__}".encode())
    code = [module.__file__ for name, module in sys.modules.items() if name.startswith("stages")]
    main = sys.modules["__main__"].__dict__.get("__file__")
    for path in [*sorted({file for file in [*code, main] if file}), *inputs]:
        with Path(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
