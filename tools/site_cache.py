"""Gives DVC a private folder for what it keeps outside the repository.

    python -m tools.site_cache

By default that is /var/tmp/dvc, where every user of the machine can write. DVC keeps pickled objects there,
so who puts one in runs code as the user who runs DVC next. This sets `core.site_cache_dir` in
.dvc/config.local to a folder that no other user can enter. A folder that is set already, there or in
DVC_SITE_CACHE_DIR, stays as it is.
"""

import os
import sys
from pathlib import Path

from stages.lib.command import Refusal, run

OPTION = "site_cache_dir"


def private_folder() -> Path:
    """The folder: dvc in the user's own cache of Firth."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("firth")) / "dvc"


def make_private(folder: Path) -> None:
    """Makes a folder, and the folder `repo` that DVC would let everyone write to, for this user alone.

    Raises Refusal if the folder is another user's.
    """
    for path in (folder, folder / "repo"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sys.platform == "win32":  # a folder of the user's is private there
            continue
        if path.is_symlink() or path.stat().st_uid != os.getuid():
            raise Refusal(f"{path}: is a link or another user's; remove it")
        path.chmod(0o700)


def main() -> None:
    """Raises Refusal if this is no repository of DVC."""
    if os.environ.get("DVC_SITE_CACHE_DIR") or sys.platform == "win32":  # there it is the user's own already
        return
    from dvc.config import Config, ConfigError

    folder = private_folder()
    try:
        config = Config(".dvc")
        known = config["core"].get(OPTION)
        if known in (None, str(folder)):
            make_private(folder)
        if known is None:
            with config.edit("local") as local:
                local.setdefault("core", {})[OPTION] = str(folder)
    except ConfigError as error:
        raise Refusal(f".dvc: {error}") from None


if __name__ == "__main__":
    run(main)
