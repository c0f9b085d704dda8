"""Tokens: words of many scripts, the three units, and the order of the reviews."""

import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from stages.lib.command import Refusal
from stages.lib.parallel import WORKERS, map_ahead
from stages.lib.tables import table_writer
from stages.raw import SCHEMA as RAW
from stages.tokens import learn_subwords, main, split_characters, split_words
from tests.conftest import ROOT, refused

Review = tuple[str, str, int | None, str]

REVIEWS: list[Review] = [
    ("a", "A good film, a good   time!", 1, "train"),
    ("b", "Bad\tfilm.\nBad time…", 0, "train"),
    ("c", "", 1, "train"),
    ("d", "Don’t!", 0, "validation"),
    ("e", "Zzyzx zzyzx zzyzx zzyzx", 1, "test"),
    ("f", "It is a film", None, "unlabelled"),
]
SENTENCES = ["The film was good and the time was good.", "A bad film, a waste of a good evening!"]

# The regular expressions of polars use a newer version of Unicode than Python does: code points unknown
# to Python are left out.
KNOWN = st.characters(exclude_categories=["Cs", "Cn"])
# White space as defined by Unicode, which differs from str.isspace.
SPACE = re.compile(r"[^\S\x1c-\x1f]")


def words(text: str, lowercase: bool = True) -> list[str]:
    return split_words(pl.DataFrame({"text": [text]}), lowercase).to_list()[0]


def characters(text: str, lowercase: bool = True) -> list[str]:
    return split_characters(pl.DataFrame({"text": [text]}), lowercase).to_list()[0]


def subwords(tokeniser: Tokenizer, text: str) -> list[str]:
    return tokeniser.encode(text, add_special_tokens=False).tokens


def plain(text: str, lowercase: bool) -> str:
    text = text.replace("’", "'")
    return unicodedata.normalize("NFC", text.lower() if lowercase else text)


def visible(text: str) -> str:
    return "".join(c for c in text if not unicodedata.category(c).startswith("C"))


def write_raw(path: Path, reviews: Sequence[Review] = REVIEWS, rows_in_group: int = 2) -> Path:
    with table_writer(path, RAW) as writer:
        for first in range(0, len(reviews), rows_in_group):
            columns = zip(*reviews[first : first + rows_in_group], strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, RAW, strict=True)]
            writer.write_batch(pa.record_batch(arrays, RAW))
    return path


def paths_in(folder: Path) -> list[Path]:
    return [folder / name for name in ("tokens.parquet", "tokeniser.json", "metrics.json")]


def test_a_sentence_is_split_into_words_and_punctuation() -> None:
    assert words("I really liked this movie!") == ["i", "really", "liked", "this", "movie", "!"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't", ["don't"]),
        ("don’t", ["don't"]),
        ("rock'n'roll", ["rock'n'roll"]),
        ("'words'", ["'", "words", "'"]),
        ("dogs'", ["dogs", "'"]),
        ("x''y", ["x", "'", "'", "y"]),
    ],
)
def test_words_keep_apostrophes_inside(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("well-known", ["well", "-", "known"]),
        ("9/10", ["9", "/", "10"]),
        ("3.5", ["3", ".", "5"]),
        ("...", [".", ".", "."]),
        ("snake_case", ["snake", "_", "case"]),
        ("x² ½", ["x²", "½"]),
    ],
)
def test_punctuation_marks_are_separate_tokens(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_case_is_kept_without_lowercase() -> None:
    assert words("US and us", lowercase=False) == ["US", "and", "us"]
    assert words("US and us") == ["us", "and", "us"]


def test_composed_and_decomposed_letters_are_equal() -> None:
    assert words("cafe\u0301") == words("caf\u00e9") == ["caf\u00e9"]
    assert characters("e\u0301") == ["\u00e9"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Привет, мир", ["привет", ",", "мир"]),
        ("مرحباً بالعالم!", ["مرحباً", "بالعالم", "!"]),
        ("हिन्दी में अच्छी", ["हिन्दी", "में", "अच्छी"]),
        ("这部电影好。", ["这", "部", "电", "影", "好", "。"]),
        ("映画はとても", ["映", "画", "はとても"]),
        ("スーパー!", ["スーパー", "!"]),
        ("정말 좋다", ["정말", "좋다"]),
    ],
)
def test_words_of_many_scripts_are_split(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    "emoji",
    [
        "👍",
        "👍🏽",
        "❤️",
        "❤︎",
        "👨‍👩‍👧‍👦",
        "🤷🏽‍♀️",
        "🏳️‍🌈",
        "🇫🇷",
        "1️⃣",
        "#️⃣",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # England
    ],
)
def test_an_emoji_is_one_token(emoji: str) -> None:
    assert words(f"ok{emoji} fine") in (["ok", emoji, "fine"], [f"ok{emoji}", "fine"])
    assert words(f"!{emoji} fine") == ["!", emoji, "fine"]


