"""Stages are killed around the moment of writing, and run again: the bytes are those of a whole run."""

import random
from collections.abc import Iterator

import pytest

from stages import STAGES
from tests.forked import GROUPS, TORTURE, needs_faults
from tests.tiny_project import Dvc, Project, project, real_dvc

SEED = 24
VICTIMS = ("stage", "dvc", "group")
TRIES = 30 if TORTURE else 2  # of each stage and kind of moment
DELAY = 0.01  # seconds at most between an operation, drawn at random, and the kill
REPROS = 30 if TORTURE else 2  # kills of a real `dvc repro`
pytestmark = [needs_faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project(tmp_path_factory.mktemp("kills")) as made:
        yield made


def wrong(tiny: Project, stage: str, dead: int) -> str:
    """What is not as it must be after a kill, and after the stage was run again; or nothing."""
    states = tiny.states(stage)
    if "other" in states.values():
        return f"after the kill {states}"
    times = {path: (tiny.folder / path).stat().st_ctime_ns for path in states if states[path] != "none"}
    if dead and (late := [path for path, changed in times.items() if changed > dead]):
        return f"published after the kill: {late}"
    tiny.remove(stage)
    again = tiny.stages.run(tiny.folder, stage, dvc=True)
    if again.code or again.errors != tiny.printed[stage]:
        return f"run again: exit code {again.code}, {again.errors}"
    if not set(tiny.states(stage).values()) <= {"new", "both"}:
        return f"run again: {tiny.states(stage)}"
    if tiny.leftovers():
        return f"left {tiny.leftovers()}"
    return ""


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0] if len(group) == 1 else "all")
def test_a_killed_stage_that_is_started_again_makes_the_same_bytes(tiny: Project, group: list[str]) -> None:
    faults, kills = [], 0
    for stage in group:
        draw = random.Random(f"{SEED} {stage}")
        total = tiny.stages.run(tiny.folder, stage, dvc=True).operations
        # At a moment of its own, with half of a write done; or by another process, some milliseconds later.
        moments = draw.sample(range(1, total + 1), min(total, TRIES))
        cases = [("kill", n, "", 0.0) for n in moments]
        for n in range(TRIES if TORTURE else STAGES.index(stage) % 2):
            victim = VICTIMS[(n + STAGES.index(stage)) % 3]
            cases.append(("report", draw.randint(1, total), victim, draw.uniform(0, DELAY)))
        before = tiny.others()
        for mode, at, victim, delay in cases:
            tiny.write(tiny.old, stage)
            if draw.random() < 0.5:
                tiny.remove(stage)
            ended = tiny.stages.run(tiny.folder, stage, mode, at, victim=victim, delay=delay, dvc=True)
            kills += ended.code != 0
            if what := wrong(tiny, stage, ended.dead):
                faults.append(
                    f"{stage}, {victim or 'itself'} killed at {at} of {total}, {delay:.4f} s: {what}"
                )
        assert tiny.others() == before
    print(f"{kills} kills of {', '.join(group)}", flush=True)
    assert not faults, f"{len(faults)}:\n" + "\n".join(faults[:20])
    assert kills >= 30


@pytest.fixture(scope="module")
def real(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Dvc:
    return real_dvc(tiny, tmp_path_factory.mktemp("real") / "project")


def test_a_killed_run_of_dvc_that_is_started_again_makes_the_same_bytes(tiny: Project, real: Dvc) -> None:
    draw = random.Random(SEED)
    here = Project(tiny.stages, real.folder, tiny.old, tiny.new, tiny.printed)
    kills, repairs = 0, 0
    for n in range(REPROS):
        stage = STAGES[n % len(STAGES)] if TORTURE else ("tokens", "vocabulary", "ids")[n]
        here.write(tiny.old, stage)
        kills += real.killed(stage, VICTIMS[n % 3], draw.random() < 0.7, draw.uniform(0, 0.05))
        repairs += real.repaired()
        code, printed = real.run("dvc", "repro", "--single-item", "--force", stage)
        assert code == 0, printed
        assert set(here.states(stage).values()) <= {"new", "both"}, stage
        assert here.leftovers() == []
    code, printed = real.run("dvc", "status")
    assert "up to date" in printed, printed
    print(f"{kills} kills of `dvc repro`, {repairs} repairs")
    assert kills >= REPROS // 2
