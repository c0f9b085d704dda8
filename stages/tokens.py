"""Tokens: a model sees what the tokeniser lets it see.

Text becomes a list of tokens, and whatever is not told apart here is never told apart again.

    "I really liked this movie!"  ->  ["i", "really", "liked", "this", "movie", "!"]

Three units: words (with punctuation and emoji as tokens of their own), characters, and subwords,
the pieces that byte-pair encoding finds worth a name of their own in the train texts (Sennrich et
al. 2016).

    python -m stages.tokens --help

data/tokeniser.json says how it was done; for subwords it is a file that Hugging Face's tokenizers
and transformers load.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from stages import PAD_TOKEN, SPLITS, TRAIN, UNK_TOKEN
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, write_json
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.tables import open_table, read_batches, table_writer

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),
        ("split", pa.string()),
        ("tokens", pa.list_(pa.string())),
    ]
)

WORKERS = 2  # batches in work at a time; their number changes no byte
Batch = TypeVar("Batch")
Done = TypeVar("Done")


class Params(Section):
    unit: Literal["words", "characters", "subwords"]  # what a token is
    lowercase: bool  # Good and good are one word, at the price of US and us
    subwords: int = Field(ge=100, le=1_000_000)  # pieces learnt, if the unit is subwords


# One token of text, in the order in which the kinds are tried. A Chinese character is a word. A
# word is letters, marks and digits of any script, with apostrophes inside, or the invisible joiners
# that Persian and Hindi write. An emoji is a picture with its variants (form, skin, region, joined
# pictures), a key (#, *), or a flag of two letters. All else that can be seen, punctuation above
# all, is a token by itself.
LETTER = r"[\p{L}\p{M}\p{N}--\p{Han}]"
PICTURE = r"\p{Extended_Pictographic}[\x{FE0E}\x{FE0F}\x{1F3FB}-\x{1F3FF}\x{E0020}-\x{E007F}]*"
KEY = r"[#*]\x{FE0F}?\x{20E3}"
WORD = "|".join(
    [
        r"\p{Han}",
        rf"{LETTER}+(?:['\x{{200C}}\x{{200D}}]{LETTER}+)*",
        rf"{PICTURE}(?:\x{{200D}}{PICTURE})*",
        KEY,
        r"\p{RI}\p{RI}",
        r"[^\s\p{C}]",
    ]
)
# Marks that only say where a line may break: inside a word they are nothing.
BREAKS = "[\u00ad\u2060]"


def normalised(texts: pl.DataFrame, lowercase: bool) -> pl.Series:
    """Texts in Unicode's composed form (NFC), with one kind of apostrophe."""
    found = texts["text"].str.replace_all("’", "'", literal=True).str.replace_all(BREAKS, "")
    found = found.str.to_lowercase() if lowercase else found
    # ASCII is composed as it is, and most reviews are: the others alone are worth the work.
    others = (found.str.len_bytes() != found.str.len_chars()).arg_true()
    return found.scatter(others, found.gather(others).str.normalize("NFC"))


def split_words(texts: pl.DataFrame, lowercase: bool) -> pl.Series:
    """Words, punctuation and emoji of each text.

    >>> split_words(pl.DataFrame({"text": ["Don't!"]}), lowercase=True).to_list()
    [["don't", '!']]
    """
    return normalised(texts, lowercase).str.extract_all(WORD)


def split_characters(texts: pl.DataFrame, lowercase: bool) -> pl.Series:
    """Every code point of each text; a run of white space is one space.

    >>> split_characters(pl.DataFrame({"text": ["Oh  no"]}), lowercase=True).to_list()
    [['o', 'h', ' ', 'n', 'o']]
    """
    visible = normalised(texts, lowercase).str.replace_all(r"\s", " ").str.replace_all(r"\p{C}", "")
    spaced = visible.str.replace_all(" +", " ").str.strip_chars(" ")
    return spaced.str.extract_all("(?s).")


def learn_subwords(texts: Iterator[str], pieces: int, lowercase: bool) -> Tokenizer:
    """A byte-pair encoding: starting from characters, the commonest pair becomes a piece, again and
    again, until there are `pieces`. A piece that begins a word begins with ▁."""
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
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    tokeniser.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces, special_tokens=[PAD_TOKEN, UNK_TOKEN], show_progress=False
    )
    tokeniser.train_from_iterator(texts, trainer)
    return tokeniser


