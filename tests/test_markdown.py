"""Markdown: escaped text and aligned tables."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.markdown import cell, table


def test_a_cell_is_escaped() -> None:
    assert cell("a|b\r\n<script>`x`</script>") == r"a\|b  &lt;script&gt;\`x\`&lt;/script&gt;"
    assert cell("**b** [l](u) ~~s~~ \x1b[31m _i_") == r"\*\*b\*\* \[l\](u) \~\~s\~\~  \[31m \_i\_"
    assert cell("classifier.min_count &amp;") == "classifier.min_count &amp;amp;"


@given(st.text())
def test_a_cell_has_one_line_and_no_unescaped_markup(text: str) -> None:
    shown = cell(text)
    assert shown.isprintable()
    assert "<" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*]", shown)


@given(st.lists(st.tuples(st.text("ab", max_size=9), st.text("12", max_size=9)), max_size=5))
def test_all_lines_of_a_table_have_the_same_length_and_keep_their_text(rows: list[tuple[str, str]]) -> None:
    lines = table(["name", "n"], rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [[part.strip() for part in line.split("|")[1:-1]] for line in lines[2:]] == [list(r) for r in rows]


def test_rows_of_another_width_are_an_error() -> None:
    with pytest.raises((IndexError, ValueError)):
        table(["a", "b"], [["1"]])
