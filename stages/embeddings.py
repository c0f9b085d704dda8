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

Speed comes from the shape of the work, not from another mathematics:

    block   P neighbouring positions. All their pairs are scored by one matrix product, and those
            outside a centre's window masked out.
    group   some neighbouring blocks, which share their noise words, each weighted so that the
            expected gradient is that of K drawn for every pair.
    step    S blocks at once. The gradients, two more products, are written out below.
    round   the steps that a worker takes, one thread to a worker, on a copy of the rows it needs.
            Then what all workers changed goes into the tables, in the order of their numbers: so no
            thread waits for another in between, and the bytes are the same on every run.
"""

import hashlib
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import softplus

from stages import PAD, TRAIN, UNK, UNLABELLED
from stages.lib.checkpoint import Checkpoint, checkpoint
from stages.lib.command import Refusal, run
from stages.lib.files import atomic, write_csv, write_json
from stages.lib.memory import require_memory
from stages.lib.params import Section, read_params
from stages.lib.progress import progress
from stages.lib.subwords import Subwords, pieces_of, vector_of
from stages.lib.tables import open_table
from stages.lib.training import Device, prepare
from stages.lib.vectors import read_vectors
from stages.lib.wordsets import measure, read_wordset

BLOCK = 16  # P: positions scored together; longer blocks waste products outside the windows
STEP = {"skipgram": 32, "cbow": 64}  # S: blocks a step; longer steps are faster and use staler rows
ROUND = 1024  # blocks a round at most; longer rounds waste less on copies and merge staler rows
WIDER = {"cpu": 1, "cuda": 4}  # so many times longer steps: a GPU has room for them
LONGER = {"cpu": 1, "cuda": 16}  # so many times longer rounds: a GPU is one worker, which merges with none
ROUNDS = 32  # an epoch at least, so that on a short text the workers meet often enough
NOISE_ENTRIES = 1 << 22  # of the table that noise words are drawn from, at least
DAMPING = -0.25  # power of an input's count in a step; of a target's it cost agreement with people
PIECE_DAMPING = -0.5  # power of how many words of a round share a piece
MOST = 16.0  # gradients that a row may take in one step, over all workers; more overshoot
MEETING = 16.0  # occurrences in a round, from about which on workers' changes are averaged, not added
AHEAD = 64  # rounds of ROUND blocks read in advance: a row group is many, and is read at once
CELLS = 1 << 22  # scores of the full softmax in memory at a time
LR = {"skipgram": 0.03, "cbow": 0.15}  # `lr: auto`; a mean's gradient is shared by its words
CURVE = 100  # points of the loss curve
FLOOR = 1e-4  # of the learning rate, at the end
RECORDING = Lock()  # one worker records, and the others wait to use it

Item = TypeVar("Item")


class Params(Section):
    objective: Literal["skipgram", "cbow"]  # skip-gram is better on rare words, CBOW is faster
    loss: Literal["negative_sampling", "softmax"]  # softmax is exact, and for small vocabularies
    dim: int = Field(ge=1, le=10_000)  # D: more room for shades of meaning, more to learn
    window: int = Field(ge=1, le=100)  # C: near words tell grammar, far ones topic
    negatives: int = Field(ge=1, le=1000)  # K: noise words a pair
    noise_power: float = Field(ge=0, le=2)  # 1 draws noise as often as text has it, 0 all alike
    subsample: float = Field(ge=0, le=1)  # words above this share are thinned out: they say little
    subwords: Subwords | None  # a word's vector as the mean of its own and of its pieces'
    pretrained: str | None  # vectors to start from, instead of small random ones
    epochs: int = Field(ge=1, le=10_000)
    lr: Literal["auto"] | Annotated[float, Field(gt=0, le=10)]  # falls linearly; auto: the objective's LR
    seed: int = Field(ge=0, lt=2**63)
    threads: int = Field(ge=1, le=1024)  # workers; another number is another order of sums
    device: Device
    wordsets: list[str]  # what people said of words, to measure the vectors by


class Sharing(NamedTuple):
    """So many neighbouring blocks share so many noise words."""

    blocks: int  # g
    words: int  # K: fewer estimate more coarsely
    pool: int | None  # noise words that ROUND blocks draw theirs from; None: they draw from all words


# Skip-gram learns better from many different noise words, CBOW from few.
SHARING = {"skipgram": Sharing(4, 32, None), "cbow": Sharing(4, 16, 4096)}
OWN = {"skipgram": Sharing(1, 48, 4096), "cbow": Sharing(1, 8, 4096)}  # on a short text, which evens out less


class Plan(NamedTuple):
    """How a text is cut up, and how calmly it is learnt from."""

    step: int  # S: blocks a step
    length: int  # blocks a round
    stretch: int  # blocks of the steps that are recorded as one: on a CPU all of a round, on a GPU a step
    sharing: Sharing
    most: float  # gradients that a row may take in a worker's step


class Blocks(NamedTuple):
    """B blocks of P neighbouring positions, with `window` more words on each side: C = P + 2 window."""

    centres: Tensor  # (B, P) row numbers
    contexts: Tensor  # (B, C) row numbers of the same positions and of those beside them
    near: Tensor  # (B, P, C) 1.0 where the context is in the centre's window and document, else 0.0


class Predictions(NamedTuple):
    """What is to be predicted from what, in B blocks of P positions."""

    inputs: Tensor  # (B, I) rows of the `in` table
    mix: Tensor | None  # (B, P, I) each position's shares of the inputs; None: position i is input i
    targets: Tensor  # (B, R) rows of the `out` table
    true: Tensor  # (B, P, R) 1.0 where the target is true of the position; or (B, P, 1): of target i alone


def skipgram(blocks: Blocks) -> Predictions:
    """Each centre predicts each of its context words."""
    return Predictions(blocks.centres, None, blocks.contexts, blocks.near)


def cbow(blocks: Blocks) -> Predictions:
    """The mean of the context words predicts the centre."""
    count = blocks.near.sum(-1, keepdim=True)  # (B, P, 1)
    mean = blocks.near * count.clamp(min=1).reciprocal()  # (B, P, C)
    return Predictions(blocks.contexts, mean, blocks.centres, (count > 0).to(mean))


def apiece(true: Tensor) -> bool:
    """Whether each position has one target, its own: then no product of all with all is needed."""
    return true.shape[2] == 1


class Step(NamedTuple):
    """S blocks of predictions in G groups, with their noise. One of many blocks is a stretch, which is cut
    into steps that are taken one after the other.

    `rate`, minus the learning rate in training, is in the weights already: so the gradients come
    out as the changes to make, and no pass over them is needed.
    """

    inputs: Tensor  # (S, I) rows of the `in` table
    mix: Tensor | None  # (S, P, I)
    targets: Tensor  # (S, R) rows of the `out` table
    noise: Tensor  # (G, K) rows of the `out` table
    true: Tensor  # (S, P, R) or (S, P, 1), times rate
    owed: Tensor  # (G, S P / G, 1) the weight of each noise word, times rate
    calm_inputs: Tensor  # (S, I, 1) how much each row heeds its gradient
    calm_targets: Tensor | None  # like true, with P of 1 where that has R; None: in full
    calm_noise: Tensor | None  # (G, 1, K)
    rate: Tensor  # ()
    most: float  # gradients that a row may take


class Update(NamedTuple):
    """What to add to some rows of a table; a row may come repeatedly."""

    rows: Tensor  # (S, R)
    change: Tensor  # (S, R, D)


# A loss takes hidden (S, P, D), the out table (V, D), the step and whether to tell the loss; it
# returns the change of hidden, the updates of `out`, and the loss.
Loss = Callable[[Tensor, Tensor, Step, bool], tuple[Tensor, list[Update], Tensor]]


def changes(
    table: Tensor, out: Tensor, step: Step, loss: Loss, watch: bool = False
) -> tuple[Update, list[Update], Tensor]:
    """The gradients of the loss times `step.rate`, for both tables, and the loss if it is asked for."""
    rows = look_up(table, step.inputs)  # (S, I, D)
    hidden = rows if step.mix is None else step.mix.bmm(rows)  # (S, P, D)
    d_hidden, out_updates, value = loss(hidden, out, step, watch)
    d_inputs = d_hidden if step.mix is None else step.mix.transpose(1, 2).bmm(d_hidden)  # (S, I, D)
    return Update(step.inputs, d_inputs.mul_(step.calm_inputs)), out_updates, value


def negative_sampling(
    hidden: Tensor, out: Tensor, step: Step, watch: bool
) -> tuple[Tensor, list[Update], Tensor]:
    """Tells true words from noise: binary logistic regression, `negatives` to one."""
    groups = hidden.view(len(step.noise), -1, hidden.shape[2])  # (G, S P / G, D)
    targets, noise = look_up(out, step.targets), look_up(out, step.noise)  # (S, R, D), (G, K, D)
    own = apiece(step.true)
    scores = (hidden * targets).sum(-1, keepdim=True) if own else hidden.bmm(targets.transpose(1, 2))
    against = groups.bmm(noise.transpose(1, 2))  # (G, S P / G, K)
    value = hidden.new_zeros(()) if not watch else (
        (softplus(-scores) * step.true).sum() + (softplus(against) * step.owed).sum()
    ) / step.rate  # fmt: skip
    pull = scores.sigmoid_().sub_(1).mul_(step.true)  # d softplus(-s) / ds
    push = against.sigmoid_().mul_(step.owed)  # d softplus(s) / ds
    d_hidden = pull * targets if own else pull.bmm(targets)
    d_hidden.view_as(groups).baddbmm_(push, noise)
    if step.calm_targets is not None and step.calm_noise is not None:
        pull.mul_(step.calm_targets)
        push.mul_(step.calm_noise)
    d_targets = pull * hidden if own else pull.transpose(1, 2).bmm(hidden)
    d_noise = push.transpose(1, 2).bmm(groups)
    return d_hidden, [Update(step.targets, d_targets), Update(step.noise, d_noise)], value


def softmax(hidden: Tensor, out: Tensor, step: Step, watch: bool) -> tuple[Tensor, list[Update], Tensor]:
    """Cross-entropy against all V words: exact, V products a position. Noise plays no part.

    Some positions at a time, so that no more than CELLS scores stand in memory.
    """
    true = step.true / step.rate  # (S, P, R) or (S, P, 1)
    targets = step.targets.unsqueeze(2 if apiece(true) else 1)
    d_hidden = torch.empty_like(hidden)
    d_out = torch.zeros_like(out)
    value = hidden.new_zeros(())
    guessed, seen = out.new_zeros(2, len(out))  # how many gradients are in the sum of each row
    wanted = targets.expand(true.shape).flatten(0, 1)  # (S P, R) or (S P, 1)
    true = true.flatten(0, 1)
    owed = true.sum(-1, keepdim=True)  # (S P, 1)
    flat = hidden.flatten(0, 1)  # (S P, D)
    for start in range(0, len(flat), max(1, CELLS // len(out))):
        part = slice(start, start + max(1, CELLS // len(out)))
        scores = flat[part] @ out.T  # (p, V)
        scores[:, PAD] = -torch.inf  # nothing is never the answer
        if watch:
            logs = scores.log_softmax(-1).gather(-1, wanted[part])
            value = value - torch.where(true[part] > 0, logs * true[part], 0.0).sum()
        slope = scores.softmax(-1).mul_(owed[part])
        guessed += slope.sum(0)
        seen.index_add_(0, wanted[part].flatten(), true[part].flatten())
        slope.scatter_add_(-1, wanted[part], -true[part]).mul_(step.rate)
        d_hidden.flatten(0, 1)[part] = slope @ out
        d_out.addmm_(slope.T, flat[part])
    everything = torch.arange(len(out), device=out.device)  # (V,)
    d_out.mul_(calm(torch.maximum(guessed, seen).clamp_(min=1), step.most, 0.0)[:, None])
    return d_hidden, [Update(everything[None], d_out[None])], value


def advance(table: Tensor, out: Tensor, step: Step, loss: Loss, watch: bool = False) -> Tensor:
    """Takes a step: moves rows of both tables, and returns the loss if it is asked for."""
    in_update, out_updates, value = changes(table, out, step, loss, watch)
    for copy, update in ((table, in_update), *((out, update) for update in out_updates)):
        copy.index_add_(0, update.rows.flatten(), update.change.flatten(0, -2))
    return value


def cut(stretch: Step, count: int) -> Iterator[Step]:
    """The steps of `count` blocks that a long one is made of."""
    groups = count * len(stretch.noise) // len(stretch.inputs)  # a step
    for number in range(-(-len(stretch.inputs) // count)):
        of_blocks = slice(number * count, (number + 1) * count)
        of_groups = slice(number * groups, (number + 1) * groups)
        parts: dict[str, Any] = {
            name: part[of_groups if name in ("noise", "owed", "calm_noise") else of_blocks]
            for name, part in tensors_of(stretch).items()
            if name != "rate"
        }
        yield stretch._replace(**parts)


def walk(table: Tensor, out: Tensor, stretch: Step, count: int, loss: Loss, watch: bool = False) -> Tensor:
    """Takes the steps of `count` blocks that a long one is made of, and returns the loss of the first if
    it is asked for."""
    first, *others = cut(stretch, count)
    value = advance(table, out, first, loss, watch)
    for step in others:
        advance(table, out, step, loss)
    return value


def tensors_of(step: Step) -> dict[str, Tensor]:
    """The parts of a step that are tensors, by name."""
    return {name: part for name, part in step._asdict().items() if isinstance(part, Tensor)}


def record(table: Tensor, out: Tensor, stretch: Step, count: int, watch: bool) -> Callable[..., Tensor]:
    """The operations of `walk` with negative sampling, to be replayed on both tables and the tensors of any
    stretch of these shapes.

    Python lets in one thread at a time, and workers that go through it at every operation wait for each
    other: a fifth of skip-gram's time; a GPU waits for Python most of the time. A replay is one call. The
    operations are the same, and the bytes. What is no tensor stays as it is recorded.
    """
    return (record_graph if table.is_cuda else record_trace)(table, out, stretch, count, watch)


def record_trace(table: Tensor, out: Tensor, stretch: Step, count: int, watch: bool) -> Callable[..., Tensor]:
    """`record` on a CPU."""
    parts = tensors_of(stretch)

    def taken(table: Tensor, out: Tensor, *tensors: Tensor) -> Tensor:
        given: dict[str, Any] = dict(zip(parts, tensors, strict=True))
        return walk(table, out, stretch._replace(**given), count, negative_sampling, watch)

    with warnings.catch_warnings():
        # That shapes are fixed in a record is wanted; and what is to replace `trace` needs a compiler.
        warnings.simplefilter("ignore")
        example = (table.clone(), out.clone(), *parts.values())
        recorded: Callable[..., Tensor] = torch.jit.trace(taken, example, check_trace=False)  # type: ignore[no-untyped-call]
    return recorded


def record_graph(table: Tensor, out: Tensor, stretch: Step, count: int, watch: bool) -> Callable[..., Tensor]:
    """`record` on a GPU, whose records are graphs: of these very tables, no others, and of tensors in one
    place, to which those of a stretch are copied."""
    placed: dict[str, Any] = {name: part.clone() for name, part in tensors_of(stretch).items()}
    inside = stretch._replace(**placed)
    # A first call sets up what cannot be while a graph is being recorded.
    walk(table.clone(), out.clone(), inside, count, negative_sampling, watch)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        value = walk(table, out, inside, count, negative_sampling, watch)

    def replay(_: Tensor, __: Tensor, *tensors: Tensor) -> Tensor:
        for place, part in zip(placed.values(), tensors, strict=True):
            place.copy_(part)
        graph.replay()
        return value

    return replay


def look_up(table: Tensor, rows: Tensor) -> Tensor:
    """table[rows]: (V, D), (S, R) -> (S, R, D)."""
    return nn.functional.embedding(rows, table)


def pick(values: Tensor, places: Tensor) -> Tensor:
    """values[places], a quarter of the time: (V,), (S, R) -> (S, R)."""
    return values.index_select(0, places.flatten()).view_as(places)


def calm(count: Tensor, most: float, damping: float) -> Tensor:
    """How much a row heeds each of the `count` gradients that it gets in one step.

    They do not know of each other: their sum overshoots, their mean is timid. The sum is multiplied
    by count ** damping, and cut where it would still be more than `most` gradients.
    """
    return torch.minimum(count.pow(damping), most / count)


def stretch_of(
    predictions: Predictions, noise: Tensor, negatives: int, rate: float, count: int, most: float
) -> Step:
    """B blocks, and the noise (B / g, K) of each g of them, to be cut into steps of `count` blocks."""
    inputs, mix, targets, true = predictions
    # A position with n true words is owed n * negatives noise words, spread over the shared ones.
    owed = true.sum(-1, keepdim=True) * (rate * negatives / noise.shape[1])
    heed, calm_targets, calm_noise = limits(targets, noise, count / len(inputs), most), None, None
    if heed is not None:
        calm_targets = pick(heed, targets).unsqueeze(2 if apiece(true) else 1)
        calm_noise = pick(heed, noise).unsqueeze(1)
    return Step(
        inputs,
        mix,
        targets,
        noise,
        true * rate,
        owed.view(len(noise), -1, 1),
        calm_inputs(inputs, count, most),
        calm_targets,
        calm_noise,
        true.new_tensor(rate),  # a GPU's records keep a number of the CPU as it was
        most,
    )


def calm_inputs(ids: Tensor, count: int, most: float) -> Tensor:
    """`calm` of every input, by how often its row comes in its step: (B, I) -> (B, I, 1)."""
    step = torch.arange(len(ids), device=ids.device) // count  # (B,)
    cell = ids + (step * (int(ids.max()) + 1))[:, None]
    often = pick(torch.bincount(cell.flatten()), cell)
    by_count = calm(torch.arange(int(often.max()) + 1, device=ids.device).float(), most, DAMPING)
    return pick(by_count, often)[..., None]


def limits(targets: Tensor, noise: Tensor, share: float, most: float) -> Tensor | None:
    """How much each row of `out` heeds its gradients, (U,): less than in full where it comes more than
    `most` times in a step, a step being `share` of all; None where no row comes so often. A noise
    word comes once to each of the blocks that share it."""
    shared = noise.repeat_interleave(len(targets) // len(noise), 0)  # (B, K)
    often = torch.bincount(torch.cat([targets.flatten(), shared.flatten()])).mul(share)
    return (most / often).clamp(max=1) if (often > most).any() else None


def keep_chance(counts: Tensor, subsample: float) -> Tensor:
    """With what probability a word of each row stays in the text, (V,).

    For a word of share f of the text this is sqrt(t / f) + t / f, as word2vec has it; for a row that
    does not count it is 0.
    """
    ratio = subsample * counts.sum() / counts.clamp(min=1)
    root = torch.from_numpy(np.sqrt(ratio.numpy()))  # exact: torch's is MKL's, and depends on the processor
    chance = (root + ratio).clamp(max=1) if subsample else torch.ones(len(counts))
    return (chance * (counts > 0)).float()


def noise_table(counts: Tensor, power: float) -> Tensor:
    """Row numbers, each as often as noise shall have it: a uniform draw from them is a noise word."""
    weights = counts.double().pow(power) * (counts > 0)
    entries = max(NOISE_ENTRIES, 32 * len(counts))
    ends = (weights.cumsum(0) / weights.sum() * entries).round().long()
    ends[-1] = entries  # also where sums have rounded
    each = ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
    return torch.arange(len(counts), dtype=torch.int32).repeat_interleave(each)


def draw_noise(
    table: Tensor, groups: int, sharing: Sharing, longer: int, generator: torch.Generator
) -> Tensor:
    """The noise words of some groups of blocks, (G, K), from a `noise_table`. A round that is so many times
    `longer` has so many times as large a pool."""
    if sharing.pool is None:
        places = torch.randint(len(table), (groups, sharing.words), generator=generator)
    else:
        pool = torch.randint(len(table), (sharing.pool * longer,), generator=generator)
        places = pool[torch.randint(len(pool), (groups, sharing.words), generator=generator)]
    return table[places].long()


def windows(lengths: Tensor, window: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """How far each position of some documents sees to the left and to the right.

    Each centre draws its own window from 1 to `window`, which weights near words more; none sees
    beyond its document.
    """
    left = torch.randint(1, window + 1, (int(lengths.sum()),), generator=generator)
    right = left.clone()
    ends = lengths.cumsum(0)
    for inside in range(window):  # of a document, so many words from either end
        long = lengths > inside
        first, last = (ends - lengths)[long] + inside, ends[long] - 1 - inside
        left[first] = left[first].clamp(max=inside)
        right[last] = right[last].clamp(max=inside)
    return left, right


def blocks_of(ids: Tensor, left: Tensor, right: Tensor, window: int, group: int = 1) -> Blocks:
    """A text (n,) and how far each of its positions sees (n,) as groups of blocks, the last filled up
    with <pad>. None sees beyond the text."""
    place = torch.arange(len(ids), device=ids.device)
    left, right = torch.minimum(left, place), torch.minimum(right, place.flip(0))
    short = -len(ids) % (BLOCK * group)
    padded = nn.functional.pad(ids, (window, short + window), value=PAD)
    left, right = (nn.functional.pad(x, (0, short)).view(-1, BLOCK) for x in (left, right))
    # near is 1.0 where -left <= offset < 0 or 0 < offset <= right: two rows looked up and added.
    line = torch.arange(BLOCK, device=ids.device)  # (P,)
    offset = torch.arange(BLOCK + 2 * window, device=ids.device) - window - line[:, None]  # (P, C)
    reach = torch.arange(window + 1, device=ids.device)[:, None, None]
    before = ((offset < 0) & (offset >= -reach)).float().flatten(0, 1)  # (window + 1) P, C
    after = ((offset > 0) & (offset <= reach)).float().flatten(0, 1)
    near = look_up(before, left * BLOCK + line).add_(look_up(after, right * BLOCK + line))
    centres = padded[window : len(padded) - window].view(-1, BLOCK)
    return Blocks(centres, padded.unfold(0, BLOCK + 2 * window, BLOCK), near)


def documents(ids: Path, groups: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """(ids, lengths) of the train and unlabelled documents in some row groups of data/ids.parquet."""
    with open_table(ids) as file:
        for group in groups:
            table = file.read_row_group(group, columns=["split", "ids"])
            batch = table.filter(np.isin(np.asarray(table["split"]), (TRAIN, UNLABELLED)))
            lists = batch["ids"].combine_chunks()
            flat, offsets = np.asarray(lists.flatten()), np.asarray(lists.offsets)
            yield torch.tensor(flat, dtype=torch.int64), torch.tensor(np.diff(offsets), dtype=torch.int64)


def thin_out(
    ids: Tensor, lengths: Tensor, chance: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Documents without the words that chance has taken out of them."""
    stays = torch.rand(len(ids), generator=generator) < chance.index_select(0, ids)
    staying = nn.functional.pad(stays.cumsum(0, dtype=torch.int32), (1, 0))  # (n + 1,) before each word
    ends = nn.functional.pad(lengths.cumsum(0), (1, 0))
    return ids[stays], staying[ends].diff().long()


