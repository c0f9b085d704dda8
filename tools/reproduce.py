"""Runs a revision again from nothing, and compares every output with its dvc.lock.

    python -m tools.reproduce                           # the last commit
    python -m tools.reproduce REV --keep DIR            # leaves the clone, its environment and outputs there
    python -m tools.reproduce REV --environment here    # with this interpreter's packages, if they are equal

A REV is a commit, branch or tag of git, or the name of an experiment. It is cloned into a private temporary
folder. The packages of its requirements.lock are installed there, and DVC runs all its stages with an empty
cache. Files that git does not have, such as a table of your own, are taken from this folder or its cache if
they are those in dvc.lock.

The first stage and output that differ are named, with the first differing byte or number. The version that
was recorded is in DVC's cache here or in git; otherwise only the hashes are compared. The exit code is 0 if
all outputs are equal, 1 if one differs or REV is not valid, 2 if the revision could not be run.
"""

import argparse
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.terminal import printable
from tools.difference import difference
from tools.revisions import LOCK, PARAMS, WORKSPACE, Revision, at, differing, find, flat, git
from tools.site_cache import make_private
from tools.verify import File, files_of, in_cache, md5_of, md5_of_bytes

PIPELINE, PACKAGES, CORPORA = Path("dvc.yaml"), Path("requirements.lock"), "data/corpora"
READY = ".venv/ready"  # the file that the Makefile's rule for the environment makes
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s\\;]+)(?!.*;)", re.MULTILINE)  # without a condition
RUNNING = re.compile(r"Running stage '(.+)':")
# Of another environment or repository.
LEFT_OUT = (
    "DVC_ROOT", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS",
    "MAKEFLAGS", "MAKELEVEL", "MFLAGS",
)  # fmt: skip
TAIL = 15  # lines of a command that failed


class CouldNotRun(Exception):
    """The revision could not be run, so nothing was compared."""


class Output(NamedTuple):
    """An output as the revision's dvc.lock has it."""

    stage: str
    path: str
    md5: str


def outputs_of(revision: Revision) -> list[Output]:
    """The outputs in the order of the pipeline. Raises Refusal if dvc.lock lacks a stage."""
    stages = at(revision.commit, PIPELINE, revision.name).get("stages", {})
    outputs = []
    for stage in stages:
        entries = [entry for name, entry in revision.stages.items() if name.partition("@")[0] == stage]
        if not entries:
            raise Refusal(
                f"{revision.name}: {LOCK} has no stage {stage}; expected a revision after `dvc repro`"
            )
        outs = [out for entry in entries for out in entry.get("outs", [])]
        outputs += [Output(stage, out["path"], out["md5"]) for out in outs]
    return outputs


def announce(text: str) -> None:
    """Prints a line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {printable(text)}", flush=True)


def environment(programs: Path) -> dict[str, str]:
    """The variables for commands in the clone; `programs` is the folder with its interpreter."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT and name[:4] != "GIT_"}
    for name in ("FIRTH_MIRROR", "FIRTH_CACHE"):  # a path may be relative to this folder
        if (value := kept.get(name)) and "://" not in value:
            kept[name] = str(Path(value).expanduser().absolute())
    return kept | {"PATH": f"{programs}{os.pathsep}{kept.get('PATH', os.defpath)}", "PYTHONUNBUFFERED": "1"}


