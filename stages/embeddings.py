"""Embeddings: a lookup is a one-hot matmul done cheaply; meaning is the company kept.

An embedding is a table with a row of D numbers for each of V words. To look a word up is to
multiply its one-hot vector (1, V) with the table (V, D); since all but one of the products are with
zero, taking the row gives the same, bit for bit. `nn.Embedding` is that table.

The rows are learnt from company. Two objectives, mirror images of each other:

    skip-gram   the centre's row predicts each of its context words     in[centre]        -> out[context]
    CBOW        the mean of the context's rows predicts the centre      mean in[context]  -> out[centre]

Each word has a row in two tables, `in` (kept) and `out` (of the predictions, thrown away). And two
losses: the softmax over all V words is the textbook's linear + softmax, and costs V products a
word. Negative sampling asks an easier question instead: is this the true word, or one of K drawn
from the noise distribution count ** noise_power?

    loss = - log sigmoid(in . out_true) - sum over K noise words of log sigmoid(- in . out_noise)

    Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality"

    python -m stages.embeddings --help
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor

from stages import UNK
from stages.lib.char_ngrams import CharNgrams, vector_of
from stages.lib.checkpoint import checkpoint
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, write_csv, write_json
from stages.lib.memory import require_memory
from stages.lib.params import Section, read_params
from stages.lib.portable import Device, prepare
from stages.lib.vectors import read_vectors
from stages.lib.word2vec.settings import Word2VecParams, settings_for
from stages.lib.word2vec.tables import InputTable, initial_table
from stages.lib.word2vec.trainer import train
from stages.lib.wordsets import measure, read_wordset


class Params(Section):
    objective: Literal["skipgram", "cbow"]  # skip-gram is better on rare words, CBOW is faster
    loss: Literal["negative_sampling", "softmax"]  # softmax is exact, and for small vocabularies
    dim: int = Field(ge=1, le=10_000)  # D: more room for shades of meaning, more to learn
    window: int = Field(ge=1, le=100)  # C: near words tell grammar, far ones topic
    negatives: int = Field(ge=1, le=1000)  # K: noise words a pair
    noise_power: float = Field(ge=0, le=2)  # 1 draws noise as often as text has it, 0 all alike
    subsample: float = Field(ge=0, le=1)  # words above this share are thinned out: they say little
    subwords: CharNgrams | None  # a word's vector as the mean of its own and of its pieces'
    pretrained: str | None  # vectors to start from, instead of small random ones
    epochs: int = Field(ge=1, le=10_000)
    lr: Literal["auto"] | Annotated[float, Field(gt=0, le=10)]  # falls linearly; auto: the objective's LR
    seed: int = Field(ge=0, lt=2**63)
    threads: int = Field(ge=1, le=1024)  # workers; another number is another order of sums
    device: Device
    wordsets: list[str]  # what people said of words, to measure the vectors by


def rarest(counts: Tensor) -> Tensor:
    """The rows of the words that occur least: what an unknown word most resembles, had it a row."""
    words = counts[UNK + 1 :]
    return (words == words.min()).nonzero().flatten() + UNK + 1


def start_from(path: Path, number: dict[str, int], words: InputTable) -> int:
    """Puts the vectors in a file in the place of the random ones; returns how many words it has."""
    table = np.full((max(number.values()) + 1, words.weight.shape[1]), np.nan, np.float32)
    found = read_vectors(path, number, table)
    rows = torch.from_numpy(~np.isnan(table[:, 0])).nonzero().flatten()
    words.assign(rows, torch.from_numpy(table)[rows])
    return found


def require_sense(text: int, words: int, params: Params) -> None:
    """Raises Refusal where there is nothing to learn from, or no room for the tables, or no names to
    tell the figures of two word sets apart."""
    if not words:
        raise Refusal("the vocabulary has <pad> and <unk> alone; lower vocabulary.min_count")
    if text <= params.window:
        raise Refusal(
            f"embeddings.window: found {params.window}, but the train texts have {text} words in all; "
            "wanted a window shorter than the text"
        )
    names = [Path(name).stem for name in params.wordsets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Refusal(f"embeddings.wordsets: two files are named {twice[0]!r}; their figures need two names")
    pieces = params.subwords.buckets if params.subwords else 0
    tables = 2 if params.device == "cpu" else 4  # on a GPU with room for a copy of all rows
    require_memory(
        4 * params.dim * (tables * words + pieces),
        f"embeddings.dim: found {params.dim}, which with {words:,} words"
        + (f" and {pieces:,} buckets" if pieces else ""),
        "lower it, or raise vocabulary.min_count",
        torch.cuda.mem_get_info()[0] if params.device == "cuda" else None,
    )


def find(name: str, folder: Path, what: str) -> Path:
    """A file that params.yaml names: one in `folder`, which DVC watches, or any other path."""
    for path in (folder / name, Path(name)):
        if path.is_file():
            return path
    there = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ""
    raise Refusal(f"embeddings.{what}: no file {name!r}; put it into {folder} (there: {there or 'nothing'})")


def main(
    params: Path,
    ids: Path,
    vocabulary: Path,
    pretrained: Path,
    wordsets: Path,
    embeddings: Path,
    facts: Path,
    metrics: Path,
    curve: Path,
) -> None:
    choices = read_params(params, "embeddings", Params)
    rows = pq.read_table(vocabulary, columns=["token", "count"])
    tokens, counts = rows["token"].to_pylist(), torch.tensor(rows["count"].to_numpy())
    number = {token: row for row, token in enumerate(tokens) if row > UNK}
    prepare(choices.seed, 1, choices.device)  # a worker is one thread
    require_sense(int(counts.sum()), len(number), choices)
    judged = {
        path.stem: read_wordset(path) for path in (find(n, wordsets, "wordsets") for n in choices.wordsets)
    }
    inputs = [ids, vocabulary]
    names = set(Params.model_fields) & set(Word2VecParams.__annotations__)
    training = Word2VecParams(
        **{name: getattr(choices, name) for name in names}, char_ngrams=choices.subwords
    )
    settings = settings_for(choices.objective, choices.device)
    words = initial_table(tokens, training, settings)
    found = 0
    if choices.pretrained is not None:
        inputs.append(find(choices.pretrained, pretrained, "pretrained"))
        found = start_from(inputs[-1], number, words)
    recipe = choices.model_copy(update={"wordsets": []}).model_dump_json()  # what the vectors depend on
    with checkpoint("embeddings", recipe, inputs) as saved:
        losses = train(ids, counts, words, training, settings, saved)
        vectors = words.vectors().cpu()
        vectors[UNK] = vectors[rarest(counts)].double().mean(0)
        tensors = {"embeddings": vectors}
        if choices.subwords:
            tensors["subwords"] = words.weight[len(tokens) :].cpu()
        with atomic(embeddings) as temporary:
            save_file(tensors, temporary)
    write_json(
        facts, {"parameters": choices.model_dump(), "counts": counts.tolist(), "tokens": int(counts.sum())}
    )
    write_csv(curve, ["words", "loss"], losses.rows)

    def unknown(word: str) -> NDArray[np.float32] | None:
        return vector_of(word, tensors["subwords"].numpy(), choices.subwords) if choices.subwords else None

    figures: dict[str, Any] = {
        "final_loss": losses.rows[-1][1],
        "mean_norm": vectors[1:].double().norm(dim=1).mean().item(),
        "words_a_pass": int(counts.sum()),
    }
    if choices.pretrained is not None:
        figures["pretrained_coverage"] = found / len(number)
    if judged:
        figures["agreement"] = {
            name: measure(wordset, number, vectors.numpy(), unknown) for name, wordset in judged.items()
        }
    write_json(metrics, figures)


if __name__ == "__main__":
    run(main)
