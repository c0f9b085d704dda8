"""Explorer: look at the words, not only at their average.

The report's figures are means over a test split. Here every word can be looked at: where it is in the space
of the embeddings, which words are its neighbours there, and what it is worth to the model.
metrics/explorer.html is one file that opens without a network; the report contains the same explorer.

The page has the vectors themselves, as small integers, because a picture of three dimensions says little
about a hundred. Two measures say how far each can be trusted (see `stages.lib.neighbours`):

    overlap            share of nearest neighbours that the page's vectors and the embeddings have in common
    trustworthiness    of closeness in the picture: 1 if neighbours there are neighbours in the embeddings

    python -m stages.explorer --help

data/explorer.safetensors is what both pages carry (see `stages.lib.page.space`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from safetensors.numpy import save

from stages import UNK
from stages.lib.arrays import Float32, Float64, Int64, read_arrays
from stages.lib.clusters import central, cluster_means, nearest_mean
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, read_json, rounded, write_json, write_text
from stages.lib.model import Model
from stages.lib.neighbours import NEIGHBOURS, SAMPLE, evenly_spaced, overlap, trustworthiness, unit_rows
from stages.lib.page.assemble import assemble
from stages.lib.page.pack import pack
from stages.lib.page.parts import BASE, EXPLORER
from stages.lib.page.space import Space, by_row, shortened, top_directions
from stages.lib.params import Section, read_params, read_yaml
from stages.lib.reviews import Documents
from stages.lib.tables import read_table
from stages.lib.text import is_wordlike

SCRIPTS = (*BASE.scripts, *EXPLORER.scripts, "explorer_page.js")
STYLES = (*BASE.styles, *EXPLORER.styles)

AXES = 10  # principal components in the page, at most
FITTED = 10_000  # most frequent words that the clusters are made of: vectors of rare words are mostly noise
NAMED_BY, NAMES, NAME_LENGTH = 50, 3, 20  # a cluster has the names of 3 of its 50 most frequent words


class Params(Section):
    words: int = Field(ge=1, le=1_000_000)  # most frequent words in the page
    # Dimensions of the vectors in the page, for a smaller page of more words; null: all of them.
    dims: int | None = Field(ge=1)
    clusters: int = Field(ge=1, le=255)  # by k-means, to colour the words by; more are harder to distinguish


def word_weights(model: Model, rows: int) -> Float64:
    """What each word alone adds to the log-odds of the labels, (rows, O): its word vector, its n-gram of one
    word, and the n-grams of its letters, divided by the temperature."""
    codes = np.arange(UNK + 1, UNK + 1 + rows, dtype=np.int32)
    documents = Documents(codes, np.ones(rows, np.int64), [])
    logits = model.words.logits(documents.ids, documents.lengths)
    if model.ngrams is not None:
        logits += model.ngrams.logits(documents)
    weights: Float64 = (logits - model.bias) / model.config.temperature
    return weights


def clusters_of(words: Sequence[str], vectors: Float32, count: int) -> tuple[Int64, list[str]]:
    """The cluster (V,) of each word by the direction of its vector, and a name of each cluster.

    Clusters are numbered from the one with the most words. A name is made of the most central of its most
    frequent words.
    """
    unit = unit_rows(vectors)
    means = cluster_means(unit[:FITTED], count)
    cluster = nearest_mean(unit, means)
    order = np.argsort(-np.bincount(cluster, minlength=len(means)), kind="stable")
    names = []
    for number in order:
        members = np.flatnonzero(cluster == number)
        frequent = [row for row in members.tolist() if is_wordlike(words[row])][:NAMED_BY]
        rows = frequent or members[:NAMED_BY].tolist()
        nearest = [rows[n] for n in central(unit[rows], means[number], NAMES)]
        names.append(", ".join(shortened(words[row], NAME_LENGTH) for row in nearest))
    return np.argsort(order)[cluster], names


def facts_of(space: Space, vectors: Float32, words: int) -> dict[str, Any]:
    """What is to be known of the page: its numbers and how far it can be trusted.

    `vectors` (V, D) are those of the embeddings, and `words` is the length of the vocabulary.
    """
    small, scale = by_row(space.vectors)
    rows = evenly_spaced(len(vectors), SAMPLE)
    axes = [count for count in (2, 3) if count <= space.coords.shape[1]]
    trust = {str(count): trustworthiness(vectors[rows], space.coords[rows, :count]) for count in axes}
    return {
        "words": len(space.words),
        "words_of_vocabulary": words,
        "vector_dims": small.shape[1],
        "embedding_dims": vectors.shape[1],
        "neighbours": NEIGHBOURS,  # that both measures compare, on at most `sample` words
        "sample": SAMPLE,
        "overlap": overlap(vectors, small * scale[:, None]),
        "trustworthiness": trust,  # by the number of components
    }


def read_space(
    choices: Params, vocabulary: Path, vectors: Float32, projection: Path, explained: Path, model: Model
) -> Space:
    """The most frequent words with their vectors (V, D), coordinates and weights."""
    table = read_table(vocabulary, columns=["token", "count"])[UNK + 1 :][: choices.words]
    words: list[str] = table["token"].to_pylist()
    points = read_table(projection)[: choices.words]
    axes = points.column_names[1:][:AXES]
    variances = read_json(explained)["explained"]
    cluster, clusters = clusters_of(words, vectors, choices.clusters)
    return Space(
        words,
        table["count"].to_numpy().astype(np.uint32),
        vectors if choices.dims is None else top_directions(vectors, choices.dims),
        np.stack([points[axis].to_numpy() for axis in axes], 1),
        np.array([variances[axis] for axis in axes]),
        word_weights(model, len(words)),
        cluster,
        clusters,
        model.labels,
    )


def main(
    params: Path,
    vocabulary: Path,
    embeddings: Path,
    projection: Path,
    ensemble: Path,
    projection_json: Path,
    explorer: Path,
    metrics: Path,
    page: Path,
) -> None:
    choices = read_params(params, "explorer", Params)
    corpus = read_yaml(params)["corpus"]
    vectors = read_arrays(embeddings, "embeddings")["embeddings"][UNK + 1 :]
    total, dim = vectors.shape
    if choices.dims is not None and choices.dims > dim:
        raise Refusal(
            f"{params}: explorer.dims: found {choices.dims}, but the vectors have {dim} dimensions; lower "
            "it, or set null for all of them"
        )
    vectors = vectors[: choices.words]
    space = read_space(choices, vocabulary, vectors, projection, projection_json, Model.load(ensemble))
    facts = rounded(facts_of(space, vectors, total))
    arrays = space.arrays({"corpus": corpus, **facts})
    with atomic(explorer) as temporary:
        temporary.write_bytes(save(arrays))
    html = assemble("explorer_page.jinja", {"corpus": corpus}, SCRIPTS, STYLES, {"space": pack(arrays)})
    write_text(page, html)
    write_json(metrics, {**facts, "clusters": space.clusters, "page_bytes": page.stat().st_size})


if __name__ == "__main__":
    run(main)