def call(what: str, command: Sequence[str | Path], folder: Path, variables: Mapping[str, str]) -> None:
    """Runs a command and prints the stages that DVC runs in it. Raises CouldNotRun if it fails."""
    lines: list[str] = []
    with subprocess.Popen(
        list(map(str, command)),
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            lines = [*lines, line.rstrip()][-TAIL:]
            if matched := RUNNING.match(line):
                announce(f"run {matched[1]}")
    if process.returncode:
        print("\n".join(f"  {printable(line)}" for line in lines), file=sys.stderr)
        raise CouldNotRun(f"{what} failed with exit code {process.returncode}; its last lines are above")


def clone(revision: Revision, folder: Path) -> Path:
    """Clones the revision into a folder, without its outputs; returns where its project is in there."""
    top, inside = (
        (git("rev-parse", option) or b"").decode().strip() for option in ("--show-toplevel", "--show-prefix")
    )
    variables = environment(Path(sys.executable).parent)
    quiet = ["git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"]
    call("git clone", [*quiet, "clone", "--quiet", "--no-checkout", "--", top, folder], Path(), variables)
    call("git checkout", [*quiet, "checkout", "--quiet", "--detach", revision.commit], folder, variables)
    project = folder / inside
    for output in outputs_of(revision):
        (project / output.path).unlink(missing_ok=True)
    (project / LOCK).unlink()
    site = (project / ".dvc/tmp/site").absolute()
    make_private(site)
    own = f"[core]\n    site_cache_dir = {site}\n[cache]\n    dir = {(project / '.dvc/cache').absolute()}\n"
    (project / ".dvc/config.local").write_text(own, encoding="utf-8")
    return project


def bring(revision: Revision, project: Path) -> None:
    """Copies the inputs that git does not have into the clone, and says which others differ from dvc.lock.

    Raises CouldNotRun if the corpus is missing or another one.
    """
    for file in files_of(revision):
        if not file.stage and md5_of(project / file.path) != file.md5 and not copied(file, revision, project):
            raise CouldNotRun(
                f"{file.path}: neither in this folder nor in DVC's cache; `dvc pull` it, or restore it"
            )
    corpus = f"{CORPORA}/{revision.params.get('corpus')}"
    made = {output.path for output in outputs_of(revision)}
    entries = [dep for stage in revision.stages.values() for dep in stage.get("deps", []) if "md5" in dep]
    recorded = {dep["path"]: dep["md5"] for dep in entries if dep["path"] not in made}
    others = []
    for path, md5 in recorded.items():
        # The folder of all corpora has those of this user, too.
        if path == CORPORA or md5_of(project / path) == md5:
            continue
        tracked = (project / path).is_file()
        if not tracked and copied(File(Path(path), md5, "", True), revision, project):
            continue
        if path == corpus:
            state = "not the one" if Path(path).exists() else "missing, though it is"
            raise CouldNotRun(f"{path}: {state} in {revision.name}'s {LOCK}; put the files of that run there")
        others.append(path)
    others += changed_params(revision)
    if others:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} others" if len(others) > 3 else "")
        announce(f"note: {LOCK} was made with other versions of {shown}")


def changed_params(revision: Revision) -> list[str]:
    """The parameters that are not those in dvc.lock."""
    used = [stage.get("params", {}).get(str(PARAMS), {}) for stage in revision.stages.values()]
    then = {name: value for part in used for name, value in part.items()}
    return differing(flat(then), flat({name: revision.params.get(name) for name in then}))


