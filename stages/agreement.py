"""Agreement: good vectors agree with people.

Word vectors have no right answer to compare with, but people's judgements exist: how similar two words
are, and which word completes an analogy. This stage measures the vectors by such files and lists the
nearest neighbours of some words, for a look by eye. It reads the vectors and never changes them:
another word set retrains nothing.

    similarity    correlation of the cosines of word pairs with people's scores (Spearman)
    analogies     share of questions a : b = c : d whose d is nearest to b - a + c (3CosAdd)
    neighbours    the words of the highest cosine similarity

Neighbours of vectors that were trained on little text are words of the same few documents more than words of
like meaning, and change with the seed. The metrics say whether there was enough text.

Mikolov et al. 2013, "Linguistic Regularities in Continuous Space Word Representations".

    python -m stages.agreement --help
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages import UNK
from stages.lib.arrays import Float32, Float64, read_arrays
from stages.lib.char_ngrams import CharNgrams, vector_of
from stages.lib.command import Refusal, run
from stages.lib.files import read_json, write_json
from stages.lib.frequencies import document_frequencies, log_odds_ratios
from stages.lib.params import Section, check, read_params
from stages.lib.tables import batch_of, read_table, table_writer
from stages.lib.user_files import find_file
from stages.lib.wordsets import measure, read_wordset

AUTO = 12  # words that `auto` lists
ENOUGH = 1_000_000  # words of text, from which neighbours begin to be alike in meaning; a rule of thumb
SCHEMA = pa.schema(
    [("word", pa.string()), ("known", pa.bool_()), ("neighbour", pa.string()), ("similarity", pa.float64())]
)

Lookup = Callable[[str], Float32 | None]  # the vector (D,) of a word outside the vocabulary, if any


class Params(Section):
    wordsets: list[str]  # files of people's judgements
    # Whose nearest neighbours are listed; unknown ones by their character n-grams. auto: those that occur
    # most unequally in the train documents of different labels.
    words: Literal["auto"] | list[str]
    neighbours: int = Field(ge=1, le=100)  # per word


class Neighbour(NamedTuple):
    """One row of the table of nearest neighbours."""

    word: str
    known: bool  # whether the word has a row in the vocabulary
    neighbour: str
    similarity: float  # cosine


def no_vector(word: str) -> None:
    """The lookup of embeddings without character n-grams: an unknown word has no vector."""


def nearest_neighbours(
    words: Sequence[str], vectors: Float32, queries: Sequence[str], count: int, unknown: Lookup = no_vector
) -> list[Neighbour]:
    """The `count` words with the highest cosine similarity to each query, without the query itself.

    `words` are the V words of `vectors` (V, D). A query outside the vocabulary gets its vector from
    `unknown`, and is left out if that returns None.

    >>> vectors = np.array([[1, 0], [1, 1], [-1, 0]], np.float32)
    >>> nearest_neighbours(["good", "great", "bad"], vectors, ["good"], 1)
    [Neighbour(word='good', known=True, neighbour='great', similarity=0.7071067690849304)]
    """
    row_of = {word: row for row, word in enumerate(words)}
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    neighbours = []
    for query in queries:
        row = row_of.get(query)
        vector = vectors[row] if row is not None else unknown(query)
        if vector is None:
            continue
        cosine = unit @ (vector / max(float(np.linalg.norm(vector)), 1e-12))  # (V,)
        if row is not None:
            cosine[row] = -np.inf
        best = np.argsort(-cosine, kind="stable")[:count]
        neighbours += [
            Neighbour(query, row is not None, words[n], float(cosine[n])) for n in best if cosine[n] > -np.inf
        ]
    return neighbours


def telling_words(frequencies: Float64, documents: Float64, count: int) -> list[int]:
    """The row numbers of `count` words that tell the labels apart best, the best of each label in turn.

    frequencies (L, V), documents (L,). A word is as telling as its log-odds ratio in standard errors.

    >>> telling_words(np.array([[0, 0, 9, 1, 5], [0, 0, 1, 8, 5]]), np.array([10, 10]), 2)
    [2, 3]
    """
    ratios, errors = log_odds_ratios(frequencies, documents)
    telling = ratios / errors
    telling[:, : UNK + 1] = -np.inf
    best = np.argsort(-telling, axis=1, kind="stable")[:, :count].tolist()
    in_turn = [row for rows in zip_longest(*best) for row in rows if row > UNK]
    return list(dict.fromkeys(in_turn))[:count]


def lookup_in(table: Float32 | None, config: CharNgrams | None) -> Lookup:
    """The lookup of unknown words in a table (buckets, D) of character n-grams, if there is one."""
    if table is None or config is None:
        return no_vector
    return lambda word: vector_of(word, table, config)


def require_distinct_names(wordsets: Sequence[str]) -> None:
    """Raises Refusal if two word sets share a name, which would be one name for two metrics.

    >>> require_distinct_names(["a/men.txt", "simlex.txt"])
    """
    names = [Path(name).stem for name in wordsets]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise Refusal(f"agreement.wordsets: found two files named {repeated[0]!r}; rename one of them")


def main(
    params: Path,
    ids: Path,
    embeddings: Path,
    vocabulary: Path,
    facts: Path,
    wordsets: Path,
    agreement: Path,
    metrics: Path,
) -> None:
    choices = read_params(params, "agreement", Params)
    require_distinct_names(choices.wordsets)
    paths = [find_file(name, wordsets, "agreement.wordsets") for name in choices.wordsets]
    judgements = {path.stem: read_wordset(path) for path in paths}
    tables = read_arrays(embeddings, "embeddings")
    training = read_json(facts)
    config = training["parameters"]["char_ngrams"]
    char_ngrams = None if config is None else check(CharNgrams, config, f"{facts}: char_ngrams")
    unknown = lookup_in(tables.get("char_ngrams"), char_ngrams)
    vectors = tables["embeddings"]
    words: list[str] = read_table(vocabulary, columns=["token"])["token"].to_pylist()
    row_of = {word: row for row, word in enumerate(words) if row > UNK}
    listed = choices.words
    if listed == "auto":
        listed = [words[row] for row in telling_words(*document_frequencies(ids, len(words)), AUTO)]
    neighbours = nearest_neighbours(words[UNK + 1 :], vectors[UNK + 1 :], listed, choices.neighbours, unknown)
    columns = [[row[n] for row in neighbours] for n in range(len(SCHEMA))]
    with table_writer(agreement, SCHEMA) as writer:
        writer.write_batch(batch_of(columns, SCHEMA))
    results = {name: measure(judged, row_of, vectors, unknown) for name, judged in judgements.items()}
    enough = training["tokens"] >= ENOUGH or training["parameters"]["pretrained"] is not None
    listed_words = {"words_listed": len({row.word for row in neighbours}), "enough_text": enough}
    write_json(metrics, listed_words | {"words_of_text": training["tokens"], "wordsets": results})


if __name__ == "__main__":
    run(main)
