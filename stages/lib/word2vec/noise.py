"""Noise: the words that negative sampling contrasts a target with, shared by groups of blocks."""

import torch
from torch import Tensor

from stages.lib.word2vec.settings import SharedNoise


def noise_table(counts: Tensor, power: float, entries: int = 1 << 22) -> Tensor:
    """Row numbers, each as often as the noise distribution count ** power requires: (V,) -> (entries,).

    A uniform draw from this table is a draw from the distribution. It has at least `entries` entries.
    """
    weights = counts.double().pow(power) * (counts > 0)
    entries = max(entries, 32 * len(counts))
    ends = (weights.cumsum(0) / weights.sum() * entries).round().long()
    ends[-1] = entries  # in spite of rounding errors in the sum
    repeats = ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
    return torch.arange(len(counts), dtype=torch.int32).repeat_interleave(repeats)


def draw_noise(
    table: Tensor, groups: int, noise: SharedNoise, pool_factor: int, generator: torch.Generator
) -> Tensor:
    """The noise words (G, K) of some groups of blocks, drawn from a `noise_table`.

    If `noise.pool` is a number, the groups choose from a pool of that many draws times `pool_factor`,
    whose rows stay in the processor's cache.
    """
    if noise.pool is None:
        chosen = torch.randint(len(table), (groups, noise.words), generator=generator)
    else:
        pool = torch.randint(len(table), (noise.pool * pool_factor,), generator=generator)
        chosen = pool[torch.randint(len(pool), (groups, noise.words), generator=generator)]
    return table[chosen].long()
