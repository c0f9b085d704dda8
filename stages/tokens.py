"""Tokens: a model sees what the tokeniser lets it see.

Text becomes a list of tokens. Whatever is made equal here, no later stage can distinguish.

    "I really liked this movie!"  ->  ["i", "really", "liked", "this", "movie", "!"]

Three units: words (punctuation marks and emoji are tokens too), characters, and subwords, the pieces
that byte-pair encoding learns from the training texts (Sennrich et al. 2016).

    python -m stages.tokens --help

data/tokeniser.json describes the tokeniser. For subwords it is a file that Hugging Face's tokenizers and
transformers can load.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from stages import PAD_TOKEN, SPLITS, TRAIN, UNK_TOKEN
from stages.lib.arrays import UInt32
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, write_json
from stages.lib.parallel import map_ahead
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.tables import open_table, read_batches, table_writer

if TYPE_CHECKING:
    from tokenizers import Tokenizer  # imported inside the functions that need it: only subwords do

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),
        ("split", pa.string()),
        ("tokens", pa.list_(pa.string())),
    ]
)


class Params(Section):
    unit: Literal["words", "characters", "subwords"]  # what a token is
    lowercase: bool  # Good and good become one word; so do US and us
    bpe_pieces: int = Field(ge=100, le=1_000_000)  # size of the byte-pair vocabulary


# The kinds of tokens, in the order in which they are tried. A Chinese character is a word. A word is
# letters, marks and digits of any script, with apostrophes inside, or the invisible joiners of Persian
# and Hindi. An emoji is a pictograph with its variants (form, skin, region, joined pictographs), a keycap
# (#, *), or a flag of two letters. Every other visible character, such as a punctuation mark, is a token.
LETTER = r"[\p{L}\p{M}\p{N}--\p{Han}]"
PICTOGRAPH = r"\p{Extended_Pictographic}[\x{FE0E}\x{FE0F}\x{1F3FB}-\x{1F3FF}\x{E0020}-\x{E007F}]*"
KEYCAP = r"[#*]\x{FE0F}?\x{20E3}"
WORD = "|".join(
    [
        r"\p{Han}",
        rf"{LETTER}+(?:['\x{{200C}}\x{{200D}}]{LETTER}+)*",
        rf"{PICTOGRAPH}(?:\x{{200D}}{PICTOGRAPH})*",
        KEYCAP,
        r"\p{RI}\p{RI}",
        r"[^\s\p{C}]",
    ]
)
# Soft hyphens and word joiners, which only allow or forbid line breaks: removed from words.
BREAKS = "[\u00ad\u2060]"
WORD_START = "▁"  # of subwords, in place of a space


def normalised(texts: pl.DataFrame, lowercase: bool) -> pl.Series:
    """Texts in Unicode's composed form (NFC), with one kind of apostrophe."""
    plain = texts["text"].str.replace_all("’", "'", literal=True).str.replace_all(BREAKS, "")
    plain = plain.str.to_lowercase() if lowercase else plain
    # ASCII text is composed already, and most reviews are ASCII.
    others = (plain.str.len_bytes() != plain.str.len_chars()).arg_true()
    return plain.scatter(others, plain.gather(others).str.normalize("NFC"))


def split_words(texts: pl.DataFrame, lowercase: bool) -> pl.Series:
    """Words, punctuation and emoji of each text.

    >>> split_words(pl.DataFrame({"text": ["Don't!"]}), lowercase=True).to_list()
    [["don't", '!']]
    """
    return normalised(texts, lowercase).str.extract_all(WORD)


def split_characters(texts: pl.DataFrame, lowercase: bool) -> pl.Series:
    """Every code point of each text. Consecutive white space becomes one space.

    >>> split_characters(pl.DataFrame({"text": ["Oh  no"]}), lowercase=True).to_list()
    [['o', 'h', ' ', 'n', 'o']]
    """
    visible = normalised(texts, lowercase).str.replace_all(r"\s", " ").str.replace_all(r"\p{C}", "")
    spaced = visible.str.replace_all(" +", " ").str.strip_chars(" ")
    return spaced.str.extract_all("(?s).")


