"""Progress: a bar on a terminal, plain lines elsewhere, nothing if the work is quick."""

import io
import re
import sys

import pytest

from stages.lib import progress as module
from stages.lib.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(steps: int = 5) -> None:
    with progress("tokens", "reviews", total=steps) as bar:
        for _ in range(steps):
            bar.update()


def test_quick_work_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    work()
    assert capsys.readouterr() == ("", "")


def test_long_work_writes_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0)
    work()
    out, err = capsys.readouterr()
    assert out == ""
    assert not re.search(r"[\r\x1b\x08]", err)
    assert err.isascii()
    assert err.endswith("\n")
    lines = err.splitlines()
    assert len(lines) >= 5
    assert all(re.match(r"tokens: .*\d.* reviews", line) for line in lines)
    assert "5.00/5.00" in lines[-1]


def test_a_postfix_is_part_of_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0)
    with progress("embeddings", "words") as bar:
        bar.set_postfix_str("loss 0.3", refresh=False)
        bar.update(2500)
    err = capsys.readouterr().err
    assert "loss 0.3" in err
    assert "2.50k words" in err


def test_no_line_is_wider_than_100_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0)
    work(steps=30)
    assert max(map(len, capsys.readouterr().err.splitlines())) <= 100


def test_an_error_in_the_block_is_raised_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with progress("tokens", "reviews"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work()
    assert "\rtokens: 100%" in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 1


def test_a_description_shows_what_a_terminal_would_obey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("downloading \x1b]0;title\x07\u202e.zip", "B") as bar:
        bar.update()
    assert r"downloading \x1b]0;title\x07\u202e.zip" in sys.stderr.getvalue()
