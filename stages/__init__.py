"""Firth's stages, from raw reviews to a sentiment report, in reading order.

Shapes are written with one alphabet, as trailing comments such as `# (B, T, D)`:

    N documents      T tokens in a row     V words in the vocabulary     D dimensions
    B batch          C context words       K negatives                   L labels
"""

import gc
import os
import platform

# torch, and the OpenBLAS of numpy and scipy, pick the widest vector instructions that they find, and
# round differently with each. Told before they are imported, they take those that every machine of
# the last ten years has.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ["ATEN_CPU_CAPABILITY"] = "avx2"
    os.environ["OPENBLAS_CORETYPE"] = "Haswell"

# OpenBLAS takes all cores even for sums, whose order then depends on how many there are, and which are
# no faster for it.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Threads that wait for each other sleep: by default they spin, and where another program wants the
# cores, a training slows down not by half but severalfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# An import of torch makes many objects and no garbage: who looks for it less often starts sooner.
gc.set_threshold(100_000, 20, 100)

STAGES = (
    "raw",
    "tokens",
    "vocabulary",
    "ids",
    "tensors",
    "embeddings",
    "projection",
    "classifier",
    "evaluation",
    "robustness",
    "report",
)

# Where a document may stand. Embeddings learn from the first and the last; only the first three
# have labels.
TRAIN, VALIDATION, TEST, UNLABELLED = SPLITS = ("train", "validation", "test", "unlabelled")
LABELLED = (TRAIN, VALIDATION, TEST)

# Row numbers that mean the same in every vocabulary: nothing, and anything.
PAD, UNK = 0, 1
PAD_TOKEN, UNK_TOKEN = "<pad>", "<unk>"