def learn_subwords(texts: Iterator[str], count: int, lowercase: bool) -> "Tokenizer":
    """A byte-pair encoding: starting from characters, the most frequent pair of pieces is merged into a new
    piece until there are `count`. A piece at the start of a word begins with WORD_START."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokeniser = Tokenizer(models.BPE(unk_token=UNK_TOKEN))
    tokeniser.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("’", "'"),
            *([normalizers.Lowercase()] if lowercase else []),
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s"), " "),
            normalizers.Replace(Regex(r"\p{C}"), ""),
            normalizers.Replace(Regex(" +"), " "),
            normalizers.Strip(),
        ]
    )
    tokeniser.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(WORD_START), pre_tokenizers.Punctuation()]
    )
    tokeniser.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=count, special_tokens=[PAD_TOKEN, UNK_TOKEN], show_progress=False
    )
    tokeniser.train_from_iterator(texts, trainer)
    return tokeniser


def train_texts(raw: Path) -> Iterator[str]:
    """The texts that the tokeniser is trained on."""
    for batch in read_batches(raw, ["text", "split"]):
        for text, split in zip(batch["text"].to_pylist(), batch["split"].to_pylist(), strict=True):
            if split == TRAIN:
                yield text


def describe(params: Params, raw: Path) -> str:
    """The content of data/tokeniser.json. Subwords are learned from the training texts."""
    if params.unit == "subwords":
        learned = learn_subwords(train_texts(raw), params.bpe_pieces, params.lowercase)
        description: str = learned.to_str(pretty=True)
        return description
    described = {"lowercase": params.lowercase, "unit": params.unit}
    return json.dumps(described, indent=2) + "\n"


class Tokeniser(NamedTuple):
    """Splits texts, the same way in training and prediction."""

    split: Callable[[pl.DataFrame], pl.Series]  # a column `text` -> lists of tokens
    by_word: bool  # whether the tokens of a text are those of its words, split at spaces


def tokeniser_of(description: str) -> Tokeniser:
    """The tokeniser that data/tokeniser.json describes. Raises ValueError if it describes none.

    >>> tokeniser_of('{"lowercase": true, "unit": "words"}').split(pl.DataFrame({"text": ["Oh!"]})).to_list()
    [['oh', '!']]
    """
    content = json.loads(description)
    if "unit" in content:
        split = {"words": split_words, "characters": split_characters}[content["unit"]]
        lowercase = bool(content["lowercase"])
        return Tokeniser(lambda texts: split(texts, lowercase), by_word=content["unit"] == "words")
    from tokenizers import Tokenizer

    learned = Tokenizer.from_str(description)
    if learned.model.token_to_id(UNK_TOKEN) is None or learned.model.unk_token != UNK_TOKEN:
        raise ValueError(f"no {UNK_TOKEN} in it")  # an unknown piece would fail later

    def split_subwords(texts: pl.DataFrame) -> pl.Series:
        encoded = learned.encode_batch(texts["text"].to_list(), add_special_tokens=False)
        return pl.Series([e.tokens for e in encoded], dtype=pl.List(pl.String))

    return Tokeniser(split_subwords, by_word=True)


def read_tokeniser(tokeniser: Path) -> Tokeniser:
    """The tokeniser of data/tokeniser.json. Raises Refusal if the file is none of this version."""
    try:
        return tokeniser_of(tokeniser.read_text(encoding="utf-8"))
    except (OSError, MemoryError):
        raise
    except Exception:  # the tokenizers library raises plain Exception
        raise Refusal(f"{tokeniser}: no tokeniser of this version; run `dvc repro`") from None


def facts(lengths: UInt32) -> dict[str, float]:
    """Statistics of the review lengths of a split.

    >>> facts(np.array([2, 0, 4]))["mean_length"]
    2.0
    """
    return {
        "tokens": int(lengths.sum()),
        "mean_length": float(lengths.mean()),
        "median_length": float(np.median(lengths)),
        "longest": int(lengths.max()),
        "empty": int((lengths == 0).sum()),
    }


def main(params: Path, raw: Path, tokens: Path, tokeniser: Path, metrics: Path) -> None:
    choices = read_params(params, "tokens", Params)
    description = describe(choices, raw)
    split = tokeniser_of(description).split
    lengths: dict[str, list[UInt32]] = {name: [] for name in SPLITS}
    with open_table(raw) as file:
        rows = file.metadata.num_rows

    def tokenise(batch: pa.RecordBatch) -> pl.DataFrame:
        table = pl.DataFrame(pl.from_arrow(batch))
        return table.drop("text").with_columns(split(table).alias("tokens"))

    with table_writer(tokens, SCHEMA) as writer, progress("tokens", "reviews", rows) as bar:
        for done in map_ahead(tokenise, read_batches(raw, ["id", "label", "split", "text"])):
            writer.write_table(done.to_arrow().cast(SCHEMA))
            for (name,), part in done.group_by("split"):
                lengths[str(name)].append(part["tokens"].list.len().to_numpy())
            bar.update(len(done))
    with atomic(tokeniser) as temporary:
        temporary.write_text(description, encoding="utf-8")
    write_json(metrics, {name: facts(np.concatenate(parts)) for name, parts in lengths.items() if parts})


if __name__ == "__main__":
    run(main)
