"""Arrays as the text that a page contains."""

import base64
import gzip
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.page.pack import pack, pack_strings, unpack, unpack_strings
from tests.conftest import ROOT


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.float32])
@pytest.mark.parametrize("shape", [(0,), (3,), (2, 5), (0, 4)])
def test_arrays_keep_type_shape_and_values(dtype: type, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    result = unpack(pack({"a": array, "b": array[::-1]}))
    assert result["a"].dtype == dtype
    np.testing.assert_array_equal(result["a"], array)
    np.testing.assert_array_equal(result["b"], array[::-1])


def test_the_text_has_no_character_that_html_gives_a_meaning() -> None:
    text = pack(pack_strings(["</script>", "<!--", "&amp;", '"'], "words"))
    assert not set(text) & set("<>&\"' \n")
    assert unpack_strings(unpack(text), "words") == ["</script>", "<!--", "&amp;", '"']


def test_any_gzip_reads_it_and_it_has_no_clock() -> None:
    content = base64.b64decode(pack({"a": np.arange(1000, dtype=np.int16)}))
    assert gzip.decompress(content)[-2000:] == np.arange(1000, dtype="<i2").tobytes()
    assert content[4:8] == b"\0\0\0\0"  # the time of modification (RFC 1952)


def test_two_processes_make_the_same_text_whatever_the_order_of_hashes() -> None:
    code = (
        "import numpy as np; from stages.lib.page.pack import pack, pack_strings;"
        "print(pack({'b': np.arange(9), 'a': np.ones((2, 2)), **pack_strings(['x', 'y'], 'words')}))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(texts) == 1


@given(st.lists(st.text(max_size=5), max_size=5))
@settings(deadline=None)
def test_strings_are_read_back(strings: list[str]) -> None:
    assert unpack_strings(pack_strings(strings, "words"), "words") == strings


def test_strange_strings_are_read_back() -> None:
    strings = ["", "a\0b", "\u202eright to left", "👨‍👩‍👧", "\ufeffmark", "x" * 1_000_000]
    assert unpack_strings(unpack(pack(pack_strings(strings, "words"))), "words") == strings
    assert unpack_strings(pack_strings(["a\ud800b"], "words"), "words") == ["a?b"]
