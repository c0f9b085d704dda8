"""Firth's stages, from raw reviews to a sentiment report, in reading order.

Shapes are written with one alphabet, as trailing comments such as `# (B, T, D)`:

    N  documents                         V  words in the vocabulary       L  labels
    M  tokens of all N documents,        D  dimensions of a vector        O  logits: 1 if L = 2, else L
       one document after the other      F  n-grams                       Q  bootstrap resamples
    T  tokens in a padded row            B  documents in a batch

and in stages/lib/word2vec:

    P  positions in a block              S  blocks in a step              U  distinct rows in use
    C  positions in a block's context    G  groups of blocks              R  target rows of a block
    K  noise words                       I  input rows of a block
"""

from stages.lib.startup import configure

if __name__ == "stages":  # in the wheel this is firth.stages, and the process belongs to another program
    configure()  # before any stage imports torch, numpy or pyarrow

STAGES = (
    "check",
    "raw",
    "tokens",
    "vocabulary",
    "ids",
    "tensors",
    "embeddings",
    "agreement",
    "projection",
    "ngrams",
    "classifier",
    "ensemble",
    "evaluation",
    "robustness",
    "explorer",
    "report",
)

# The splits of a corpus. Embeddings are trained on the first and the last; only the first three have
# labels.
TRAIN, VALIDATION, TEST, UNLABELLED = SPLITS = ("train", "validation", "test", "unlabelled")
LABELLED = (TRAIN, VALIDATION, TEST)

# Row numbers with the same meaning in every vocabulary: padding, and any unknown word.
PAD, UNK = 0, 1
PAD_TOKEN, UNK_TOKEN = "<pad>", "<unk>"
