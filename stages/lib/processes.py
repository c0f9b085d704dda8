"""The processes around a stage: DVC, which started it, and others that run the same stage.

If DVC alone is killed, a stage that went on would replace the files of the next run. So the stage ends with
DVC, and `files.atomic` calls `require_dvc` before it replaces a file. DVC starts a stage through a shell,
which either becomes the stage or waits for it, so DVC is its parent or its grandparent.

A stage that is started by hand depends on no other process.
"""

import ctypes
import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from psutil import Process

LOCKS = Path(".work/locks")  # in the folder of dvc.yaml, so experiments in other folders run side by side
PATIENCE = 5.0  # seconds that a stage waits for another one, which may be about to end
INTERVAL = 0.1  # seconds between two looks at another process

_dvc: "Process | None" = None  # set by watch_dvc


def watch_dvc() -> None:
    """Ends this process with DVC, if DVC started it. Raises ProcessLookupError if DVC has ended already."""
    global _dvc
    if "DVC_STAGE" not in os.environ:
        return
    if sys.platform == "linux":
        # SIGKILL, because a library cannot catch it. The kernel sends it when the parent ends.
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    _dvc = dvc_process()
    if _dvc is None:
        raise ProcessLookupError("DVC ended before this stage began; nothing was written, run `dvc repro`")
    if _dvc.pid != os.getppid() or sys.platform != "linux":
        threading.Thread(target=_end_with_dvc, daemon=True).start()


def dvc_process() -> "Process | None":
    """DVC: the closest ancestor that has no environment variable with this stage's name.

    A process whose parents have ended belongs to init or to another distant ancestor, which is in another
    process group; then this is None.
    """
    import psutil  # only a stage that DVC runs needs it

    for ancestor in psutil.Process().parents():
        try:
            stage = ancestor.environ().get("DVC_STAGE")
        except (psutil.Error, OSError):
            stage = None
        if stage != os.environ["DVC_STAGE"]:
            try:
                return ancestor if os.getpgid(ancestor.pid) == os.getpgrp() else None
            except ProcessLookupError:
                return None
    return None


def dvc_has_ended() -> bool:
    """Whether DVC started this stage and has ended since."""
    if _dvc is None:
        return False
    import psutil

    try:
        return not _dvc.is_running() or _dvc.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def require_dvc(path: Path) -> None:
    """Raises ProcessLookupError, which names the output, if DVC has ended since it started this stage."""
    if dvc_has_ended():
        raise ProcessLookupError(f"{path}: not written, because DVC has ended; run `dvc repro`")


def _end_with_dvc() -> None:
    while not dvc_has_ended():
        time.sleep(INTERVAL)
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def only_run(stage: str, output: Path = Path()) -> Iterator[None]:
    """Keeps another process from running the same stage in this folder for the same output.

    Raises BlockingIOError, which names the other process, if that does not end within PATIENCE.
    """
    absolute = output.parent.resolve() / output.name
    name = hashlib.sha256(os.fsencode(absolute)).hexdigest()[:16]
    with exclusive(LOCKS / f"{stage}-{name}", PATIENCE):
        yield


@contextmanager
def exclusive(path: Path, seconds: float) -> Iterator[bool]:
    """Holds a lock on the file `path`, which the kernel releases when this process ends, however it ends.

    Raises BlockingIOError, which names the other process, if that holds the lock for longer than `seconds`.
    Where files cannot be locked, as in a folder that is read-only, the block runs without a lock and receives
    False.
    """
    end = time.monotonic() + seconds
    file = None
    while True:
        try:
            file = _locked(path)
            break
        except BlockingIOError:
            if time.monotonic() >= end:
                raise
            time.sleep(INTERVAL)
        except OSError:  # read-only, or a file system without locks
            break
    try:
        yield file is not None
    finally:
        if file is not None:
            path.unlink(missing_ok=True)
            file.close()


def _locked(path: Path) -> IO[str]:
    """The open file `path`, locked, with the number of this process in it."""
    import fcntl  # imported here because tools that need no lock also run where there is no fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise BlockingIOError("the other process has just ended, and removed this file")
        with suppress(OSError):  # on a full disk the lock holds without the number
            file.truncate(0)
            os.write(file.fileno(), b"%d\n" % os.getpid())
    except BlockingIOError:
        file.seek(0)
        process = file.read().strip() or "?"
        file.close()
        raise BlockingIOError(
            f"process {process} is running this stage; wait until it ends, or stop it"
        ) from None
    except OSError:
        file.close()
        raise
    return file


def is_dead(pid: int) -> bool:
    """Whether no process has this number, or one that has ended and whose parent has not noticed yet."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OSError):  # another user's
        return False
