"""Compares every output and every file in DVC's cache with the hashes in dvc.lock, and repairs what differs.

    python -m tools.verify              # the outputs in this folder, and all of the cache
    python -m tools.verify --repair
    python -m tools.verify REV          # the outputs of a commit, branch, tag or experiment

DVC believes a file that has the size and time that it remembers, and a file in its cache that is read-only.
So damage by a failing disk, a crash of the machine or a bad copy is not seen by `dvc status`. Here every file
is read. Each damaged or missing file is one line; the exit code is 0 if none is left, otherwise 1.

--repair copies a damaged output from the cache, and a damaged file of the cache from the outputs. Of what is
right in neither place, the damaged file is removed and the stage is run again. Data of a .dvc file is moved
to NAME.damaged before it is replaced. Files that DVC does not list are not touched.

DVC's own files are checked first, and alone with --state. With --repair an unreadable file in .dvc/tmp is
moved aside. An unreadable dvc.lock is moved to dvc.lock.damaged, and replaced by that of the last commit or
of the last run of `make repro` in this folder, whichever describes more of the outputs that are here. After
a killed `dvc exp run`, HEAD returns to its branch, and uncommitted changes to the folder.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.files import atomic
from stages.lib.params import Loader, read_yaml
from tools.dvc_state import aside, faults, keep_lock, require_idle, restore
from tools.interrupted import interrupted, resume
from tools.revisions import LOCK, WORKSPACE, Revision, Yaml, dvc, find, git

PIPELINE = Path("dvc.yaml")
HASH = re.compile(r"[0-9a-f]{32}")
REPAIR = "run `python -m tools.verify --repair`"


class File(NamedTuple):
    """A file that DVC keeps."""

    path: Path
    md5: str  # of a folder: that of its listing, and ".dir"
    stage: str  # that makes it; empty if it is the data of a .dvc file
    cached: bool


class State(NamedTuple):
    """Where a file is right: both are "right", "damaged" or "missing"."""

    file: File
    here: str  # in this folder; empty if it has a file of another run
    kept: str  # in DVC's cache

    @property
    def line(self) -> str:
        """What is wrong."""
        parts = [] if self.here in ("right", "") else [self.here]
        parts += [] if self.kept == "right" else [f"{self.kept} in DVC's cache"]
        return f"{self.file.path}: {', '.join(parts)}"


def md5_of_bytes(content: bytes) -> str:
    """The MD5 by which DVC names content. It finds damage, and no attack."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def md5_of(path: Path) -> str | None:
    """The MD5 of a file; of a folder, that of its listing in DVC's form. None if there is nothing."""
    if path.is_dir():
        return md5_of_bytes(listing_of(path)) + ".dir"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def listing_of(folder: Path) -> bytes:
    """The names and hashes of a folder's files, as DVC writes them into its cache."""
    paths = {str(path.relative_to(folder).as_posix()): path for path in folder.rglob("*") if path.is_file()}
    entries = [{"md5": md5_of(paths[name]), "relpath": name} for name in sorted(paths)]
    return json.dumps(entries, sort_keys=True).encode()


def in_cache(cache: Path, md5: str) -> Path:
    """The path of a file in DVC's cache."""
    return cache / md5[:2] / md5[2:]


def damaged_in(cache: Path, paths: Iterable[Path] | None = None) -> set[Path]:
    """The files of the cache, or those of `paths`, whose MD5 is not their name."""
    files = cache.glob("??/*") if paths is None else (path for path in paths if path.is_file())
    named = ((path, path.parent.name + path.name.removesuffix(".dir")) for path in files)
    return {path for path, md5 in named if HASH.fullmatch(md5) and md5_of(path) != md5}


def stages_of_pipeline() -> Yaml:
    """The stages in dvc.yaml."""
    stages: Yaml = read_yaml(PIPELINE).get("stages", {}) if PIPELINE.is_file() else {}
    return stages


def uncached(stages: Yaml) -> set[str]:
    """The outputs with `cache: false`."""
    lists = (stage.get(kind, []) for stage in stages.values() for kind in ("outs", "metrics", "plots"))
    options = (entry for entries in lists for entry in entries if isinstance(entry, dict))
    pairs = ((path, option or {}) for entry in options for path, option in entry.items())
    return {path for path, option in pairs if option.get("cache") is False}