def test_adjacent_flags_are_two_tokens() -> None:
    assert words("🇫🇷🇩🇪") == ["🇫🇷", "🇩🇪"]


def test_invisible_characters_are_removed() -> None:
    assert words("\ufeffa \x00 \u200b\u202eb\u200e \x1b") == ["a", "b"]
    assert characters("\ufeffa\x00\u202eb") == ["a", "b"]


@pytest.mark.parametrize("text", ["", " ", " \n\t\u3000", "\u200b \u200b"])
def test_text_without_words_has_no_tokens(text: str) -> None:
    assert words(text) == []
    assert characters(text) == []
    assert subwords(learn_subwords(iter(SENTENCES), 100, True), text) == []


@given(text=st.text(KNOWN), lowercase=st.booleans())
@settings(deadline=None, max_examples=300)
def test_joined_words_equal_the_visible_text(text: str, lowercase: bool) -> None:
    result = words(text, lowercase)
    assert all(visible(token) for token in result)
    assert visible("".join(result)) == visible(SPACE.sub("", plain(text, lowercase)))


@given(text=st.text(st.sampled_from("ab'’_-.!👍🏽\u200d\ufe0f🇫字é \n") | KNOWN))
@settings(deadline=None)
def test_words_have_no_white_space_and_texts_are_split_independently(text: str) -> None:
    both = split_words(pl.DataFrame({"text": [text, "a", text]}), True).to_list()
    assert both == [words(text), ["a"], words(text)]
    assert not any(SPACE.search(token) for token in both[0])


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\t''")))
@settings(deadline=None, max_examples=300)
def test_words_of_ascii_text_equal_those_of_python_re(text: str) -> None:
    letter = r"[^\W_]"
    assert words(text) == re.findall(rf"{letter}+(?:'{letter}+)*|_|[^\w\s]", text.lower())


def test_characters_are_code_points_and_white_space_becomes_one_space() -> None:
    assert characters(" Oh \t\n no ") == ["o", "h", " ", "n", "o"]
    assert characters("👍🏽") == ["👍", "🏽"]


@given(text=st.text(st.sampled_from(" \n\u200b\x85\x1ca") | KNOWN), lowercase=st.booleans())
@settings(deadline=None, max_examples=300)
def test_characters_equal_the_visible_text(text: str, lowercase: bool) -> None:
    spaced = visible(SPACE.sub(" ", plain(text, lowercase)))
    assert characters(text, lowercase) == list(re.sub(" +", " ", spaced).strip(" "))


def test_the_most_frequent_pair_is_merged_first() -> None:
    learned = learn_subwords(iter(["aab aab xaab"]), 8, True)
    # <pad>, <unk> and ▁ a b x leave room for two merges: a+a, and then aa+b.
    assert sorted(learned.get_vocab()) == ["<pad>", "<unk>", "a", "aa", "aab", "b", "x", "▁"]
    assert subwords(learned, "aab ba") == ["▁", "aab", "▁", "b", "a"]