def dice(seed: int, *place: int | str) -> torch.Generator:
    """A generator of one's own for each place in the training: what is drawn there depends on
    nothing that was drawn before, so a training goes on anywhere as if it had never stopped."""
    name = hashlib.sha256(repr((seed, *place)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(name[:8], "little"))


class Place(NamedTuple):
    """Where in the training: the next round of a row group of an epoch."""

    epoch: int
    group: int
    round: int


class Round(NamedTuple):
    """What one worker learns from before the workers meet."""

    place: Place
    words: int  # of the raw text that it stands for
    ids: Tensor  # (n,)
    left: Tensor  # (n,) how far each position sees
    right: Tensor  # (n,)


def rounds(ids: Path, chance: Tensor, length: int, params: Params, begin: Place) -> Iterator[Round]:
    """The text of all epochs from `begin` on, `length` positions a round.

    Row groups come in an order drawn anew each epoch: a corpus often has all of one kind before all
    of the other.
    """
    with open_table(ids) as file:
        groups = file.num_row_groups
    for epoch in range(begin.epoch, params.epochs):
        order = torch.randperm(groups, generator=dice(params.seed, "order", epoch)).tolist()
        first = begin.group if epoch == begin.epoch else 0
        for group, (flat, lengths) in enumerate(documents(ids, order[first:]), first):
            generator = dice(params.seed, "text", epoch, group)
            kept, lengths = thin_out(flat, lengths, chance, generator)
            left, right = windows(lengths, params.window, generator)
            edges = [*range(0, len(kept), length), len(kept)]
            read = [len(flat) * edge // max(1, len(kept)) for edge in edges]
            for number, start in enumerate(edges[:-1]):
                place = Place(epoch, group, number)
                part = slice(start, edges[number + 1])
                if place >= begin:
                    words = read[number + 1] - read[number]
                    yield Round(place, words, kept[part], left[part], right[part])


class Words:
    """The `in` table: a row for each word."""

    def __init__(self, weight: Tensor) -> None:
        """`weight` is (V, D)."""
        self.weight = weight

    def take(self, rows: Tensor) -> Tensor:
        """A copy of some words' vectors: (U,) -> (U, D)."""
        return self.weight.index_select(0, rows)

    def add(self, rows: Tensor, change: Tensor) -> None:
        """Moves some words' vectors, each by its row of `change` (U, D)."""
        self.weight.index_add_(0, rows, change)

    def put(self, rows: Tensor, vectors: Tensor) -> None:
        """Makes `vectors` (U, D) those of some words."""
        self.weight[rows] = vectors

    def vectors(self) -> Tensor:
        """All words' vectors, (V, D)."""
        return self.weight


class PiecedWords(Words):
    """The `in` table with subwords: a word is the mean of its own row and its pieces'."""

    def __init__(self, weight: Tensor, buckets: Tensor, counts: Tensor) -> None:
        """`weight` is (V + buckets, D); `buckets` (M,) are the pieces of all words, `counts` (V,) of each."""
        super().__init__(weight)
        own = torch.arange(len(counts), device=weight.device)
        ends = (counts + 1).cumsum(0)
        self.parts = torch.empty(int(ends[-1]), dtype=torch.int64, device=weight.device)  # rows of weight
        self.first, self.count = ends - counts - 1, counts + 1
        is_own = torch.zeros_like(self.parts, dtype=torch.bool).index_fill_(0, self.first, True)
        self.parts[is_own], self.parts[~is_own] = own, buckets + len(counts)

    def parts_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of `weight` that some words are the mean of, word by word, and how many each."""
        count = self.count[rows]
        end = count.cumsum(0)
        skip = (self.first[rows] - (end - count)).repeat_interleave(count)
        return self.parts[skip + torch.arange(int(end[-1]), device=rows.device)], count

    def take(self, rows: Tensor) -> Tensor:
        """The means of some words' parts, (U, D)."""
        parts, count = self.parts_of(rows)
        return nn.functional.embedding_bag(parts, self.weight, count.cumsum(0) - count, mode="mean")

    def add(self, rows: Tensor, change: Tensor) -> None:
        """As in fastText, each piece moves as its word should. One that several words share does as
        they say together, but calmly."""
        parts, count = self.parts_of(rows)
        often = torch.bincount(parts, minlength=len(self.weight))[parts]
        moves = change.repeat_interleave(count, 0).mul_(calm(often.float(), MOST, PIECE_DAMPING)[:, None])
        self.weight.index_add_(0, parts, moves)

    def put(self, rows: Tensor, vectors: Tensor) -> None:
        """The words' own rows make up for their pieces."""
        own = self.weight[rows]
        self.weight[rows] = own + self.count[rows][:, None] * (vectors - self.take(rows))

    def vectors(self) -> Tensor:
        """The means of all words' parts, (V, D)."""
        return self.take(torch.arange(len(self.count), device=self.weight.device))


# The records of whole stretches, by whether targets are calmed and whether the loss is told.
Records = dict[tuple[bool, bool], Callable[..., Tensor]]


class Change(NamedTuple):
    """What a worker did to some rows of a table in a round."""

    rows: Tensor  # (U,)
    change: Tensor  # (U, D)
    often: Tensor  # (U,) how often each row came


class Worker:
    """One thread's share: it learns from a round of text on a copy of the rows that it needs."""

    def __init__(
        self, words: Words, out: Tensor, noise: Tensor, plan: Plan, params: Params, records: Records
    ) -> None:
        """The tables are read here; `meet` alone changes them. `records` are shared by all workers."""
        self.words, self.out, self.noise, self.plan, self.params = words, out, noise, plan, params
        self.records = records
        self.device = out.device
        self.is_used = torch.zeros(len(out), dtype=torch.bool, device=self.device)
        self.place = torch.empty(len(out), dtype=torch.int64, device=self.device)
        self.change_in = self.change_out = Change(*3 * [torch.empty(0)])
        self.places = [torch.empty_like(out) for _ in range(2)] if out.is_cuda else []  # of `copies`

    def number(self, text: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of <pad> and the text, ascending (U,), and these with those of `others` behind them (U',).

        `place` has the place of each among them: so 0 is <pad> still.
        """
        self.is_used.index_fill_(0, text, True)[PAD] = True
        in_text = self.is_used.nonzero().flatten()
        self.is_used.index_fill_(0, others, True).index_fill_(0, in_text, False)
        used = torch.cat([in_text, self.is_used.nonzero().flatten()])
        self.is_used.index_fill_(0, used, False)
        self.place.scatter_(0, used, torch.arange(len(used), device=self.device))
        return in_text, used

    def learn(self, text: Round, rate: float) -> tuple[float, float, int]:
        """Takes the steps of a round; returns the loss of its first step, its predictions, the steps."""
        p, sharing = self.params, self.plan.sharing
        generator = dice(p.seed, "noise", *text.place)
        ids, left, right = (x.to(self.device) for x in text[2:])
        groups = -(-len(ids) // (BLOCK * sharing.blocks))
        drawn = draw_noise(self.noise, groups, sharing, LONGER[p.device], generator).to(self.device)
        # All words are targets of the softmax.
        others = torch.arange(len(self.out), device=self.device) if p.loss == "softmax" else drawn.flatten()
        used_in, used_out = self.number(ids, others)
        blocks = blocks_of(pick(self.place, ids), left, right, p.window, sharing.blocks)
        predictions = {"skipgram": skipgram, "cbow": cbow}[p.objective](blocks)
        noise = pick(self.place, drawn)
        before_in, before_out = self.words.take(used_in), self.out.index_select(0, used_out)
        table, out = self.copies(before_in, before_out)
        loss = {"negative_sampling": negative_sampling, "softmax": softmax}[p.loss]
        whole = stretch_of(predictions, noise, p.negatives, rate, self.plan.step, self.plan.most)
        replays = p.loss == "negative_sampling"
        value = 0.0
        for number, stretch in enumerate(cut(whole, self.plan.stretch)):
            watch = number == 0
            if replays and len(stretch.inputs) == self.plan.stretch:
                told = self.replay(table, out, stretch, watch)
            else:
                told = walk(table, out, stretch, self.plan.step, loss, watch)
            if watch:
                value = told.item()
        often_in = torch.bincount(predictions.inputs.flatten(), minlength=len(used_in))
        wanted = torch.cat([predictions.targets.flatten(), noise.flatten()])
        often_out = torch.bincount(wanted, minlength=len(used_out))
        self.change_in = Change(used_in, table[: len(used_in)].sub_(before_in), often_in)
        self.change_out = Change(used_out, out[: len(used_out)].sub_(before_out), often_out)
        first = whole.true[: self.plan.step]
        return value, first.sum().item() / rate, -(-len(whole.inputs) // self.plan.step)

    def copies(self, *taken: Tensor) -> list[Tensor]:
        """Copies of some rows, for the steps to work on. A GPU's records are of one place in memory: there
        the copies are always in the same, with room for all rows."""
        if self.device.type == "cpu":
            return [rows.clone() for rows in taken]
        for place, rows in zip(self.places, taken, strict=True):
            place[: len(rows)] = rows
        return self.places

    def replay(self, table: Tensor, out: Tensor, stretch: Step, watch: bool) -> Tensor:
        """Takes the steps of a stretch of the usual length, from a record."""
        kind = (stretch.calm_targets is not None, watch)
        with RECORDING:
            if kind not in self.records:
                self.records[kind] = record(table, out, stretch, self.plan.step, watch)
        return self.records[kind](table, out, *tensors_of(stretch).values())


class Curve:
    """The mean loss a prediction, as the words go by."""

    def __init__(self, words: int) -> None:
        self.spacing = max(1, words // CURVE)
        self.rows: list[tuple[int, float]] = []
        self.loss = self.pairs = 0.0

    def add(self, seen: int, loss: float, pairs: float) -> None:
        """Adds what some steps lost; every so many words a point is made of it."""
        self.loss, self.pairs = self.loss + loss, self.pairs + pairs
        if seen >= self.spacing * (len(self.rows) + 1):
            self.close(seen)

    def close(self, seen: int) -> None:
        """Makes a point of what was added since the last."""
        if self.pairs:
            self.rows.append((seen, self.loss / self.pairs))
            self.loss = self.pairs = 0.0


def ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items, `count` of them fetched in advance by a thread of their own."""
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items, None) for _ in range(count))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, items, None))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def workers_of(params: Params) -> int:
    """How many learn side by side: a GPU is one."""
    return params.threads if params.device == "cpu" else 1


