"""What a revision has made, found without checking it out.

A revision is a commit of git by any of its names (a branch, a tag, HEAD~1), an experiment of DVC by its
name, or `workspace`: the files as they lie here. Its dvc.lock names the checksum of every output, and
DVC's cache keeps the file under it.
"""

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stages.lib.command import Refusal
from stages.lib.params import Loader, read_yaml

WORKSPACE = "workspace"
PARAMS, LOCK = Path("params.yaml"), Path("dvc.lock")
WANTED = (
    "wanted a commit, branch or tag of git, the name of an experiment (`dvc exp list --all-commits`), "
    f"or {WORKSPACE}"
)

Yaml = dict[str, Any]


class Revision(NamedTuple):
    """One run of the pipeline, as git and DVC keep it."""

    name: str  # as it was asked for
    commit: str  # its SHA-1; empty for the workspace
    params: Yaml  # params.yaml
    stages: Yaml  # of dvc.lock: what each read, with which parameters, and what it made
    cache: Path  # DVC's, where files lie under their MD5

    def file(self, output: str) -> Path:
        """Where its `output`, a path in dvc.yaml, lies.

        Raises Refusal where that is nowhere, where it is not what dvc.lock tells of, and where
        params.yaml was changed after it was made.
        """
        md5 = next((out["md5"] for stage in self.stages.values() for out in outs(stage, output)), None)
        if md5 is None:
            raise Refusal(f"{self.name}: {LOCK} has no {output} there; wanted a revision after `dvc repro`")
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
        raise Refusal(
            f"{self.name}: {output} is not the one that {LOCK} tells of; run `dvc repro` or `dvc checkout`"
        )

    def missing(self) -> str:
        """The end of a refusal: what to do about a file that is not there."""
        if not self.commit:
            return "is not there; run `dvc repro`"
        return (
            f"is not in DVC's cache; `git checkout {self.name}` (or, of an experiment, `dvc exp apply "
            f"{self.name}`) and `dvc pull`, or without a remote `dvc repro`, bring it there"
        )

    def upstream(self, output: str) -> list[Yaml]:
        """The stages that `output` comes from, its own among them."""
        found: list[Yaml] = []
        waiting = [output]
        while waiting:
            path = waiting.pop()
            for stage in self.stages.values():
                if outs(stage, path) and stage not in found:
                    found.append(stage)
                    waiting += [dep["path"] for dep in stage.get("deps", [])]
        return found

    def changed(self, output: str) -> list[str]:
        """The parameters that `output` was made with and that params.yaml has another value of."""
        used = [stage.get("params", {}).get(str(PARAMS), {}) for stage in self.upstream(output)]
        then = {name: value for part in used for name, value in part.items()}
        return differing(flat(then), flat({name: self.params.get(name) for name in then}))

    def inputs(self, output: str) -> dict[str, str]:
        """The MD5 of each file, code or data, that `output` comes from and that no stage makes."""
        deps = [dep for stage in self.upstream(output) for dep in stage.get("deps", [])]
        made = [out["path"] for stage in self.stages.values() for out in stage.get("outs", [])]
        return {dep["path"]: dep["md5"] for dep in deps if dep["path"] not in made}


def outs(stage: Yaml, path: str) -> list[Yaml]:
    """What dvc.lock tells of a stage's output: one entry, or none where it is another's."""
    return [out for out in stage.get("outs", []) if out["path"] == path]


def flat(tree: Mapping[str, Any], prefix: str = "") -> Yaml:
    """A tree of mappings as one of dotted names.

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
    """The names that only one of two mappings has, or that stand for two values.

    >>> differing({"lr": 0.1, "seed": 1}, {"lr": 0.2, "seed": 1, "dim": None})
    ['dim', 'lr']
    """
    return sorted(name for name in {*a, *b} if name not in a or name not in b or a[name] != b[name])


def find(names: Sequence[str]) -> list[Revision]:
    """The revisions of these names. Raises Refusal where a name is of none, or of several."""
    if "" in names:
        raise Refusal(f"found a revision without a name; {WANTED}")
    commits = commits_of([name for name in names if name != WORKSPACE])
    found = []
    for name in names:
        if name == WORKSPACE:
            found.append(Revision(name, "", read_yaml(PARAMS), read_yaml(LOCK).get("stages", {}), Path()))
        else:
            commit, cache = commits[name]
            stages = at(commit, LOCK, name).get("stages", {})
            found.append(Revision(name, commit, at(commit, PARAMS, name), stages, cache))
    return found


def commits_of(names: Sequence[str]) -> dict[str, tuple[str, Path]]:
    """The commit of each name, and the cache of its files."""
    if not names:
        return {}
    # Half a second's import, which who asks about the workspace alone is spared.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError, resolve_rev

    try:
        with Repo(".") as repo:
            cache = Path(repo.cache.local.path)
            return {name: (resolve_rev(repo.scm, name), cache) for name in names}
    except RevError as error:
        raise Refusal(f"{error}; {WANTED}") from None
    except DvcException as error:
        raise Refusal(f"{error}; a revision is found in a repository of git and DVC") from None


def at(commit: str, path: Path, name: str) -> Yaml:
    """The mapping in a YAML file of a commit, which was asked for by `name`."""
    shown = subprocess.run(["git", "show", f"{commit}:./{path}"], capture_output=True, check=False)
    if shown.returncode:
        raise Refusal(f"{name}: no {path} in commit {commit[:7]}; wanted one of Firth, after `dvc repro`")
    try:
        content = yaml.load(shown.stdout.decode("utf-8"), Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise Refusal(f"{name}: {path} in commit {commit[:7]} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise Refusal(f"{name}: {path} in commit {commit[:7]} has no `key: value` lines")
    return content