def test_subwords_normalise_apostrophes_and_accents() -> None:
    learned = learn_subwords(iter(["don't cafe\u0301 \u00e9 Good"] * 3), 200, True)
    assert subwords(learned, "DON’T") == subwords(learned, "don't")
    assert subwords(learned, "cafe\u0301") == subwords(learned, "caf\u00e9")
    assert "<unk>" not in subwords(learned, "GOOD don’t e\u0301")
    assert "G" in "".join(learn_subwords(iter(["Good"]), 100, False).get_vocab())


def test_a_character_not_in_training_is_unknown() -> None:
    assert subwords(learn_subwords(iter(SENTENCES), 100, True), "ж") == ["▁", "<unk>"]


@given(text=st.lists(st.sampled_from(["good", "film", "waste", "a", "!"]), max_size=8).map(" ".join))
@settings(deadline=None)
def test_subwords_decode_to_the_text(text: str) -> None:
    learned = learn_subwords(iter(SENTENCES), 100, True)
    assert "".join(subwords(learned, text)).replace("▁", " ").strip() == text


@pytest.mark.parametrize("space", ["\n", "\t", "  ", "\u00a0", "\r\n"])
def test_subwords_do_not_cross_white_space(space: str) -> None:
    learned = learn_subwords(iter([f"good{space}film"] * 5), 100, True)
    assert not any(SPACE.search(piece) for piece in learned.get_vocab())
    assert subwords(learned, f"good{space}film") == subwords(learned, "good film") == ["▁good", "▁film"]


def test_subwords_have_no_invisible_characters() -> None:
    learned = learn_subwords(iter(["good\u200bfilm\x00\ufeff"] * 5), 100, True)
    assert all(visible(piece) == piece for piece in learned.get_vocab())