def plan(words: int, params: Params) -> Plan:
    """How a text of so many words is learnt from.

    A short one with so few blocks a round that an epoch has many, and the workers meet often; each
    block has noise of its own; and a row heeds fewer gradients, for the same few words come all the
    time. A step has whole groups, a round whole steps.
    """
    workers = workers_of(params)
    fair = max(1, words // (BLOCK * ROUNDS * workers))
    short = fair < ROUND
    sharing = (OWN if short else SHARING)[params.objective]
    fair = max(fair, sharing.blocks)
    step = min(STEP[params.objective] * WIDER[params.device], fair) // sharing.blocks * sharing.blocks
    length = min(ROUND * LONGER[params.device], fair) // step * step
    stretch = length if params.device == "cpu" else step
    return Plan(step, length, stretch, sharing, MOST / (max(2, workers) if short else workers))


def train(ids: Path, counts: Tensor, words: Words, params: Params, saved: Checkpoint) -> Curve:
    """Trains the `in` table, `words`, and returns the loss curve.

    `counts` (V,) are the occurrences of each row in the text that is learnt from. Raises Refusal on
    text without a pair of words, and when the training diverges.
    """
    out = words.weight.new_zeros(len(counts), params.dim)
    known = counts.index_fill(0, torch.tensor([UNK]), 0)  # anything is company to nothing
    chance = keep_chance(known, params.subsample)
    noise = noise_table(known, params.noise_power)
    threads = workers_of(params)
    shape = plan(int(counts.sum()), params)
    records: Records = {}
    workers = [Worker(words, out, noise, shape, params, records) for _ in range(threads)]
    total = int(counts.sum()) * params.epochs
    top = LR[params.objective] if params.lr == "auto" else params.lr
    curve = Curve(total)
    place, seen, steps = Place(0, 0, 0), 0, 0
    if found := saved.load():
        tensors, state = found
        words.weight.copy_(tensors["words"])
        out.copy_(tensors["out"])
        place, seen, steps = Place(*state["place"]), state["seen"], state["steps"]
        curve.rows = [(words, loss) for words, loss in state["curve"]]
        curve.loss, curve.pairs = state["open"]
    with progress("embeddings", "words", total) as bar, ThreadPoolExecutor(threads) as pool:
        bar.update(seen)
        stream = ahead(
            rounds(ids, chance, BLOCK * shape.length, params, place), AHEAD // LONGER[params.device]
        )
        texts = list(islice(stream, threads))
        while texts:
            lr = top * max(FLOOR, 1 - seen / total)
            learning = [pool.submit(w.learn, text, -lr) for w, text in zip(workers, texts, strict=False)]
            losses, pairs, taken = (sum(x) for x in zip(*(one.result() for one in learning), strict=True))
            steps += taken
            if not math.isfinite(losses):
                raise Refusal(
                    f"diverged by step {steps:,} (epoch {texts[0].place.epoch + 1}, after {seen:,} words) at "
                    f"a learning rate of {lr:.4g}: the loss is {losses}; lower embeddings.lr, found {top:g}"
                )
            meet(workers[: len(texts)], words, out, pool)
            read = sum(text.words for text in texts)
            seen += read
            curve.add(seen, losses, pairs)
            bar.set_postfix_str(f"loss {losses / max(1, pairs):.3f}", refresh=False)
            bar.update(read)
            texts = list(islice(stream, threads))
            if texts and saved.due():
                state = {"place": texts[0].place, "seen": seen, "steps": steps, "curve": curve.rows}
                saved.save({"words": words.weight, "out": out}, state | {"open": [curve.loss, curve.pairs]})
    if not words.weight.isfinite().all():
        raise Refusal(f"diverged in the last of {steps:,} steps; lower embeddings.lr, found {top:g}")
    curve.close(seen)
    if not curve.rows:
        raise Refusal("no two known words stand side by side in the train texts; lower vocabulary.min_count")
    return curve


def meet(workers: list[Worker], words: Words, out: Tensor, pool: ThreadPoolExecutor) -> None:
    """Adds to the tables what the workers changed, one worker after the other."""

    def add_in() -> None:
        for rows, change in merged([worker.change_in for worker in workers], len(out)):
            words.add(rows, change)

    def add_out() -> None:
        for rows, change in merged([worker.change_out for worker in workers], len(out)):
            out.index_add_(0, rows, change)

    for adding in [pool.submit(add_in), pool.submit(add_out)]:
        adding.result()


def merged(done: list[Change], words: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The changes of several workers, as they are to be added up.

    Of a row that came seldom, each worker has learnt something of its own: the sum is what one
    worker would have learnt from all. Of a row that came often, all have learnt the same: their
    sum overshoots, and their mean, by how often it came, is right. Between the two it is

        change * (MEETING + often) / (MEETING + often with all workers)
    """
    total = done[0].change.new_zeros(words)
    for rows, _, often in done:
        total.index_add_(0, rows, often.to(total))
    for rows, change, often in done:
        yield rows, change.mul_(((MEETING + often) / (MEETING + pick(total, rows)))[:, None])


def start(tokens: list[str], params: Params) -> Words:
    """The `in` table as it is before training: small random numbers, row 0 zeros."""
    pieces = params.subwords.buckets if params.subwords else 0
    embedding = nn.Embedding(len(tokens) + pieces, params.dim, padding_idx=PAD)  # (V, D)
    weight = embedding.weight.data
    weight.uniform_(-0.5 / params.dim, 0.5 / params.dim, generator=dice(params.seed, "start"))
    weight[PAD] = 0
    weight = weight.to(params.device)
    if params.subwords is None:
        return Words(weight)
    buckets, counts = pieces_of(tokens[UNK + 1 :], params.subwords)
    counts = np.concatenate([np.zeros(UNK + 1, np.int64), counts])  # <pad> and <unk> have no letters
    return PiecedWords(weight, *(torch.from_numpy(x).to(weight.device) for x in (buckets, counts)))


def rarest(counts: Tensor) -> Tensor:
    """The rows of the words that occur least: what an unknown word most resembles, had it a row."""
    words = counts[UNK + 1 :]
    return (words == words.min()).nonzero().flatten() + UNK + 1


def start_from(path: Path, number: dict[str, int], words: Words) -> int:
    """Puts the vectors in a file in the place of the random ones; returns how many words it has."""
    table = np.full((max(number.values()) + 1, words.weight.shape[1]), np.nan, np.float32)
    found = read_vectors(path, number, table)
    rows = torch.from_numpy(~np.isnan(table[:, 0])).nonzero().flatten()
    words.put(rows, torch.from_numpy(table)[rows])
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
    words = start(tokens, choices)
    found = 0
    if choices.pretrained is not None:
        inputs.append(find(choices.pretrained, pretrained, "pretrained"))
        found = start_from(inputs[-1], number, words)
    recipe = choices.model_copy(update={"wordsets": []}).model_dump_json()  # what the vectors depend on
    with checkpoint("embeddings", recipe, inputs) as saved:
        losses = train(ids, counts, words, choices, saved)
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
