"""Embeddings: a lookup is a one-hot matmul done cheaply; meaning is the company kept.

An embedding is a table with a row of D numbers for each of V words. To look a word up is to multiply its
one-hot vector (1, V) with the table (V, D): all products but one are with zero, so taking the row gives the
same result, bit for bit (`one_hot_product`). `nn.Embedding` is that table.

The rows are learnt from the words that occur together. There are two objectives, mirror images of each
other:

    skip-gram   the row of the centre word predicts each word of its context
    CBOW        the mean of the context's rows predicts the centre word

and two losses. The softmax over all V words is the textbook's linear layer plus cross-entropy, and costs V
products per prediction. Negative sampling asks an easier question: is this the target, or one of K noise
words, drawn with probability proportional to count ** noise_power?

    loss = - log sigmoid(h . target) - sum over K noise words of log sigmoid(- h . noise)

    Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality"

    python -m stages.embeddings --help

`textbook` trains exactly this with autograd. It is slow. `stages/lib/word2vec` is the fast engine, and its
docstring states what it adds to the paper's algorithm.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize, one_hot

from stages import PAD, UNK
from stages.lib.char_ngrams import CharNgrams
from stages.lib.checkpoint import checkpoint
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, write_csv, write_json
from stages.lib.params import Section, read_params
from stages.lib.pooling import mean_pool
from stages.lib.portable import Device, prepare
from stages.lib.progress import progress
from stages.lib.tables import read_table
from stages.lib.user_files import find_file
from stages.lib.word2vec.settings import Word2VecParams, schedule, settings_for
from stages.lib.word2vec.stream import documents, generator_at, keep_probability, row_groups, subsampled
from stages.lib.word2vec.tables import initial_table, load_pretrained
from stages.lib.word2vec.trainer import LossCurve, require_trainable, train

TEXTBOOK_LR = {"skipgram": 0.025, "cbow": 0.1}  # for `lr: auto`; a mean's gradient is divided among words
TEXTBOOK_BATCH = 64  # B: predictions per step
CURVE_POINTS = 100  # of the loss curve

Example = tuple[list[int], int]  # the words that predict, the word that is predicted


class Params(Section):
    engine: Literal["blocks", "textbook"]  # lib/word2vec, or this file's plain loop for small corpora
    objective: Literal["skipgram", "cbow"]  # skip-gram is better for rare words, CBOW is faster
    loss: Literal["negative_sampling", "softmax"]  # softmax is exact, and for small vocabularies
    dim: int = Field(ge=1, le=10_000)  # D: more can express more, and needs more text
    window: int = Field(ge=1, le=100)  # a small window learns grammar, a large one topics
    negatives: int = Field(ge=1, le=1000)  # K: noise words per prediction
    noise_power: float = Field(ge=0, le=2)  # 1: noise words as frequent as in the text, 0: all equal
    subsample: float = Field(ge=0, le=1)  # words with a larger share are thinned out; 0: none
    char_ngrams: CharNgrams | None  # a word's vector is then the mean of its own and of its n-grams'
    pretrained: str | None  # vectors to start from, instead of small random ones
    epochs: int = Field(ge=1, le=10_000)
    lr: Literal["auto"] | Annotated[float, Field(gt=0, le=10)]  # falls linearly; auto: the objective's own
    seed: int = Field(ge=0, lt=2**63)
    threads: int = Field(ge=1, le=1024)  # workers, or fewer if the text is too short for so many
    device: Device


def one_hot_product(rows: Tensor, table: Tensor) -> Tensor:
    """The lookup as linear algebra: row numbers (N,), table (V, D) -> (N, D).

    >>> toy = torch.tensor([[0.9, 0.8], [0.95, 0.9], [-0.85, -0.7], [-0.9, -0.95]])
    >>> one_hot_product(torch.tensor([1, 3]), toy)
    tensor([[ 0.9500,  0.9000],
            [-0.9000, -0.9500]])
    >>> nn.Embedding.from_pretrained(toy)(torch.tensor([1, 3]))
    tensor([[ 0.9500,  0.9000],
            [-0.9000, -0.9500]])
    """
    return one_hot(rows, len(table)).to(table) @ table


def nearest(word: str, words: Sequence[str], table: Tensor) -> str:
    """The other word with the largest cosine similarity, by a table (V, D) with a row for each word.

    >>> words = ["good", "great", "bad", "terrible"]
    >>> toy = torch.tensor([[0.9, 0.8], [0.95, 0.9], [-0.85, -0.7], [-0.9, -0.95]])
    >>> [nearest(word, words, toy) for word in words]
    ['great', 'good', 'terrible', 'bad']
    """
    row = words.index(word)
    units = normalize(table)  # (V, D)
    similarity = units @ units[row]  # (V,)
    similarity[row] = -torch.inf
    return words[int(similarity.argmax())]


def context(document: Sequence[int], position: int, reach: int) -> list[int]:
    """The words at most `reach` positions before and after a position.

    >>> context([5, 6, 7, 8], 1, 2)
    [5, 7, 8]
    """
    return [*document[max(0, position - reach) : position], *document[position + 1 : position + reach + 1]]


def skipgram(document: Sequence[int], reach: Sequence[int]) -> Iterator[Example]:
    """Each word predicts each word of its context, which reaches `reach` positions to either side.

    >>> list(skipgram([5, 6, 7], [1, 1, 1]))
    [([5], 6), ([6], 5), ([6], 7), ([7], 6)]
    """
    for position, centre in enumerate(document):
        for word in context(document, position, reach[position]):
            yield [centre], word


def cbow(document: Sequence[int], reach: Sequence[int]) -> Iterator[Example]:
    """The words of each context together predict the word in its centre.

    >>> list(cbow([5, 6, 7], [1, 1, 1]))
    [([6], 5), ([5, 7], 6), ([6], 7)]
    """
    for position, centre in enumerate(document):
        if words := context(document, position, reach[position]):
            yield words, centre


class Word2Vec(nn.Module):
    """Two vectors for each word: one to predict with, which is the result, and one to be predicted by."""

    def __init__(self, vectors: Tensor) -> None:
        """`vectors` (V, D) are the input vectors, which training changes in place. Row 0 must be zeros."""
        super().__init__()
        words, dim = vectors.shape
        self.input, self.output = (nn.Embedding(words, dim, PAD, sparse=True) for _ in range(2))
        self.input.weight = nn.Parameter(vectors)  # (V, D)
        self.output.weight = nn.Parameter(torch.zeros_like(vectors))  # (V, D)

    def hidden(self, ids: Tensor) -> Tensor:
        """The mean of the vectors of the words that predict, padding excluded: (B, C) -> (B, D)."""
        return mean_pool(self.input(ids), ids != PAD)


def negative_sampling(hidden: Tensor, targets: Tensor, noise: Tensor, output: nn.Embedding) -> Tensor:
    """Is this the target or a noise word? (B, D), targets (B,), noise (B, K) -> loss per example (B,)."""
    score = (hidden * output(targets)).sum(-1)  # (B,)
    noise_score = (hidden[:, None] * output(noise)).sum(-1)  # (B, K)
    return -logsigmoid(score) - logsigmoid(-noise_score).sum(-1)


def softmax(hidden: Tensor, targets: Tensor, noise: Tensor, output: nn.Embedding) -> Tensor:
    """Which of all words is the target? (B, D), targets (B,) -> loss per example (B,). Needs no noise."""
    scores = hidden @ output.weight.T  # (B, V)
    return cross_entropy(scores[:, PAD + 1 :], targets - (PAD + 1), reduction="none")  # never <pad>


def texts(ids: Path, counts: Tensor, params: Word2VecParams) -> Iterator[tuple[int, list[int], list[int]]]:
    """All documents, once per epoch: their number of words, those left by subsampling, and their reach.

    The reach of each word is drawn from 1 to `window`, which gives nearby words more weight.
    """
    keep = keep_probability(counts, params.subsample)
    for epoch in range(params.epochs):
        generator = generator_at(params.seed, "textbook", epoch)
        order = torch.randperm(row_groups(ids), generator=generator).tolist()
        for words, lengths in documents(ids, order):
            kept, kept_lengths = subsampled(words, lengths, keep, generator)
            reach = torch.randint(1, params.window + 1, kept.shape, generator=generator)
            parts = (torch.split(flat, kept_lengths.tolist()) for flat in (kept, reach))  # of each document
            for length, document, reaches in zip(lengths.tolist(), *parts, strict=True):
                yield length, document.tolist(), reaches.tolist()


def textbook(ids: Path, counts: Tensor, vectors: Tensor, params: Word2VecParams) -> LossCurve:
    """Trains vectors (V, D) in place, example by example in small batches, and returns the loss curve.

    `counts` (V,) are the occurrences of each row. Raises Refusal if the training diverges.
    """
    objective = {"skipgram": skipgram, "cbow": cbow}[params.objective]
    loss = {"negative_sampling": negative_sampling, "softmax": softmax}[params.loss]
    top_lr = TEXTBOOK_LR[params.objective] if params.lr == "auto" else params.lr
    total = int(params.epochs * counts.sum())
    counts = counts.index_fill(0, torch.tensor([UNK]), 0)  # no prediction has <unk>
    noise_weights = counts.double().pow(params.noise_power) * (counts > 0)  # (V,)
    generator = generator_at(params.seed, "textbook noise")
    model = Word2Vec(vectors)
    curve, done = LossCurve(-(-total // CURVE_POINTS)), 0
    with progress("embeddings", "words", total) as bar:
        for length, document, reach in texts(ids, counts, params):
            examples = list(objective(document, reach))
            lr = top_lr * (1 - done / total)  # falls linearly
            for start in range(0, len(examples), TEXTBOOK_BATCH):
                batch = examples[start : start + TEXTBOOK_BATCH]
                width = max(len(words) for words, _ in batch)
                inputs = torch.tensor([words + [PAD] * (width - len(words)) for words, _ in batch])  # (B, C)
                targets = torch.tensor([target for _, target in batch])  # (B,)
                drawn = noise_weights.multinomial(len(batch) * params.negatives, True, generator=generator)
                noise = drawn.view(len(batch), -1)  # (B, K)
                total_loss = loss(model.hidden(inputs), targets, noise, model.output).sum()
                sgd_step(model, total_loss, lr)
                curve.add(done, total_loss.item(), len(batch))
            done += length
            bar.update(length)
    curve.finish(done, vectors, top_lr)
    return curve


@torch.no_grad()
def sgd_step(model: nn.Module, loss: Tensor, lr: float) -> None:
    """Stochastic gradient descent: every weight moves against its gradient."""
    weights = list(model.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.add_(gradient, alpha=-lr)


def unknown_vector(vectors: Tensor, counts: Tensor) -> Tensor:
    """The vector of <unk>: the mean of the rarest words', which an unknown word resembles most. (D,)"""
    words = counts[UNK + 1 :]
    rarest = (words == words.min()).nonzero().flatten() + UNK + 1
    return vectors[rarest].double().mean(0)


