"""What the report selects and computes: words, examples, provenance, and the summary in Markdown."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import UNK_TOKEN
from stages.lib.page.space import Space
from stages.lib.report.examples import LONGEST, Part, parts_of, spans_of
from stages.lib.report.lexicon import (
    Entries,
    Entry,
    Lexicon,
    label_entries,
    map_words,
    strongest_ngrams,
    strongest_words,
)
from stages.lib.report.provenance import digest_of, md5, origin_of, pinned_versions, settings
from stages.lib.report.summary import summary
from stages.lib.report.tables import MEASURES, Slice
from tests.conftest import ROOT
from tests.test_report import evaluation_facts
from tests.toys import toy_model

WORDS = ["<pad>", UNK_TOKEN, "not", "good", "!"]
EVIL = "a|b <img src=x>\n# `code` [link](javascript:x)"


def lexicon(words: list[str], weights: list[list[float]], counts: list[int]) -> Lexicon:
    """The words as a page carries them."""
    number = len(words)
    space = Space(
        words=words,
        count=np.array(counts, np.uint32),
        vectors=np.ones((number, 2), np.float32),
        coords=np.arange(2 * number, dtype=np.float32).reshape(number, 2),
        explained=np.array([0.5, 0.25]),
        weights=np.array(weights),
        cluster=np.zeros(number, np.int64),
        clusters=["all"],
        labels=["bad", "good"],
    )
    return Lexicon.of_space(space.arrays({}))


def model_of_ngrams(weights: dict[int, list[float]], labels: list[str], **choices: Any) -> Any:
    outputs = 1 if len(labels) == 2 else len(labels)
    return toy_model([[0.0] * outputs] * len(WORDS), [0.0] * outputs, labels, ngrams=weights, **choices)


def test_the_lexicon_has_the_weights_of_the_page() -> None:
    known = lexicon(["dull", "\N{FIRE}", "fine"], [[-2.0], [0.5], [1.0]], [9, 8, 7])
    assert known.words == ["dull", "\N{FIRE}", "fine"]
    assert known.weights[:, 0].tolist() == pytest.approx([-2.0, 0.5, 1.0], abs=1e-4)
    assert known.counts.tolist() == [9, 8, 7]


def test_two_labels_share_the_weights_with_opposite_signs() -> None:
    known = lexicon(["dull", "fine", "great"], [[-2.0], [1.0], [3.0]], [9, 8, 7])
    assert [entry.text for entry in strongest_words(known, 0, 2, 5)] == ["dull"]
    assert [(e.text, e.occurrences) for e in strongest_words(known, 1, 2, 5)] == [("great", 7), ("fine", 8)]


def test_very_rare_words_are_left_out_if_others_remain() -> None:
    known = lexicon(["rare", "fine"], [[9.0], [1.0]], [2, 8])
    assert [entry.text for entry in strongest_words(known, 1, 2, 1)] == ["fine"]
    assert [entry.text for entry in strongest_words(known, 1, 2, 2)] == ["rare", "fine"]


def test_ngrams_have_the_text_of_their_keys_without_unknown_words_and_marks() -> None:
    base = len(WORDS)
    keys = {"not": 2, "not good": 2 * base + 3, "good !": 3 * base + 4, "<unk> good": base + 3}
    model = model_of_ngrams(
        {key: [1.0 + n] for n, key in enumerate(keys.values())}, ["bad", "good"], temperature=2.0
    )
    assert strongest_ngrams(model, WORDS, 1, 5) == [Entry("not good", 1.0)]
    assert strongest_ngrams(model, WORDS, 0, 5) == []


def test_ngrams_of_three_labels_have_a_column_each() -> None:
    model = model_of_ngrams({2 * len(WORDS) + 3: [0.0, -1.0, 4.0]}, ["a", "b", "c"])
    known = lexicon(["not"], [[1.0, 0.0, 0.0]], [5])
    listed = dict(label_entries(known, model, WORDS, 3))
    assert {label: len(entries.ngrams) for label, entries in listed.items()} == {"a": 0, "b": 0, "c": 1}
    assert [len(entries.words) for entries in listed.values()] == [1, 0, 0]


def test_a_model_without_ngrams_has_none() -> None:
    model = toy_model([[0.0]] * len(WORDS), [0.0], ["bad", "good"])
    assert strongest_ngrams(model, WORDS, 1, 5) == []


def test_the_map_has_the_decisive_words_first() -> None:
    known = lexicon(["the", "!", "dull", "fine"], [[0.1], [9.0], [-2.0], [1.0]], [10_000, 10, 10, 10])
    assert [word.text for word in map_words(known, 2, False)][:2] == ["dull", "fine"]
    ordered = lexicon(["dull", "fine"], [[2.0, 0, -1.0], [0.0, 0, 1.0]], [10, 10])
    assert [word.weight for word in map_words(ordered, 3, True)] == pytest.approx([-3.0, 1.0], abs=1e-3)


def test_a_text_is_marked_where_its_tokens_are() -> None:
    parts = parts_of("A Good, good film", ["a", "good", ",", "good", "film"], {1: 2.0, 3: -1.2, 4: 0.1})
    assert "".join(part.text for part in parts) == "A Good, good film"
    assert [(part.text, part.level) for part in parts if part.level] == [("Good", 4), ("good", -3)]
    assert Part("A", 0, 0.0, False) == parts[0]  # the model does not read the first token


def test_a_text_whose_tokens_are_written_otherwise_is_shown_as_tokens() -> None:
    assert spans_of("films", ["film", "##s"]) is None
    parts = parts_of("films", ["film", "##s"], {0: 1.0, 1: -1.0})
    assert [(part.text, part.level) for part in parts] == [("film", 4), (" ", 0), ("##s", -4)]


@pytest.mark.parametrize(
    "text", ["", "x" * 1_000_000, "good " * 100_000, "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}s"]
)
def test_any_text_has_an_example_of_bounded_length(text: str) -> None:
    tokens = text.split()
    shown = "".join(part.text for part in parts_of(text, tokens, dict.fromkeys(range(len(tokens)), 1.0)))
    assert len(shown) <= 2 * LONGEST
    assert text.startswith(shown)


def test_checksums_are_those_that_md5sum_prints(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\n")
    printed = subprocess.run(
        ["md5sum", "a.csv"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert printed.split()[0] == md5(tmp_path / "a.csv")
    listed = subprocess.run(["sha256sum"], input=printed, capture_output=True, text=True, check=True).stdout
    assert listed.split()[0] == digest_of([("a.csv", md5(tmp_path / "a.csv"))])


def test_the_origin_of_a_corpus_is_that_of_its_source() -> None:
    origin = origin_of(ROOT / "data/corpora/imdb", None)
    assert origin.checksum == "md5:7c2ac02c03563afcf9b574c7e56c153a"
    assert origin.licence is not None
    assert origin_of(ROOT / "data/corpora/imdb", "sha256:12").checksum == "sha256:12"
    assert origin_of(ROOT / "data/corpora/sample", None).checksum.startswith("sha256:")


def test_versions_are_those_of_the_lock() -> None:
    versions = pinned_versions(ROOT / "requirements.lock")
    assert versions["torch"] == "2.13.0"
    assert len(versions) >= 8


def test_a_parameter_differs_if_its_value_or_the_default_does() -> None:
    every = settings({"raw": {"test": 0.3, "salt": "x", "new": 1}}, {"raw": {"test": 0.2, "salt": "x"}})
    assert [(one.name, one.differs) for one in every["raw"]] == [
        ("test", True),
        ("salt", False),
        ("new", True),
    ]


def content(**changes: Any) -> dict[str, Any]:
    """The content of a page with a label, a slice and a warning from outside."""
    splits = {"train": 3, "validation": 1, "test": 2, "unlabelled": 0}
    entries = Entries([Entry(EVIL, 1.0, 5), Entry("fine", 0.5, 5)], [])
    return {
        "corpus": "sample",
        "facts": {"raw": {"reviews": splits, "warnings": {"x": EVIL}}, "evaluation": evaluation_facts()},
        "listed": {"accuracy": 0.5, "acc_low": 0.4, "acc_high": 0.6},
        "lead": "Firth is above.",
        "measures": MEASURES,
        "lexicon": [(EVIL, entries), ("good", entries)],
        "every_slice": [
            Slice("group", EVIL, 3, 0.25, 0.2, 0.3, -0.25),
            Slice("group", "z", 9, 0.5, 0.4, 0.6, 0),
        ],
        **changes,
    }


def test_the_summary_has_the_result_and_the_picture() -> None:
    text = summary(content())
    assert text.startswith("## sample: 50.0 % accuracy\n")
    assert "6 reviews: 3 train, 1 validation, 2 test. 2 labels." in text
    assert "![Words on the first two principal components](projection.png)" in text
    assert "| accuracy             | **0.500** | 0.432 to 0.568 |" in text
    assert "**−25.0**" in text
    assert text.index("25.0 % (20.0 %") < text.index("50.0 % (40.0 %")  # the lowest accuracy first


def test_the_summary_says_how_to_make_it_again() -> None:
    assert "`python -m tools.reproduce REV` makes this again" in summary(content())


def test_nothing_from_outside_becomes_markup_in_the_summary() -> None:
    text = summary(content())
    assert "<img" not in text
    assert "\n# " not in text
    assert "](javascript" not in text.replace("\\]", "")
    rows = [line for line in text.splitlines() if line.startswith("|") and "b &lt;" in line]
    assert len(rows) == 3
    assert all(line.replace("\\|", "").count("|") in (3, 5) for line in rows)


def test_the_summary_of_many_labels_and_no_slices_is_short() -> None:
    entries = [(f"label {number}", Entries([Entry("x", 1.0)] * 99, [])) for number in range(50)]
    text = summary(content(lexicon=entries, every_slice=[]))
    assert "42 more labels are in report.html." in text
    assert "low accuracy" not in text
    assert len(text) < 5000
