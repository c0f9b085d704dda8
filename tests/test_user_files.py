"""Files that a parameter names."""

from pathlib import Path

import pytest

from stages.lib.command import Refusal
from stages.lib.user_files import find_file


def test_a_file_is_looked_for_in_its_folder_first(tmp_path: Path) -> None:
    folder = tmp_path / "wordsets"
    folder.mkdir()
    (folder / "README.md").touch()
    with pytest.raises(Refusal, match=r"agreement.wordsets: no file 'a.txt'; .*found there: nothing"):
        find_file("a.txt", folder, "agreement.wordsets")
    (folder / "a.txt").touch()
    assert find_file("a.txt", folder, "agreement.wordsets") == folder / "a.txt"
    assert find_file(str(tmp_path / "wordsets/a.txt"), folder, "x") == folder / "a.txt"
    with pytest.raises(Refusal, match=r"found there: a\.txt"):
        find_file("b.txt", folder, "agreement.wordsets")
