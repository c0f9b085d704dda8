"""Checkpoints: the state of a long training in a file, so that a killed run can resume.

    .work/STAGE/KEY.lock               locked by the one process that trains with this key
    .work/STAGE/KEY/state.safetensors  the last checkpoint, removed when the training is finished

KEY is a hash of the parameters, the inputs and the code, so a run resumes only from its own checkpoint, and
experiments with other parameters train side by side. The file has the SHA-256 of its content.
"""

import hashlib
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stages.lib.files import atomic, work_folder
from stages.lib.processes import exclusive

INTERVAL = 20.0  # seconds between checkpoints, at least
COST_FACTOR = 20  # the interval is at least this multiple of the time that the last checkpoint took
PATIENCE = 0.5  # seconds before a wait for another process is announced
KEPT = 2  # checkpoints of other trainings that were killed; older ones are removed


class Checkpoint:
    """The saved state of a training: some tensors, and JSON with the position in it."""

    def __init__(self, folder: Path) -> None:
        """The file is `folder`/state.safetensors; it need not exist."""
        self.path = folder / "state.safetensors"
        self.next = time.monotonic() + INTERVAL

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last saved state, or None if there is none. A damaged file is renamed to *.damaged."""
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
            if metadata["sha256"] != checksum(tensors, metadata["state"]):
                raise ValueError("wrong checksum")
            return tensors, json.loads(metadata["state"])
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, ValueError):
            aside = self.path.replace(self.path.with_name(f"{self.path.name}.damaged"))
            print(
                f"{self.path}: damaged, renamed to {aside.name}; training starts from the beginning",
                file=sys.stderr,
            )
            return None

    def due(self) -> bool:
        """Whether the interval since the last checkpoint has passed."""
        return time.monotonic() >= self.next

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replaces the old checkpoint atomically."""
        start = time.monotonic()
        text = json.dumps(state)
        with atomic(self.path) as temporary:
            save_file(dict(tensors), temporary, {"state": text, "sha256": checksum(tensors, text)})
        end = time.monotonic()
        self.next = end + max(INTERVAL, COST_FACTOR * (end - start))


def checksum(tensors: Mapping[str, Tensor], state: str) -> str:
    """The SHA-256 of tensors, with their names, types and shapes, and of the position among the data."""
    digest = hashlib.sha256(state.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def checkpoint(stage: str, params: str, inputs: Sequence[Path]) -> Iterator[Checkpoint]:
    """The checkpoint of a stage with these parameters and input files; removed when the block succeeds.

    If another process trains with the same ones, this one waits until that ends.
    """
    folder = work_folder() / stage
    name = key(params, inputs)
    lock = folder / f"{name}.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(lock, PATIENCE))
        except BlockingIOError as error:
            process = str(error).partition(" is ")[0]
            print(f"{stage}: {process} trains with the same parameters; waiting for its end", file=sys.stderr)
            stack.enter_context(exclusive(lock, math.inf))
        remove_abandoned(folder, name)
        yield Checkpoint(folder / name)
        shutil.rmtree(folder / name, ignore_errors=True)


def remove_abandoned(folder: Path, name: str) -> None:
    """Removes the checkpoints of a stage that no process works on, but for `name` and the KEPT newest."""
    ages = {}
    for path in folder.glob("*/"):
        with suppress(FileNotFoundError):  # its training has just finished
            ages[path] = path.stat().st_mtime
    others = sorted(ages.keys() - {folder / name}, key=ages.__getitem__, reverse=True)
    locks = {folder / f"{path.name}.lock": path for path in others[KEPT:]}
    for lock in {*locks, *folder.glob("*.lock")} - {folder / f"{name}.lock"}:
        with suppress(BlockingIOError), exclusive(lock, 0) as locked:  # removes the lock, too
            if locked and lock in locks:
                shutil.rmtree(locks[lock], ignore_errors=True)
                print(
                    f"{locks[lock]}: checkpoint of a training that was not finished, removed", file=sys.stderr
                )


def key(params: str, inputs: Sequence[Path]) -> str:
    """A hash of the parameters, the contents of the inputs, the version of torch and the loaded code."""
    digest = hashlib.sha256(f"{params} torch {torch.__version__}".encode())
    code = [module.__file__ for name, module in sys.modules.items() if name.startswith("stages")]
    main = sys.modules["__main__"].__dict__.get("__file__")
    for path in [*sorted({file for file in [*code, main] if file}), *inputs]:
        with Path(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
