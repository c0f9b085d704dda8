"""Firth's stages, from raw reviews to a sentiment report, in reading order.

Shapes are written with one alphabet, as trailing comments such as `# (B, T, D)`:

    N documents      T tokens in a row     V words in the vocabulary     D dimensions
    B batch          C context words       K negatives                   L labels
"""

from stages.lib.startup import configure

configure()  # before any stage imports torch, numpy or pyarrow

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