def copied(file: File, revision: Revision, project: Path) -> bool:
    """Copies a file or folder into the clone from this folder, or from DVC's cache, if its hash is right."""
    target = project / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if md5_of(file.path) == file.md5:
        if file.path.is_dir():
            shutil.copytree(file.path, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(file.path, target)
        return True
    kept = in_cache(revision.cache, file.md5)
    if not kept.is_file() or md5_of_bytes(kept.read_bytes()) != file.md5.removesuffix(".dir"):
        return False
    if not file.md5.endswith(".dir"):
        shutil.copyfile(kept, target)
        return True
    members = [
        File(file.path / entry["relpath"], entry["md5"], "", True) for entry in json.loads(kept.read_bytes())
    ]
    missing = [member for member in members if not copied(member, revision, project)]
    return not missing


def require_same_packages(revision: Revision) -> None:
    """Raises Refusal unless the packages of the revision's lock are installed here."""
    for name, version in PIN.findall((git("show", f"{revision.commit}:./{PACKAGES}") or b"").decode()):
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "none"
        if installed.partition("+")[0] != version:  # 2.13.0+cpu is a build of 2.13.0
            raise Refusal(
                f"--environment here: {name} is {installed} here and {version} in "
                f"{revision.name}'s {PACKAGES}; leave the option out, and they are installed"
            )


def install(project: Path) -> Path:
    """Makes the environment of the clone by its own rule; returns the folder with its interpreter."""
    programs = (project / ".venv/bin").absolute()
    variables = environment(programs)
    makefile = project / "Makefile"
    if shutil.which("make") and makefile.is_file() and str(PACKAGES) in makefile.read_text(encoding="utf-8"):
        call("make", ["make", "--silent", READY, f"PYTHON={sys.executable}"], project, variables)
        return programs
    call("venv", [sys.executable, "-m", "venv", ".venv"], project, variables)
    pip: list[str | Path] = [
        programs / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--no-deps",
    ]
    call("pip", [*pip, "-r", PACKAGES], project, variables)
    return programs


def compare(revision: Revision, project: Path) -> bool:
    """Prints the first difference and the list of all; returns whether there is none."""
    outputs = outputs_of(revision)
    others = [output for output in outputs if md5_of(project / output.path) != output.md5]
    if not others:
        announce(f"equal: all {len(outputs)} outputs are those in the {LOCK} of {revision.name}")
        return True
    first, *rest = others
    made = project / first.path
    md5 = md5_of(made)
    reason = "it was not made" if md5 is None else f"MD5 {first.md5} recorded, {md5} made"
    with recorded(first, revision) as path:
        if path is None:
            reason += "; the recorded version is neither in DVC's cache nor in git"
        elif made.is_file():
            reason = f"{difference(path, made, first.path)} ({reason})"
    announce(f"differs: {first.stage}: {first.path}: {reason}")
    for output in rest:
        announce(f"  also: {output.stage}: {output.path}")
    announce(f"{len(others)} of {len(outputs)} outputs differ from the {LOCK} of {revision.name}")
    return False


@contextmanager
def recorded(output: Output, revision: Revision) -> Iterator[Path | None]:
    """A file with the version of an output that the revision recorded, or None."""
    kept = in_cache(revision.cache, output.md5)
    if md5_of(kept) == output.md5:
        yield kept
        return
    content = git("show", f"{revision.commit}:./{output.path}") or b""
    if md5_of_bytes(content) != output.md5:
        yield None
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def note_uncommitted(revision: Revision) -> None:
    """Says that uncommitted changes are not part of the last commit."""
    if (git("rev-parse", "HEAD") or b"").decode().strip() == revision.commit and (
        git("status", "--porcelain") or b""
    ):
        lines = (git("status", "--porcelain", "-z") or b"").decode("utf-8", "replace").split("\0")
        names = [line[3:] for line in lines if line[2:3] == " "]
        more = f" and {len(names) - 3} others" if len(names) > 3 else ""
        announce(f"note: uncommitted changes are not part of {revision.name}: {', '.join(names[:3])}{more}")


def reproduce(revision: Revision, folder: Path, here: bool) -> bool:
    """Runs a revision in a folder, and returns whether all its outputs are equal."""
    announce(f"clone {revision.name} ({revision.commit[:7]}) into {folder}")
    project = clone(revision, folder)
    bring(revision, project)
    if here:
        programs = Path(sys.executable).parent
    else:
        announce(f"install the packages of {PACKAGES}")
        programs = install(project)
    python = sys.executable if here else programs / "python"
    call("dvc repro", [python, "-m", "dvc", "repro", "--force"], project, environment(programs))
    return compare(revision, project)


@contextmanager
def private_folder(keep: Path | None) -> Iterator[Path]:
    """The folder for the clone: `keep`, which must be new or empty, or a temporary one."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="firth-reproduce-") as folder:
            yield Path(folder)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise Refusal(f"--keep {keep}: exists already; name a new folder, or an empty one")
    keep.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep.chmod(0o700)
    yield keep


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code. Raises Refusal on a revision that cannot be compared."""
    parser = argparse.ArgumentParser(
        "reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", metavar="REV", nargs="?", default="HEAD")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="clone into this folder, and leave it")
    parser.add_argument(
        "--environment", choices=["new", "here"], default="new", help="the packages that are used"
    )
    options = parser.parse_args(arguments)
    if options.revision == WORKSPACE:
        raise Refusal(f"found {WORKSPACE}; expected a commit, since what is not committed cannot be cloned")
    (revision,) = find([options.revision])
    outputs_of(revision)
    if options.environment == "here":
        require_same_packages(revision)
    note_uncommitted(revision)
    with private_folder(options.keep) as folder:
        try:
            return 0 if reproduce(revision, folder, options.environment == "here") else 1
        except (CouldNotRun, OSError) as error:
            print(f"reproduce: {printable(str(error))}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    with exit_on_refusal("reproduce"):
        sys.exit(main())
