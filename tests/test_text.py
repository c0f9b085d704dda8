"""Text: what cleaning replaces."""

import pytest

from stages.lib.text import clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good.<br /><br />Long.", "Good.  Long."),
        ("a<br>b<BR/>c<br  />d", "a b c d"),
        ("<b>bold</b> <break>", "<b>bold</b> <break>"),
        ("half \ud83d of a face", "half ? of a face"),
        ("", ""),
    ],
)
def test_clean_replaces_only_line_break_tags_and_unencodable_characters(text: str, expected: str) -> None:
    assert clean(text) == expected
