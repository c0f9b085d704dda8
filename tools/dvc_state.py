"""DVC's own files, which a full disk or a kill may cut: dvc.lock, and those of processes in .dvc/tmp."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import yaml

from stages.lib.command import Refusal
from stages.lib.files import atomic, work_folder
from stages.lib.params import Loader
from stages.lib.processes import is_dead
from tools.interrupted import processes
from tools.revisions import LOCK, Yaml, git

RWLOCK = "rwlock"  # which process reads and writes which path
EXPERIMENTS = "exps/rwlock"  # the same of experiments
RUNS = "exps/run/*/*.run"  # DVC's description of an experiment that it started


def lock_of(content: bytes) -> Yaml | None:
    """What a dvc.lock describes, or None if DVC cannot read it."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        written = yaml.load(content.decode("utf-8"), Loader)  # nosec B506  # a SafeLoader
        lock: Yaml = COMPILED_LOCKFILE_SCHEMA(written)
    except (yaml.YAMLError, ValueError, Invalid, RecursionError):
        return None
    return lock


def rwlock_of(content: bytes) -> Yaml | None:
    """What DVC's lock of processes describes, or None if DVC cannot read it."""
    from dvc.rwlock import SCHEMA
    from voluptuous import Invalid

    try:
        lock: Yaml = SCHEMA(json.loads(content.decode("utf-8")))
    except (ValueError, Invalid, RecursionError):
        return None
    return lock


def run_of(content: bytes) -> Yaml | None:
    """What the file of an experiment describes, or None if DVC cannot read it."""
    try:
        described = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return described if isinstance(described, dict) else None


def faults(temporary: Path) -> list[Path]:
    """Which of these files DVC cannot read. `temporary` is its folder of temporary files."""
    readers = [(temporary / RWLOCK, rwlock_of), (temporary / EXPERIMENTS, rwlock_of), (LOCK, lock_of)]
    readers += [(path, run_of) for path in sorted(temporary.glob(RUNS))]
    return [path for path, read in readers if path.is_file() and read(path.read_bytes()) is None]


def require_idle(temporary: Path) -> None:
    """Raises Refusal if a process of DVC is running here."""
    rwlock = temporary / RWLOCK
    lock = (rwlock_of(rwlock.read_bytes()) if rwlock.is_file() else None) or {"write": {}, "read": {}}
    entries = [*lock["write"].values(), *(entry for entries in lock["read"].values() for entry in entries)]
    for entry in entries:
        try:
            os.kill(entry["pid"], 0)
        except ProcessLookupError:
            continue
        except PermissionError:  # it is another user's
            pass
        what = f"process {entry['pid']} ({entry['cmd']})"
        raise Refusal(f"{what} is running here; wait for its end, or stop it")
    for number in processes(temporary):
        if not is_dead(number):
            raise Refusal(f"process {number} runs an experiment here; wait for its end, or stop it")


def aside(path: Path) -> Path:
    """Moves a file to NAME.damaged, or NAME.damaged.2 and so on, so that nothing is lost."""
    names = [f"{path.name}.damaged", *(f"{path.name}.damaged.{n}" for n in range(2, 1000))]
    free = next(target for name in names if not (target := path.with_name(name)).exists())
    return path.rename(free)


def kept_lock() -> Path:
    """Where the dvc.lock of the last whole run is kept."""
    return work_folder() / LOCK.name


def keep_lock() -> None:
    """Keeps a copy of dvc.lock, for `restore`."""
    if not kept_lock().is_file() or kept_lock().read_bytes() != LOCK.read_bytes():
        with atomic(kept_lock()) as temporary:
            shutil.copyfile(LOCK, temporary)


def restore(path: Path) -> str:
    """Moves a damaged file of DVC aside, and replaces dvc.lock. Returns what was done."""
    moved = f"unreadable; moved to {aside(path)}"
    if path != LOCK:
        return moved
    committed = git("show", f"HEAD:./{LOCK}") or b""
    copy = kept_lock().read_bytes() if kept_lock().is_file() else b""
    known = [(lock, content) for content in (committed, copy) if (lock := lock_of(content)) is not None]
    if not known:
        return f"{moved}; there is no good copy"
    content = max(known, key=lambda one: outputs_here(one[0]))[1]  # the first, of equal ones
    with atomic(LOCK) as temporary:
        temporary.write_bytes(content)
    return f"{moved}, replaced by that of {'the last commit' if content == committed else kept_lock()}"


def outputs_here(lock: Yaml) -> int:
    """How many of the outputs in a dvc.lock are in this folder with the same bytes."""
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    count = 0
    for out in outs:
        if Path(out["path"]).is_file():
            with Path(out["path"]).open("rb") as file:
                count += hashlib.file_digest(file, "md5").hexdigest() == out.get("md5")
    return count
