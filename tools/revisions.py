"""Finds the outputs of a revision without checking it out.

A revision is a commit of git (a hash, branch, tag, HEAD~1), an experiment of DVC, or `workspace`: the
files in this folder. Its dvc.lock has the checksum of every output, and DVC's cache names files by it.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stages.lib.command import Refusal
from stages.lib.params import Loader, read_yaml

WORKSPACE = "workspace"
PARAMS, LOCK = Path("params.yaml"), Path("dvc.lock")
EXPECTED = (
    "expected a commit, branch or tag of git, the name of an experiment (`dvc exp list --all-commits`), "
    f"or {WORKSPACE}"
)

Yaml = dict[str, Any]


def dvc(*arguments: str) -> int:
    """The exit status of a command of DVC, which PYTHONWARNINGS=error would end: it calls deprecated code."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], env=variables, check=False).returncode


def git(*arguments: str) -> bytes | None:
    """What a command of git printed, or None if it failed or git is not installed."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


class Revision(NamedTuple):
    """One run of the pipeline."""

    name: str  # as given by the user
    commit: str  # its SHA-1; empty for the workspace
    params: Yaml  # params.yaml
    stages: Yaml  # of dvc.lock: deps, parameters and outputs of each stage
    cache: Path  # DVC's, which names files by their MD5

    def file(self, output: str) -> Path:
        """The path of an output, which is given by its path in dvc.yaml.

        Raises Refusal if the file is missing or is not the one in dvc.lock, and if params.yaml was changed
        after it was made.
        """
        md5 = next((out["md5"] for stage in self.stages.values() for out in outs(stage, output)), None)
        if md5 is None:
            raise Refusal(f"{self.name}: {LOCK} has no {output}; expected a revision after `dvc repro`")
        if changed := self.changed(output):
            raise Refusal(
                f"{self.name}: {PARAMS} was changed after {output} was made ({', '.join(changed)}); "
                "run `dvc repro` there"
            )
        path = self.cache / md5[:2] / md5[2:] if self.commit else Path(output)
        if not path.is_file():
            raise Refusal(f"{self.name}: {output} {self.missing()}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "md5").hexdigest() == md5:
                return path
        if self.commit:
            raise Refusal(f"{path}: damaged; remove it. Then {self.name}'s {output} {self.missing()}")
        raise Refusal(f"{self.name}: {output} is not the one in {LOCK}; run `dvc repro` or `dvc checkout`")

    def missing(self) -> str:
        """The end of an error message: how to get a missing file."""
        if not self.commit:
            return "is missing; run `dvc repro`"
        return (
            f"is not in DVC's cache; `git checkout {self.name}` (or, of an experiment, `dvc exp apply "
            f"{self.name}`) and `dvc pull`, or without a remote `dvc repro`, restore it"
        )

    def upstream(self, output: str) -> list[Yaml]:
        """The stages that an output depends on, with its own."""
        upstream: list[Yaml] = []
        waiting = [output]
        while waiting:
            path = waiting.pop()
            for stage in self.stages.values():
                if outs(stage, path) and stage not in upstream:
                    upstream.append(stage)
                    waiting += [dep["path"] for dep in stage.get("deps", [])]
        return upstream

    def changed(self, output: str) -> list[str]:
        """The parameters that have changed since the output was made."""
        used = [stage.get("params", {}).get(str(PARAMS), {}) for stage in self.upstream(output)]
        then = {name: value for part in used for name, value in part.items()}
        return differing(flat(then), flat({name: self.params.get(name) for name in then}))

    def inputs(self, output: str) -> dict[str, str]:
        """The MD5 of each file, code or data, that an output depends on and that no stage makes."""
        deps = [dep for stage in self.upstream(output) for dep in stage.get("deps", [])]
        made = [out["path"] for stage in self.stages.values() for out in stage.get("outs", [])]
        return {dep["path"]: dep["md5"] for dep in deps if dep["path"] not in made}


def outs(stage: Yaml, path: str) -> list[Yaml]:
    """The entry of an output of a stage in dvc.lock, if the stage has it."""
    return [out for out in stage.get("outs", []) if out["path"] == path]


def flat(tree: Mapping[str, Any], prefix: str = "") -> Yaml:
    """Nested mappings as one mapping with dotted names.

    >>> flat({"raw": {"test": 0.2}, "ids": {}, "corpus": "sample"})
    {'raw.test': 0.2, 'corpus': 'sample'}
    """
    values: Yaml = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The names that are in one mapping only, or have different values.

    >>> differing({"lr": 0.1, "seed": 1}, {"lr": 0.2, "seed": 1, "dim": None})
    ['dim', 'lr']
    """
    return sorted(name for name in {*a, *b} if name not in a or name not in b or a[name] != b[name])


def find(names: Sequence[str]) -> list[Revision]:
    """The revisions of these names. Raises Refusal if a name is unknown or ambiguous."""
    if "" in names:
        raise Refusal(f"found a revision without a name; {EXPECTED}")
    commits = commits_of([name for name in names if name != WORKSPACE])
    revisions = []
    for name in names:
        if name == WORKSPACE:
            revisions.append(Revision(name, "", read_yaml(PARAMS), read_yaml(LOCK).get("stages", {}), Path()))
        else:
            commit, cache = commits[name]
            stages = at(commit, LOCK, name).get("stages", {})
            revisions.append(Revision(name, commit, at(commit, PARAMS, name), stages, cache))
    return revisions


def check_seeds(revisions: Sequence[Revision], output: str) -> None:
    """Raises Refusal unless the revisions differ in their seeds only, as far as an output depends on them."""
    for n, one in enumerate(revisions):
        for other in revisions[:n]:
            params = differing(flat(other.params), flat(one.params))
            seeds = [name for name in params if name.rpartition(".")[2] == "seed"]
            changed = [name for name in params if name not in seeds]
            changed += differing(other.inputs(output), one.inputs(output))
            if changed or not seeds:
                raise Refusal(
                    f"{other.name},{one.name}: these differ in {', '.join(changed) or 'no seed'}; the "
                    "runs of one side must differ in their seeds only"
                )


def commits_of(names: Sequence[str]) -> dict[str, tuple[str, Path]]:
    """The commit of each name, and the cache with its files."""
    if not names:
        return {}
    # Takes half a second, and is not needed for the workspace.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError, resolve_rev

    try:
        with Repo(".") as repo:
            cache = Path(repo.cache.local.path)
            return {name: (resolve_rev(repo.scm, name), cache) for name in names}
    except RevError as error:
        raise Refusal(f"{error}; {EXPECTED}") from None
    except DvcException as error:
        raise Refusal(f"{error}; revisions need a repository of git and DVC") from None


def at(commit: str, path: Path, name: str) -> Yaml:
    """The mapping in a YAML file of a commit; `name` is for error messages."""
    shown = git("show", f"{commit}:./{path}")
    if shown is None:
        raise Refusal(
            f"{name}: no {path} in commit {commit[:7]}; expected a commit of Firth after `dvc repro`"
        )
    try:
        content = yaml.load(shown.decode("utf-8"), Loader)  # nosec B506  # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise Refusal(f"{name}: {path} in commit {commit[:7]} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise Refusal(f"{name}: {path} in commit {commit[:7]} has no `key: value` lines")
    return content
