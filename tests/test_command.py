"""Command: paths as named flags, one line on standard error on bad input."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, refused

PATHS = ("--source", "a.txt", "--made", "b.txt")

SCRIPT = """
from pathlib import Path
from stages.lib.command import Refusal, run
{imports}

def main(source: Path, made: Path) -> None:
    {body}

if __name__ == "__main__":
    run(main)
"""


def ran(folder: Path, body: str, *arguments: str, imports: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a script `toy.py` whose main executes `body` with the paths `source` and `made`."""
    (folder / "toy.py").write_text(SCRIPT.format(imports=imports, body=body), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "toy.py", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_main_receives_the_paths_by_name_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("kept")
    ended = ran(tmp_path, "made.write_text(source.read_text())", "--made", "b.txt", "--source", "a.txt")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (tmp_path / "b.txt").read_text() == "kept"


def test_pyarrow_alone_does_not_load_pandas(tmp_path: Path) -> None:
    body = (
        "import sys, numpy as np, pyarrow as pa, pyarrow.dataset; "
        "np.asarray(pa.array(['good', None])); pa.table({'a': [1]}).filter(np.array([True])); "
        "made.write_text(str('pandas' in sys.modules))"
    )
    ended = ran(tmp_path, body, *PATHS)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "b.txt").read_text() == "False"


def test_an_imported_pandas_remains_available(tmp_path: Path) -> None:
    body = "made.write_text(str(pa.table(pd.DataFrame({'a': [1]}))['a'].to_pylist()))"
    ended = ran(tmp_path, body, *PATHS, imports="import pandas as pd, pyarrow as pa")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "b.txt").read_text() == "[1]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: --source, --made"),
        (("--source", "a.txt"), "the following arguments are required: --made"),
        (("a.txt", "b.txt"), "the following arguments are required: --source, --made"),
        ((*PATHS, "c.txt"), "unrecognized arguments: c.txt"),
        (("--sour", "a.txt", "--made", "b.txt"), "the following arguments are required: --source"),
    ],
)
def test_a_wrong_command_line_is_reported_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    ended = ran(tmp_path, "made.write_text('')", *arguments)
    assert ended.returncode == 2
    assert ended.stderr == f"toy: {message}; see python -m toy --help\n"
    assert not (tmp_path / "b.txt").exists()


def test_help_names_the_paths(tmp_path: Path) -> None:
    ended = ran(tmp_path, "pass", "--help")
    assert ended.returncode == 0
    assert "--source PATH --made PATH" in ended.stdout


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise Refusal(f'{source}: nothing in it')", "toy: a.txt: nothing in it"),
        ("raise Refusal('two\\nlines,\\r\\n  indented')", "toy: two lines, indented"),
        ("source.read_text()", "toy: a.txt: No such file or directory"),
        ("Path('.').read_text()", "toy: .: Is a directory"),
        ("raise OSError('disk on fire')", "toy: disk on fire"),
        ("raise OSError(28, 'No space left on device')", "toy: No space left on device; free some space"),
        ("raise MemoryError", "toy: out of memory; close other programs"),
    ],
)
def test_errors_are_reported_in_one_line(tmp_path: Path, body: str, message: str) -> None:
    assert refused(ran(tmp_path, body, *PATHS), message)


def test_an_interrupted_run_is_reported_in_one_line(tmp_path: Path) -> None:
    ended = ran(tmp_path, "raise KeyboardInterrupt", *PATHS)
    assert ended.returncode == 130
    assert ended.stderr == "toy: interrupted; nothing was written, run it again\n"


def test_a_programming_error_keeps_its_traceback(tmp_path: Path) -> None:
    ended = ran(tmp_path, "raise KeyError('a bug')", *PATHS)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


def test_a_refusal_shows_what_a_terminal_would_obey(tmp_path: Path) -> None:
    ended = ran(tmp_path, r"raise Refusal('a.zip: \x1b]0;title\x07\u202e.txt is a link')", *PATHS)
    assert refused(ended, "toy: ", r"a.zip: \x1b]0;title\x07\u202e.txt is a link")


def piped(folder: Path, body: str, redirect: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script in a shell with its output redirected; the shell prints the exit code of the script."""
    (folder / "toy.py").write_text(SCRIPT.format(imports="import sys", body=body), encoding="utf-8")
    command = f"{sys.executable} toy.py {' '.join(PATHS)} {redirect}; echo ${{PIPESTATUS[0]}} >&2"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


MANY_LINES = "[print('x' * 99) for _ in range(9999)]"


@pytest.mark.parametrize("body", [MANY_LINES, f"{MANY_LINES}; sys.exit(0)"])
def test_a_tool_ends_quietly_when_its_output_is_cut_off(tmp_path: Path, body: str) -> None:
    assert piped(tmp_path, body, "| head -1").stderr == "0\n"
    assert piped(tmp_path, body, "| true").stderr == "0\n"
    assert piped(tmp_path, "raise Refusal('no')", "| true").stderr == "toy: no\n1\n"


def test_a_stage_does_not_succeed_when_its_output_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os; os.environ['DVC_STAGE'] = 'toy'"  # after watch_dvc, which would look for DVC
    assert piped(tmp_path, f"exec({code!r}); {MANY_LINES}", "| true").stderr == "toy: Broken pipe\n1\n"


@pytest.mark.parametrize("redirect", [">&-", "<&-", "2>&- 2>/dev/null", "<&- >&- 2>/dev/null"])
def test_closed_streams_are_no_error(tmp_path: Path, redirect: str) -> None:
    body = "print(1); print(2, file=sys.stderr); made.write_text(sys.stdin.read() + str(sys.stdout.isatty()))"
    done = piped(tmp_path, body, f"</dev/null {redirect}")
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("0\n")
    assert (tmp_path / "b.txt").read_text() == "False"


def test_a_full_output_is_reported_in_one_line(tmp_path: Path) -> None:
    for body in ("print(1)", MANY_LINES):
        done = piped(tmp_path, body, "> /dev/full")
        line = "toy: No space left on device; free some space on that disk, and run it again"
        assert done.stderr == f"{line}\n1\n"


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {}],
    ids=["PYTHONIOENCODING", "LC_ALL", "UTF-8"],
)
def test_what_an_encoding_lacks_is_escaped(tmp_path: Path, environment: dict[str, str]) -> None:
    done = piped(tmp_path, "print('caf\\xe9 \\ud83d')", "", **environment)
    assert done.stderr == "0\n"
    assert done.stdout == ("caf\\xe9 \\ud83d\n" if environment else "café \\ud83d\n")