def files_of(revision: Revision) -> list[File]:
    """The outputs in dvc.lock and the data of .dvc files."""
    pipeline = stages_of_pipeline()
    left_out = uncached(pipeline)
    files = [
        File(Path(out["path"]), out["md5"], name, out["path"] not in left_out)
        for name, stage in revision.stages.items()
        for out in stage.get("outs", [])
        # dvc.lock keeps stages that dvc.yaml has no more.
        if "md5" in out and (revision.commit or name.partition("@")[0] in pipeline)
    ]
    for path, content in dvc_files(revision):
        folder = path.parent / content.get("wdir", ".")
        files += [
            File(folder / out["path"], out["md5"], "", out.get("cache", True))
            for out in content.get("outs", [])
            if "md5" in out
        ]
    return files


def dvc_files(revision: Revision) -> Iterator[tuple[Path, Yaml]]:
    """The files *.dvc of a revision and what they contain."""
    if not revision.commit:
        paths = [*Path().glob("[!.]*.dvc"), *Path().glob("[!.]*/**/*.dvc")]
        yield from ((path, read_yaml(path)) for path in sorted(paths) if path.is_file())
        return
    listed = git("ls-tree", "-r", "-z", "--name-only", revision.commit) or b""
    for name in listed.decode().split("\0"):
        if name.endswith(".dvc"):
            text = git("show", f"{revision.commit}:./{name}") or b"{}"
            yield Path(name), yaml.load(text, Loader)  # nosec B506  # a SafeLoader


def with_members(files: Sequence[File], cache: Path, damaged: set[Path]) -> Iterator[File]:
    """The files, and those in their folders if the listing of the folder is right anywhere."""
    for file in files:
        yield file
        if not file.md5.endswith(".dir"):
            continue
        listing = in_cache(cache, file.md5)
        if listing.is_file() and listing not in damaged:
            content = listing.read_bytes()
        elif md5_of(file.path) == file.md5:
            content = listing_of(file.path)
        else:
            continue
        for entry in json.loads(content):
            yield file._replace(path=file.path / entry["relpath"], md5=entry["md5"])


def state_of(file: File, revision: Revision, damaged: set[Path]) -> State | None:
    """Where a file is right, or None if nothing is wrong with it. Of a commit, the folder may have others."""
    kept = in_cache(revision.cache, file.md5)
    in_store = "damaged" if kept in damaged else "right" if kept.is_file() else "missing"
    md5 = md5_of(file.path)
    here = "right" if md5 == file.md5 else "missing" if md5 is None else "damaged"
    if revision.commit:
        content = git("show", f"{revision.commit}:./{file.path.as_posix()}") if in_store != "right" else None
        in_git = content is not None and md5_of_bytes(content) == file.md5
        here = here if here == "right" else ""
        return None if in_store == "right" or in_git else State(file, here, in_store)
    if file.md5.endswith(".dir") and in_store == "right":  # then each of its files is looked at
        return None
    if not file.cached and in_store == "missing":  # DVC may have a copy, and brings it back without a run
        in_store = "right"
    return None if (here, in_store) == ("right", "right") else State(file, here, in_store)


def repair(state: State, revision: Revision) -> str:
    """Repairs what can be copied. Returns what was done, or the empty string if the stage must run again."""
    file, kept = state.file, in_cache(revision.cache, state.file.md5)
    if state.here == "right":
        replace(kept, listing_of(file.path) if file.md5.endswith(".dir") else file.path)
        kept.chmod(0o444)
        return f"restored from {file.path}"
    if state.kept == "right" and kept.exists():
        moved = f"moved to {aside(file.path)}, " if state.here == "damaged" and not file.stage else ""
        replace(file.path, kept)
        return f"{moved}restored from DVC's cache"
    if revision.commit:
        return f"{'removed; ' if state.kept == 'damaged' else ''}it {revision.missing()}"
    if not file.stage or file.path.is_dir():
        return "not repaired; `dvc pull`, or copy it from a backup"
    file.path.unlink(missing_ok=True)  # DVC would believe it
    return ""


