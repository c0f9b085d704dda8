"""Temporary files with a user's texts: no other user can read them, whatever the umask."""

import ast
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import TRAIN
from stages.lib.files import write_text
from stages.lib.store import Store
from tests.test_words import FILES, relative
from tools import new

PRIVATE = {"TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile", "mkdtemp", "mkstemp"}  # 0700 and 0600


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_database_of_raw_is_private() -> None:
    store = Store()
    texts = 600  # more than SQLite keeps in memory
    store.add((str(n), f"{n} " * 4000, None, TRAIN, None, n, n) for n in range(texts))
    links = {link: str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    modes = [mode(link) for link, target in links.items() if "/etilqs_" in target]  # SQLite's
    store.connection.close()
    assert modes == [0o600]


def test_the_copy_that_tools_new_checks_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    monkeypatch.chdir(tmp_path)
    new.CORPORA.mkdir(parents=True)
    Path("reviews.csv").write_text("text,label\na good film,1\n", encoding="utf-8")

    def check(folder: Path) -> None:
        assert list(folder.iterdir())
        modes.append(mode(folder.parent))
        raise KeyboardInterrupt

    monkeypatch.setattr(new, "check", check)
    with pytest.raises(KeyboardInterrupt):
        new.main(["reviews.csv"])
    assert modes == [0o700]


def test_an_output_has_the_rights_of_the_umask(tmp_path: Path) -> None:
    for umask in (0o022, 0o077):
        os.umask(umask)
        write_text(tmp_path / "a.txt", "text")
        assert mode(tmp_path / "a.txt") == 0o666 & ~umask


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_temporary_files_are_made_by_functions_that_make_them_private(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "tempfile"
        ):
            assert node.attr in {*PRIVATE, "gettempdir"}
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.count("\n"):
            assert not node.value.startswith(("/tmp", "/var/tmp")), f"{relative(path)}: {node.value}"
