"""Terminal: no text from outside is obeyed by a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.terminal import printable

HOSTILE = "\x1b]0;title\x07\u202edoog"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, r"\x1b]0;title\x07\u202edoog"),
        ("a\nb\tc\rd", r"a\x0ab\x09c\x0dd"),
        ("\x9b31m\x7f\x00", r"\x9b31m\x7f\x00"),
        ("a\u2066b\u2069\u200f\u061c\u2028\ufeff", r"a\u2066b\u2069\u200f\u061c\u2028\ufeff"),
        ("half of an emoji: \ud83d", r"half of an emoji: \ud83d"),
    ],
)
def test_what_a_terminal_obeys_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["", "schön", "кино", "好吃", "عربي", "👩\u200d👧", "a\\b", "e\u0301"])
def test_what_people_write_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters(codec=None)))
def test_a_shown_text_is_one_line_that_is_not_changed_again(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown
    assert printable(shown) == shown