def test_subwords_are_learned_from_train_only(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    raw, paths = write_raw(tmp_path / "raw.parquet"), paths_in(tmp_path)
    main(write_params(tokens={"unit": "subwords", "bpe_pieces": 400}), raw, *paths)
    vocabulary = Tokenizer.from_file(str(paths[1])).get_vocab()
    assert "▁good" in vocabulary
    assert not any("z" in piece or "y" in piece for piece in vocabulary)


@pytest.mark.parametrize("lowercase", [True, False])
def test_the_saved_tokeniser_gives_the_same_subwords(
    tmp_path: Path, write_params: Callable[..., Path], lowercase: bool
) -> None:
    raw, paths = write_raw(tmp_path / "raw.parquet"), paths_in(tmp_path)
    main(write_params(tokens={"unit": "subwords", "bpe_pieces": 120, "lowercase": lowercase}), raw, *paths)
    loaded = Tokenizer.from_file(str(paths[1]))
    expected = [subwords(loaded, text) for _, text, _, _ in REVIEWS]
    assert pq.read_table(paths[0])["tokens"].to_pylist() == expected
    assert ("▁bad" in loaded.get_vocab()) is lowercase


@pytest.mark.parametrize("unit", ["words", "characters", "subwords"])
def test_two_runs_give_the_same_bytes(tmp_path: Path, write_params: Callable[..., Path], unit: str) -> None:
    raw, params = write_raw(tmp_path / "raw.parquet"), write_params(tokens={"unit": unit, "bpe_pieces": 150})
    first, second = paths_in(tmp_path / "first"), paths_in(tmp_path / "second")
    main(params, raw, *first)
    main(params, raw, *second)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_rows_keep_id_label_and_split(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    raw, paths = write_raw(tmp_path / "raw.parquet"), paths_in(tmp_path)
    main(write_params(), raw, *paths)
    result = pq.read_table(paths[0])
    assert result.schema.names == ["id", "label", "split", "tokens"]
    assert result.schema.types == [pa.string(), pa.int32(), pa.string(), pa.list_(pa.string())]
    assert result.select(["id", "label", "split"]) == pq.read_table(raw).select(["id", "label", "split"])
    assert result["tokens"].to_pylist() == [words(text) for _, text, _, _ in REVIEWS]
    assert json.loads(paths[1].read_text()) == {"unit": "words", "lowercase": True}


def test_metrics_count_the_tokens_of_each_split(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    raw, paths = write_raw(tmp_path / "raw.parquet"), paths_in(tmp_path)
    main(write_params(), raw, *paths)
    result = json.loads(paths[2].read_text())
    assert result["train"] == {
        "tokens": 8 + 6,
        "mean_length": pytest.approx(14 / 3, abs=1e-6),
        "median_length": 6,
        "longest": 8,
        "empty": 1,
    }
    assert {split: result[split]["tokens"] for split in result} == {
        "train": 14, "validation": 2, "test": 4, "unlabelled": 4,
    }  # fmt: skip


def test_rows_keep_their_order_across_row_groups(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    lengths = np.random.default_rng(0).integers(0, 400, 60).tolist()
    reviews: list[Review] = [(str(n), f"n{n} " * length, n, "train") for n, length in enumerate(lengths)]
    raw, paths = write_raw(tmp_path / "raw.parquet", reviews, rows_in_group=3), paths_in(tmp_path)
    main(write_params(), raw, *paths)
    result = pq.read_table(paths[0]).to_pylist()
    assert [row["id"] for row in result] == [str(n) for n in range(60)]
    assert [row["tokens"] for row in result] == [[f"n{n}"] * length for n, length in enumerate(lengths)]


def test_only_a_few_batches_are_computed_ahead() -> None:
    read: Counter[str] = Counter()

    def batches() -> Iterator[pa.RecordBatch]:
        for n in range(20):
            read["batches"] += 1
            yield pa.record_batch({"n": [n]})

    for n, done in enumerate(map_ahead(lambda batch: pl.DataFrame(pl.from_arrow(batch)), batches())):
        assert done["n"].to_list() == [n]
        assert read["batches"] <= n + 1 + WORKERS


def test_a_failed_batch_leaves_no_file(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    raw, paths = write_raw(tmp_path / "raw.parquet"), paths_in(tmp_path / "out")
    monkeypatch.setattr("stages.tokens.split_words", fail)
    with pytest.raises(MemoryError):
        main(write_params(), raw, *paths)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"unit": "word"}, "unit: found 'word'.*'words', 'characters' or 'subwords'"),
        ({"lowercase": "yes"}, "lowercase: found 'yes'"),
        ({"bpe_pieces": 99}, "bpe_pieces: found 99.*100"),
    ],
)
def test_invalid_parameters_are_refused(
    tmp_path: Path, write_params: Callable[..., Path], choice: dict[str, object], message: str
) -> None:
    with pytest.raises(Refusal, match=rf"params\.yaml: tokens\.{message}"):
        main(write_params(tokens=choice), tmp_path / "raw.parquet", *paths_in(tmp_path))


def test_a_file_that_is_not_a_table_is_refused_in_one_line(
    tmp_path: Path, write_params: Callable[..., Path], stage: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "raw.parquet").write_text("id,text\n1,good\n", encoding="utf-8")
    ended = stage("tokens", write_params(), tmp_path / "raw.parquet", *paths_in(tmp_path))
    assert refused(ended, "tokens: ", "raw.parquet", "not a parquet file")


def test_joiners_stay_inside_a_word_and_line_break_marks_are_removed() -> None:
    texts = pl.DataFrame({"text": ["می\u200cخواهم", "co\u00adoperate", "zero\u200bwidth"]})
    result = split_words(texts, lowercase=True).to_list()
    assert result == [["می\u200cخواهم"], ["cooperate"], ["zero", "width"]]


def test_the_tokenizers_library_is_imported_only_for_subwords() -> None:
    code = (
        "import sys, polars; from stages.tokens import tokeniser_of; "
        """tokeniser_of('{"lowercase": true, "unit": "words"}').split(polars.DataFrame({"text": ["a"]})); """
        "print('tokenizers' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
