"""Every write, rename and creation of a file by a stage fails once: outputs stay whole and of one run.

SQLite is tested in this way: the operation number n fails, for n = 1, 2, and so on until the stage succeeds.
"""

import errno
import random
from collections.abc import Iterator

import pytest

from stages import STAGES
from tests.forked import GROUPS, TORTURE, Ended, needs_faults
from tests.tiny_project import Project, project

SEED = 24
# What fails, with which error. A write on a disk that is full is short first.
FAULTS = (
    ("fail", errno.ENOSPC),
    ("fail", errno.EIO),
    ("short", errno.ENOSPC),
    ("fail from here on", errno.ENOSPC),
)
pytestmark = needs_faults


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project(tmp_path_factory.mktemp("failing")) as made:
        yield made


def wrong(tiny: Project, stage: str, ended: Ended, by_dvc: bool, mode: str) -> str:
    """What is not as it must be after a stage met a fault, or nothing."""
    states = tiny.states(stage)
    contents = set(states.values()) - {"both"}
    printed = [line for line in ended.errors if line not in tiny.printed[stage]]
    if left := tiny.leftovers():
        return f"left {left}"
    if ended.code == 0:  # what failed was not needed, such as a lock
        return "" if contents <= {"new"} else f"succeeded: {states}"
    allowed = {"old"} if by_dvc else {"old", "new"}
    if by_dvc and mode == "fail from here on":  # nothing can be put back
        allowed.add("none")
    if not contents <= allowed:
        return f"outputs {states}"
    if ended.code != 1 or len(printed) != 1 or not printed[0].startswith(f"{stage}: "):
        return f"exit code {ended.code}: {printed}"
    return ""


@pytest.mark.parametrize("by_dvc", [False, True], ids=["by hand", "by DVC"])
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0] if len(group) == 1 else "all")
def test_when_a_write_fails_the_outputs_are_whole(tiny: Project, group: list[str], by_dvc: bool) -> None:
    draw = random.Random(SEED)
    faults, runs = [], 0
    for stage in group:
        total = tiny.stages.run(tiny.folder, stage, dvc=by_dvc).operations
        assert total >= 3 * len(tiny.states(stage))  # created, written, renamed
        cases = [(n, *fault) for fault in FAULTS for n in range(1, total + 1)]
        if by_dvc:  # it takes longer to put outputs back
            cases = draw.sample(cases, 30 if TORTURE else STAGES.index(stage) % 2)
        elif not TORTURE:
            cases = draw.sample(cases, 3)
        for n, mode, error in cases:
            if by_dvc:
                tiny.remove(stage)
            else:
                tiny.write(tiny.old, stage)
            ended = tiny.stages.run(tiny.folder, stage, mode, n, error, dvc=by_dvc)
            runs += 1
            if what := wrong(tiny, stage, ended, by_dvc, mode):
                faults.append(f"{stage}, {mode} {errno.errorcode[error]} at {n} of {total}: {what}")
            tiny.tidy()
        tiny.write(tiny.new, stage)
    print(f"{runs} faults in {', '.join(group)}", flush=True)
    assert not faults, f"{len(faults)} of {runs}:\n" + "\n".join(faults[:20])


def test_a_failed_stage_succeeds_when_it_is_run_again(tiny: Project) -> None:
    tiny.write(tiny.old, "tokens")
    assert tiny.stages.run(tiny.folder, "tokens", "fail from here on", 9).code == 1
    assert tiny.stages.run(tiny.folder, "tokens").code == 0
    assert (
        tiny.states("tokens")["data/tokens.parquet"] == tiny.states("tokens")["metrics/tokens.json"] == "new"
    )


def test_the_library_makes_writes_fail(tiny: Project) -> None:
    for error, text in ((errno.ENOSPC, "No space left on device"), (errno.EIO, "nput/output error")):
        ended = tiny.stages.run(tiny.folder, "check", "fail from here on", 4, error)
        assert ended.code == 1
        assert text in ended.errors[0]
    tiny.write(tiny.new, "check")
