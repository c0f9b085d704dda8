"""A project of DVC with a tiny corpus, whose stages run in forks, and the outputs of another corpus."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import yaml
from dvc.repo import Repo

from stages import STAGES
from tests.conftest import ROOT
from tests.forked import PIPELINE, Stages, outputs, stages
from tests.tiny_run import Columns, prepare

WORDS = {"good": ("lovely", "warm", "clever", "moving"), "bad": ("tedious", "loud", "hollow", "clumsy")}
Bytes = dict[str, bytes]


def reviews(count: int) -> Columns:
    """Some reviews, which depend on their number alone."""
    draw = random.Random(count)
    labels = [("good", "bad")[n % 2] for n in range(count)]
    words = [[draw.choice(WORDS[label]) for _ in range(3)] for label in labels]
    texts = [f"A {a} and {b} film, number {n}, with a {c} end." for n, (a, b, c) in enumerate(words)]
    return {"text": texts, "label": labels}


class Project:
    """A folder in which all stages have run, and what they made of another corpus before."""

    def __init__(
        self, run: Stages, folder: Path, old: Bytes, new: Bytes, printed: dict[str, list[str]]
    ) -> None:
        self.stages = run
        self.folder = folder
        self.old = old
        self.new = new
        self.printed = printed  # by stage: what an undisturbed run printed

    def write(self, content: Bytes, stage: str) -> None:
        """Replaces the outputs of a stage."""
        for path in outputs(stage):
            (self.folder / path).write_bytes(content[path])

    def remove(self, stage: str) -> None:
        """Removes the outputs of a stage, as DVC does before it runs."""
        for path in outputs(stage):
            (self.folder / path).unlink(missing_ok=True)

    def states(self, stage: str) -> dict[str, str]:
        """The content of each output: "old", "new", "both" if these are equal, "none" or "other"."""
        states = {}
        for name in outputs(stage):
            path = self.folder / name
            content = path.read_bytes() if path.exists() else None
            known = {None: "none", self.old[name]: "old", self.new[name]: "new"}
            states[name] = (
                "both" if content == self.old[name] == self.new[name] else known.get(content, "other")
            )
        return states

    def leftovers(self) -> list[str]:
        """Temporary files, and locks of stages."""
        places = (*self.folder.glob("*/.*.part"), *self.folder.glob(".work/locks/*"))
        return sorted(str(path.relative_to(self.folder)) for path in places)

    def tidy(self) -> None:
        """Removes leftovers, so that one fault is reported once."""
        for name in self.leftovers():
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def others(self) -> Bytes:
        """All files but the outputs and the settings of DVC."""
        made = {self.folder / path for stage in STAGES for path in outputs(stage)}
        paths = (path for path in self.folder.rglob("*") if path.is_file() and path not in made)
        return {str(path): path.read_bytes() for path in paths if ".dvc" not in path.parts}


@contextmanager
def project(folder: Path) -> Iterator[Project]:
    """The project in a folder that is empty. DVC knows the old outputs: it has run all stages on them."""
    with stages(folder) as run:
        made: list[Bytes] = []
        for name, count in (("old", 50), ("new", 40)):
            home = folder / name
            home.mkdir()
            prepare(home, reviews(count))
            printed = {}
            for stage in STAGES:
                ended = run.run(home, stage)
                assert ended.code == 0, ended.errors
                printed[stage] = ended.errors
            paths = [path for stage in STAGES for path in outputs(stage)]
            made.append({path: (home / path).read_bytes() for path in paths})
        remember(home, made[0])
        yield Project(run, home, *made, printed)


def remember(home: Path, content: Bytes) -> None:
    """Writes outputs into dvc.lock and DVC's cache, as DVC does after a run."""
    (home / ".dvc").mkdir()
    (home / ".dvc/config").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    lock = {}
    for stage in STAGES:
        entries = []
        for path in outputs(stage):
            md5 = hashlib.md5(content[path]).hexdigest()
            cached = home / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
            cached.parent.mkdir(parents=True, exist_ok=True)
            cached.write_bytes(content[path])
            entries.append({"path": path, "hash": "md5", "md5": md5, "size": len(content[path])})
        lock[stage] = {"cmd": PIPELINE[stage]["cmd"], "outs": entries}
    (home / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}), encoding="utf-8")
    (home / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    with Repo(home):  # makes its folders
        pass


class Dvc:
    """The real DVC in a copy of the project, whose dvc.lock describes all outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
        self.environment["PATH"] = path

    def start(self, module: str, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def run(self, module: str, *words: str) -> tuple[int, str]:
        process = self.start(module, *words)
        printed = process.communicate()[0]
        return process.returncode, printed

    def killed(self, stage: str, victim: str, writing: bool, delay: float) -> bool:
        """Runs a stage and kills it `delay` seconds after it has begun, or has begun to write an output.
        Returns whether it was still running."""
        process = self.start("dvc", "repro", "--single-item", "--force", stage)
        sign = "*/.*.part" if writing else f".work/locks/{stage}-*"
        while process.poll() is None and not any(self.folder.glob(sign)):
            time.sleep(0.002)
        time.sleep(delay)
        if process.poll() is not None:
            return False
        dvc = psutil.Process(process.pid)
        family = [dvc, *dvc.children(recursive=True)]
        ours = [one for one in family[1:] if f"stages.{stage}" in one.cmdline()]
        victims = {"stage": ours, "dvc": [dvc], "group": family}[victim]
        for one in victims:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.communicate()
        psutil.wait_procs(family[1:], timeout=10)
        return True

    def repaired(self) -> bool:
        """Whether DVC's state was damaged; then it is repaired by the command that tools.verify names."""
        code, printed = self.run("tools.verify", "--state")
        if code:
            assert "run `python -m tools.verify --repair`" in printed
            assert self.run("tools.verify", "--repair")[0] == 0
        return bool(code)


def real_dvc(tiny: Project, folder: Path) -> Dvc:
    """The real DVC in a copy of a project, made in `folder`."""
    shutil.copytree(tiny.folder, folder, symlinks=True)
    (folder / "dvc.lock").unlink()
    (folder / "tools").symlink_to(ROOT / "tools")
    shutil.copy(ROOT / "dvc.yaml", folder)
    made = Dvc(folder)
    code, printed = made.run("dvc", "commit", "--force", "--quiet")
    assert code == 0, printed
    return made
