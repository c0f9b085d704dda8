"""The outputs of the run before, for a stage that could not make new ones.

DVC deletes the outputs of a stage before it runs. (`persist: true` would keep them, and would turn off the
run cache, which brings back the results of parameters that were tried before.) So a stage that fails puts
them back: DVC's cache has every output that dvc.lock names, metrics included. An output that the stage has
made before it failed is replaced too, so that all outputs are of one run.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from stages.lib.files import atomic
from stages.lib.processes import dvc_has_ended


@contextmanager
def outputs_kept() -> Iterator[None]:
    """If the block fails in a stage that DVC runs, the outputs that DVC deleted are put back."""
    try:
        yield
    except BaseException as error:
        if (stage := os.environ.get("DVC_STAGE")) and not dvc_has_ended():
            try:
                put_back(stage)
            except Exception as another:  # such as the disk that is still full
                error.add_note(f"the old outputs were not put back ({another}): run `dvc checkout`")
        raise


def put_back(stage: str, lock: Path = Path("dvc.lock")) -> None:
    """Copies the outputs of a stage from DVC's cache, as dvc.lock has them."""
    if not lock.is_file():
        return
    stages = yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {})
    outputs = {Path(out["path"]): out.get("md5", "") for out in stages.get(stage, {}).get("outs", [])}
    if outputs:
        from dvc.repo import Repo  # takes half a second, and only a failed stage needs it

        with Repo() as repo:
            copies = {path: Path(repo.cache.local.oid_to_path(md5)) for path, md5 in outputs.items()}
        copies = {path: copy for path, copy in copies.items() if copy.is_file()}
        for path in copies:  # all first, so that a full disk has space again
            path.unlink(missing_ok=True)
        for path, copy in copies.items():
            with atomic(path) as temporary:
                shutil.copyfile(copy, temporary)
