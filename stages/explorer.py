"""Explorer: look at the words, not only at their average.

The report's figures are means over a test split. Here every word can be looked at: where it is in the space of
the embeddings, which words are its neighbours there, and what it is worth to the model. metrics/explorer.html
is one file that opens without a network; the report contains the same explorer.

    python -m stages.explorer --help

data/explorer.safetensors is what both pages carry (see `stages.lib.page.space`).
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pydantic import Field
from safetensors.numpy import load_file, save

from stages import UNK
from stages.lib.arrays import Float64
from stages.lib.command import run
from stages.lib.files import atomic, read_json, write_json
from stages.lib.model import Model
from stages.lib.page.assemble import assemble
from stages.lib.page.pack import pack
from stages.lib.page.parts import BASE, EXPLORER
from stages.lib.page.space import space_of
from stages.lib.params import Section, read_params, read_yaml
from stages.lib.reviews import Documents

SCRIPTS = (*BASE.scripts, *EXPLORER.scripts, "explorer_page.js")
STYLES = (*BASE.styles, *EXPLORER.styles)


class Params(Section):
    words: int = Field(ge=1, le=1_000_000)  # most frequent words in the page


def word_weights(model: Model, rows: int) -> Float64:
    """What each word alone adds to the log-odds of the labels, (rows, O): its word vector, its n-gram of one
    word, and the n-grams of its letters."""
    codes = np.arange(UNK + 1, UNK + 1 + rows, dtype=np.int32)
    documents = Documents(codes, np.ones(rows, np.int64), [])
    logits = model.words.logits(documents.ids, documents.lengths)
    if model.ngrams is not None:
        logits += model.ngrams.logits(documents)
    weights: Float64 = (logits - model.bias) / model.config.temperature
    return weights


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
    rows = slice(UNK + 1, UNK + 1 + choices.words)
    table = pq.read_table(vocabulary, columns=["token", "count"])[rows]
    vectors = load_file(embeddings)["embeddings"][rows]
    places = pq.read_table(projection).slice(0, choices.words)
    coords = np.stack([places[name].to_numpy() for name in places.column_names[1:]], 1)
    explained = np.array(list(read_json(projection_json)["explained"].values()))
    model = Model.load(ensemble)
    arrays = space_of(
        table["token"].to_pylist(),
        table["count"].to_numpy().astype(np.uint32),
        vectors,
        coords,
        explained,
        word_weights(model, len(vectors)),
        model.labels,
        {"corpus": read_yaml(params)["corpus"]},
    )
    with atomic(explorer) as temporary:
        temporary.write_bytes(save(arrays))
    html = assemble(
        "explorer_page.jinja",
        {"corpus": read_yaml(params)["corpus"]},
        SCRIPTS,
        STYLES,
        {"space": pack(arrays)},
    )
    with atomic(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    write_json(metrics, {"words": len(vectors)})


if __name__ == "__main__":
    run(main)