def replace(path: Path, source: Path | bytes) -> None:
    """Replaces a file by a copy of another or by a content. Never writes into a file that others link to."""
    with atomic(path) as temporary:
        if isinstance(source, bytes):
            temporary.write_bytes(source)
        else:
            shutil.copyfile(source, temporary)


def look(revision: Revision) -> tuple[int, list[State], set[Path]]:
    """The number of files, those with a fault, and the damaged files in the cache that are of other runs."""
    if revision.commit:
        names = {in_cache(revision.cache, file.md5) for file in files_of(revision)}
        damaged = damaged_in(revision.cache, names)
    else:
        damaged = damaged_in(revision.cache)
    files = list(with_members(files_of(revision), revision.cache, damaged))
    states = [state for file in files if (state := state_of(file, revision, damaged))]
    return len(files), states, damaged - {in_cache(revision.cache, file.md5) for file in files}


def verify(revision: Revision, repairing: bool) -> bool:
    """Prints the faults of a revision, and repairs them if `repairing`. Returns whether none is left."""
    count, states, others = look(revision)
    stages: dict[str, None] = {}
    if repairing:
        for path in (*others, *(in_cache(revision.cache, s.file.md5) for s in states if s.kept == "damaged")):
            path.unlink(missing_ok=True)
    for path in sorted(others):
        print(f"{path}: damaged, of another run{'; removed' if repairing else ''}")
    for state in states:
        done = repair(state, revision) if repairing else ""
        if repairing and not done:
            stages[state.file.stage] = None
            done = f"{state.file.stage} runs again"
        print(f"{state.line}{done and '; '}{done}", flush=True)
    if stages:
        dvc("repro", *stages)
        revision = workspace(revision.cache)
    left = len(states) + len(others)
    if repairing and left:
        left = sum(map(len, look(revision)[1:]))
    total = len(states) + len(others)
    end = f", {total - left} repaired" if repairing and total else f"; {REPAIR}" if total else ""
    print(f"{count} files of {revision.name}: {total} damaged or missing{end}")
    return not left


def workspace(cache: Path) -> Revision:
    """The files in this folder."""
    (revision,) = find([WORKSPACE])
    return revision._replace(cache=cache)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code. Raises Refusal on an unknown revision, or if DVC is running and files would
    change."""
    parser = argparse.ArgumentParser(
        "verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", metavar="REV", nargs="?", default=WORKSPACE)
    parser.add_argument("--repair", action="store_true", help="repair what is damaged or missing")
    parser.add_argument("--state", action="store_true", help="look at DVC's own state only")
    options = parser.parse_args(arguments)
    cache, temporary = folders()
    damaged = faults(temporary)
    experiment = interrupted(temporary)
    if options.repair:
        require_idle(temporary)
        if experiment:
            print(f"{experiment.line}; {resume(experiment, temporary)}", flush=True)
        for path in filter(Path.exists, damaged):
            print(f"{path}: {restore(path)}")
        if LOCK in damaged:  # the outputs may be of a later run, which the lost file described
            print("now run `dvc repro`: outputs that it knows return from its cache")
            return 0
    elif damaged or experiment:
        for path in damaged:
            print(f"{path}: unreadable, cut by a full disk or a kill; {REPAIR}, which loses nothing")
        if experiment:
            print(f"{experiment.line}; {REPAIR}, which loses nothing")
        return 1
    if options.state:
        return 0
    if options.revision != WORKSPACE:
        (revision,) = find([options.revision])
    elif LOCK.is_file():
        revision = workspace(cache)
    else:
        raise Refusal(f"{LOCK}: no such file; run the pipeline first: make repro, or dvc repro")
    whole = verify(revision, options.repair)
    if whole and not revision.commit:
        keep_lock()
    return 0 if whole else 1


def folders() -> tuple[Path, Path]:
    """DVC's cache and its folder of temporary files. Raises Refusal outside a repository of DVC."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            return Path(repo.cache.local.path), Path(repo.tmp_dir)
    except DvcException as error:
        raise Refusal(f"{error}; run this in a repository of DVC") from None


if __name__ == "__main__":
    with exit_on_refusal("verify"):
        sys.exit(main())
