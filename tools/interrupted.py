"""An experiment that was killed: HEAD without its branch, and uncommitted changes out of sight.

`dvc exp run` moves uncommitted changes to git's stash, detaches HEAD, applies them with the parameters of the
experiment, puts the result into a stash of its own, and brings the changes back. Then it detaches HEAD again,
applies its own stash, which it names EXEC_MERGE, and runs the stages. So at any moment all changes are in
the folder, in git's stash or in EXEC_MERGE. If it is killed, they stay there.
"""

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from stages.lib.processes import is_dead
from tools import revisions

MERGE, EXPERIMENT_HEAD = "refs/exps/exec/EXEC_MERGE", "refs/exps/exec/EXEC_HEAD"
EXECUTION = "refs/exps/exec"
QUEUE, STASH = "refs/exps/stash", "refs/stash"
LEFT = re.compile(r"checkout: moving from (\S+) to [0-9a-f]{40}")
BY_DVC = ("commit: dvc: commit experiment", "dvc: Restore HEAD")
LOCKS = ("*.lock", "refs/**/*.lock", "logs/**/*.lock")
ARGUMENTS = ".dvc/tmp/"  # DVC adds a file with its arguments to the commit


class Interrupted(NamedTuple):
    """What a killed `dvc exp run` has left."""

    branch: str  # which HEAD has left; empty if it is on one
    saved: str  # the commit of a stash that has the uncommitted changes; empty if they are in the folder
    ran: bool  # whether the stages were to run already, with the changes in the folder

    @property
    def line(self) -> str:
        """What is wrong."""
        where = "the experiment is still queued, or git is locked"
        if self.saved:
            where = "uncommitted changes may be in a stash alone"
        if self.branch:
            where = f"HEAD is detached from {self.branch}"
        return f"`dvc exp run` was killed: {where}"


def git(*arguments: str) -> str:
    """The text that a command of git printed; empty if it failed."""
    return os.fsdecode(revisions.git(*arguments) or b"").removesuffix("\n")


def commit_of(name: str) -> str:
    """The commit that a reference names; empty if there is none."""
    return git("rev-parse", "--verify", "--quiet", name)


def processes(temporary: Path) -> list[int]:
    """The processes that run an experiment here, or did so until they were killed."""
    numbers = []
    rwlock = temporary / "exps/rwlock"
    for path in (rwlock, temporary / "exps/run/workspace/workspace.json"):
        try:
            content = json.loads(path.read_bytes())
            entries = content.get("write", {}).values() if path == rwlock else [content]
            numbers += [entry["pid"] for entry in entries]
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            continue
    return numbers


def interrupted(temporary: Path) -> Interrupted | None:
    """What a killed experiment has left, if it is so. `temporary` is DVC's folder of temporary files."""
    if not all(is_dead(number) for number in processes(temporary)):
        return None
    merge, queued = commit_of(MERGE), commit_of(QUEUE)
    branch = branch_left() if not git("symbolic-ref", "--quiet", "HEAD") else ""
    killed_at = writes(temporary)
    if "workspace" in killed_at and (stash := stash_of_experiment(temporary)):
        return Interrupted(branch, stash, ran=False)
    is_current = merge and commit_of(EXPERIMENT_HEAD) == commit_of("HEAD")
    if merge and (branch or (is_current and unapplied(merge))):
        return Interrupted(branch, merge, ran=EXECUTION not in killed_at)
    committed = git("reflog", "-1", "--format=%gs", "HEAD").startswith(BY_DVC)
    if queued or (branch and (committed or killed_at)) or (processes(temporary) and locks()):
        return Interrupted(branch, "", ran=True)
    return None


def locks() -> list[Path]:
    """The locks of git that DVC may have left."""
    folder = Path(git("rev-parse", "--absolute-git-dir") or ".git")
    return [lock for pattern in LOCKS for lock in folder.glob(pattern)]


def branch_left() -> str:
    """The branch that HEAD was on before DVC detached it; empty if it was on none."""
    for message in git("reflog", "-9", "--format=%gs", "HEAD").splitlines():
        if left := LEFT.fullmatch(message):
            return left[1] if commit_of(f"refs/heads/{left[1]}") else ""
        if not message.startswith(BY_DVC):
            return ""
    return ""


def writes(temporary: Path) -> list[str]:
    """What DVC was changing when it was killed: the workspace, or the references of an experiment."""
    try:
        return list(json.loads((temporary / "exps/rwlock").read_bytes()).get("write", {}))
    except (OSError, ValueError, AttributeError):
        return []


def stash_of_experiment(temporary: Path) -> str:
    """The newest stash of git, if DVC has made it for an experiment; otherwise empty."""
    made, _, commit = git("log", "-1", "--format=%ct %H", STASH, "--").partition(" ")
    return commit if made and int(made) >= int((temporary / "exps/rwlock").stat().st_mtime) else ""


def different(saved: str) -> list[str]:
    """The files that are not in the folder as a stash has them."""
    names = git("diff", "--name-only", "-z", saved, "--").split("\0")
    return [name for name in names if name and not name.startswith(ARGUMENTS)]


def unapplied(saved: str) -> list[str]:
    """The files that a stash changes and that are not in the folder as it has them."""
    names = git("diff", "--name-only", "-z", f"{saved}^1", saved, "--").split("\0")
    return [name for name in different(saved) if name in names]


def resume(state: Interrupted, temporary: Path) -> str:
    """Returns HEAD to its branch and the uncommitted changes to the folder. Returns what was done."""
    for lock in locks():
        lock.unlink()
    if state.branch:
        git("symbolic-ref", "-m", "Return from a killed experiment", "HEAD", f"refs/heads/{state.branch}")
    git("reset", "--quiet")
    in_folder = git("stash", "create", "The folder after a killed experiment")
    done, stashes = [], []
    if state.saved and not state.ran:
        if in_folder and different(state.saved):
            stashes.append((in_folder, "The folder after a killed experiment"))
        git("reset", "--quiet", "--hard")
        applied = git("stash", "apply", "--index", state.saved)
        git("reset", "--quiet", "--", ARGUMENTS)
        if applied and commit_of(STASH) == state.saved:
            git("stash", "drop", "--quiet")
    elif state.saved:
        # A file that is missing, or as in the last commit, was not reached yet. Others may be of the stages.
        for name in unapplied(state.saved):
            if not os.path.lexists(name) or not git("diff", "--name-only", "HEAD", "--", name):
                git("restore", f"--source={state.saved}", "--", name)
        if unapplied(state.saved):
            stashes.append((state.saved, "Uncommitted changes before a killed experiment"))
    for commit, message in stashes:
        git("stash", "store", "--message", message, commit)
        done.append(f"`git stash show -p` has: {message}")
    for name in (MERGE, MERGE.replace("MERGE", "BASELINE"), MERGE.replace("MERGE", "BRANCH"), QUEUE):
        git("update-ref", "--no-deref", "-d", name)
    (temporary / "exps/rwlock").unlink(missing_ok=True)
    where = f"HEAD is on {state.branch} again" if state.branch else "HEAD is as it was"
    return "; ".join([where, "uncommitted changes are in the folder", *done])
