"""Settings: what the engine reads of params.yaml, its own constants, and the schedule made of both."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from stages.lib.char_ngrams import CharNgrams
from stages.lib.portable import Device

Objective = Literal["skipgram", "cbow"]
LossName = Literal["negative_sampling", "softmax"]


@dataclass(frozen=True)
class Word2VecParams:
    """The choices of the embeddings section that training depends on; `Params` explains each."""

    objective: Objective
    loss: LossName
    dim: int  # D
    window: int
    negatives: int
    noise_power: float
    subsample: float
    char_ngrams: CharNgrams | None
    epochs: int
    lr: Literal["auto"] | float
    seed: int
    threads: int
    device: Device


class SharedNoise(NamedTuple):
    """Noise words that neighbouring blocks share."""

    blocks: int  # blocks in a group, which shares its noise words
    words: int  # K: noise words per group; fewer give a coarser estimate
    pool: int | None  # noise words per round to choose from; None: chosen from all words


# Skip-gram learns better from many different noise words, CBOW from few. On a short text each block has its
# own, because fewer steps average out less.
NOISE, NOISE_SHORT_TEXT = SharedNoise(4, 32, None), SharedNoise(1, 48, 4096)
CBOW_NOISE, CBOW_NOISE_SHORT_TEXT = SharedNoise(4, 16, 4096), SharedNoise(1, 8, 4096)


@dataclass(frozen=True)
class EngineSettings:
    """The constants of the engine. Measurements are in benchmarks/embeddings.md."""

    block: int = 16  # P: positions scored together; longer blocks waste products outside the windows
    step: int = 32  # S: blocks in a step; longer steps are faster and use staler rows
    round: int = 1024  # blocks in a round at most; longer rounds copy less and merge staler rows
    step_factor: int = 1  # makes steps longer on a GPU, which has room for them
    round_factor: int = 1  # makes rounds longer on a GPU, which has a single worker and merges nothing
    rounds: int = 32  # in an epoch at least, so that workers are merged often on a short text
    words_per_worker: int = 1 << 21  # of the text that each must have if there are more than two
    shortest_round: int = 256  # blocks in a round of more than two workers, at least
    merges: int = 2048  # in an epoch at least, if these have longer rounds on a long text
    noise: SharedNoise = NOISE
    noise_short_text: SharedNoise = NOISE_SHORT_TEXT
    noise_entries: int = 1 << 22  # of the table that noise words are drawn from, at least
    damping: float = -0.25  # power of an input's count in a step that its summed gradient is scaled by
    char_ngram_damping: float = -0.5  # the same for an n-gram, by the words of a round that contain it
    max_row_gradients: float = 16.0  # gradients that a row takes in one step over all workers; more overshoot
    average_from: float = 16.0  # occurrences in a round from which workers' changes are rather averaged
    read_ahead: int = 64  # rounds read in advance; a row group is many rounds and is read at once
    softmax_cells: int = 1 << 22  # scores of the full softmax in memory at a time
    lr: float = 0.03  # for `lr: auto`
    min_lr: float = 1e-4  # share of the learning rate that is left at the end
    curve_points: int = 100


def settings_for(objective: Objective, device: Device) -> EngineSettings:
    """The constants for an objective on a device."""
    settings = EngineSettings()
    if objective == "cbow":
        # The gradient of a mean is divided among its words, so the rate is higher.
        settings = replace(
            settings, step=64, noise=CBOW_NOISE, noise_short_text=CBOW_NOISE_SHORT_TEXT, lr=0.15
        )
    if device == "cuda":
        settings = replace(settings, step_factor=4, round_factor=16)
    return settings


class Schedule(NamedTuple):
    """How a text is divided into units of work, in blocks."""

    workers: int
    step: int  # S
    round: int
    chunk: int  # the steps captured as one: on a CPU a whole round, on a GPU a step
    noise: SharedNoise
    max_row_gradients: float  # per row, step and worker


def schedule(words: int, params: Word2VecParams, settings: EngineSettings) -> Schedule:
    """The schedule for a text of so many words.

    On a short text an epoch still has `settings.rounds` rounds for each worker, each block has its own
    noise words, and a row takes fewer gradients per step, because the same few words repeat all the
    time. A step consists of whole groups, a round of whole steps.

    More than two workers have shorter rounds, and at most as many as have no more text between two
    merges than two workers: they do not see what the others learn in a round, so vectors get worse with
    the length of all their rounds. On a short text they get worse with the number of workers even so.
    Therefore not all threads may be used.
    """
    threads = params.threads if params.device == "cpu" else 1
    pair = min(threads, 2)
    share = max(1, words // (settings.block * settings.rounds * pair))
    is_short = share < settings.round
    noise = settings.noise_short_text if is_short else settings.noise
    between_merges = max(2 * settings.round, words // (settings.block * settings.merges))
    most = min(words // settings.words_per_worker, between_merges // settings.shortest_round)
    workers = max(pair, min(threads, most))
    if workers > 2:
        longest = words // (settings.block * settings.merges * workers)
        share = min(settings.round, max(settings.shortest_round, longest))
    share = max(share, noise.blocks)
    step = min(settings.step * settings.step_factor, share) // noise.blocks * noise.blocks
    length = min(settings.round * settings.round_factor, share) // step * step
    chunk = length if params.device == "cpu" else step
    divisor = 2 if is_short else pair
    return Schedule(workers, step, length, chunk, noise, settings.max_row_gradients / divisor)