def train_texts(raw: Path) -> Iterator[str]:
    """The texts that a tokeniser may learn from."""
    for batch in read_batches(raw, ["text", "split"]):
        for text, split in zip(batch["text"].to_pylist(), batch["split"].to_pylist(), strict=True):
            if split == TRAIN:
                yield text


def describe(params: Params, raw: Path) -> str:
    """The content of data/tokeniser.json: for subwords what was learnt from the train texts."""
    if params.unit == "subwords":
        learnt: str = learn_subwords(train_texts(raw), params.subwords, params.lowercase).to_str(pretty=True)
        return learnt
    described = {"lowercase": params.lowercase, "unit": params.unit}
    return json.dumps(described, indent=2) + "\n"


class Tokeniser(NamedTuple):
    """How texts are split: the same for every text that a model is to see."""

    split: Callable[[pl.DataFrame], pl.Series]  # a column `text` -> lists of tokens
    by_word: bool  # whether a text's tokens are those of its words, one after the other, spaces being none


def tokeniser_of(description: str) -> Tokeniser:
    """The tokeniser that data/tokeniser.json describes. Raises ValueError where it describes none.

    >>> tokeniser_of('{"lowercase": true, "unit": "words"}').split(pl.DataFrame({"text": ["Oh!"]})).to_list()
    [['oh', '!']]
    """
    told = json.loads(description)
    if "unit" in told:
        split = {"words": split_words, "characters": split_characters}[told["unit"]]
        lowercase = bool(told["lowercase"])
        return Tokeniser(lambda texts: split(texts, lowercase), by_word=told["unit"] == "words")
    learnt = Tokenizer.from_str(description)

    def split_subwords(texts: pl.DataFrame) -> pl.Series:
        encoded = learnt.encode_batch(texts["text"].to_list(), add_special_tokens=False)
        return pl.Series([e.tokens for e in encoded], dtype=pl.List(pl.String))

    return Tokeniser(split_subwords, by_word=True)


def read_tokeniser(tokeniser: Path) -> Tokeniser:
    """The tokeniser of data/tokeniser.json. Raises Refusal where the file holds something else."""
    try:
        return tokeniser_of(tokeniser.read_text(encoding="utf-8"))
    except OSError:
        raise
    except Exception:  # of no kind of its own where Hugging Face's library finds fault
        raise Refusal(f"{tokeniser}: no tokeniser of this version; make it anew with `dvc repro`") from None


def main(params: Path, raw: Path, tokens: Path, tokeniser: Path, metrics: Path) -> None:
    choices = read_params(params, "tokens", Params)
    description = describe(choices, raw)
    split = tokeniser_of(description).split
    lengths: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    with open_table(raw) as file:
        rows = file.metadata.num_rows

    def tokenise(batch: pa.RecordBatch) -> pl.DataFrame:
        table = pl.DataFrame(pl.from_arrow(batch))
        return table.drop("text").with_columns(split(table).alias("tokens"))

    with table_writer(tokens, SCHEMA) as writer, progress("tokens", "reviews", rows) as bar:
        for done in ahead(tokenise, read_batches(raw, ["id", "label", "split", "text"])):
            writer.write_table(done.to_arrow().cast(SCHEMA))
            for (name,), part in done.group_by("split"):
                lengths[str(name)].append(part["tokens"].list.len().to_numpy())
            bar.update(len(done))
    with atomic(tokeniser) as temporary:
        temporary.write_text(description, encoding="utf-8")
    write_json(metrics, {name: facts(np.concatenate(found)) for name, found in lengths.items() if found})


def ahead(function: Callable[[Batch], Done], batches: Iterable[Batch]) -> Iterator[Done]:
    """`function` of each batch, in order, worked out on two cores while the last one is used."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: deque[Future[Done]] = deque()
        for batch in batches:
            waiting.append(pool.submit(function, batch))
            if len(waiting) > WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def facts(lengths: np.ndarray) -> dict[str, float]:
    """What is worth knowing of a split's review lengths.

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


if __name__ == "__main__":
    run(main)