def main(
    params: Path,
    ids: Path,
    vocabulary: Path,
    pretrained: Path,
    embeddings: Path,
    facts: Path,
    metrics: Path,
    curve: Path,
) -> None:
    choices = read_params(params, "embeddings", Params)
    rows = read_table(vocabulary, columns=["token", "count"])
    tokens, counts = rows["token"].to_pylist(), torch.tensor(rows["count"].to_numpy())
    number = {token: row for row, token in enumerate(tokens) if row > UNK}
    prepare(choices.seed, 1, choices.device)  # every worker is one thread
    names = [field.name for field in dataclasses.fields(Word2VecParams)]
    training = Word2VecParams(**{name: getattr(choices, name) for name in names})
    require_trainable(int(counts.sum()), len(number), training)
    if choices.engine == "textbook" and (choices.char_ngrams or choices.device != "cpu"):
        raise Refusal(
            "embeddings.engine: found textbook, which trains whole words on the CPU only; set blocks, or "
            "char_ngrams: null and device: cpu"
        )
    settings = settings_for(choices.objective, choices.device)
    inputs = initial_table(tokens, training, settings)
    sources, results = [ids, vocabulary], {}
    if choices.pretrained is not None:
        sources.append(find_file(choices.pretrained, pretrained, "embeddings.pretrained"))
        results["pretrained_coverage"] = load_pretrained(sources[-1], number, inputs) / len(number)
    with checkpoint("embeddings", choices.model_dump_json(), sources) as saved:
        if choices.engine == "textbook":
            losses = textbook(ids, counts, inputs.weight, training)
        else:
            losses = train(ids, counts, inputs, training, settings, saved)
        vectors = inputs.vectors().cpu()
        vectors[UNK] = unknown_vector(vectors, counts)
        tensors = {"embeddings": vectors}
        if choices.char_ngrams:
            tensors["char_ngrams"] = inputs.weight[len(tokens) :].cpu()
        with atomic(embeddings) as temporary:
            save_file(tensors, temporary)
    total = int(counts.sum())
    workers = 1 if choices.engine == "textbook" else schedule(total, training, settings).workers
    made_of = {"parameters": choices.model_dump(), "counts": counts.tolist(), "tokens": total}
    write_json(facts, made_of | {"workers": workers})
    write_csv(curve, ["words", "loss"], losses.rows)
    results["final_loss"] = losses.rows[-1][1]
    results["mean_norm"] = vectors[1:].double().norm(dim=1).mean().item()
    write_json(metrics, results | {"words_per_epoch": total})


if __name__ == "__main__":
    run(main)
