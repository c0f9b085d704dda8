"""Static vectors: a folder that model2vec's StaticModel and sentence-transformers' StaticEmbedding load.

Both split a text by tokenizer.json and take the mean of its tokens' vectors. The tokens are those of the
pipeline. model2vec leaves unknown words out of the mean; sentence-transformers counts them as `<unk>`, as
Firth does.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from stages import UNK_TOKEN
from stages.lib.command import Refusal
from stages.lib.files import atomic, write_json
from stages.tokens import BREAKS, WORD
from tools.exports.targets import CONFIG, has_fields, require_folder, write_facts
from tools.exports.words import read_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

TOKENISER = Path("data/tokeniser.json")
TENSORS, TOKENIZER, MODULES, FACTS = "model.safetensors", "tokenizer.json", "modules.json", "facts.json"
FIELDS = {"model_type": "model2vec", "exporter": "firth"}  # of config.json
MODULE = {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}

# A capital sigma at the end of a word becomes ς in lower case; tokenizers lowers each letter by itself.
FINAL_SIGMA = r"(?<=\p{L})Σ(?![\p{M}']*\p{L})"


def write_static(folder: Path) -> str:
    """Writes the vectors, a tokeniser in the format of Hugging Face, and two configurations."""
    words = read_words()
    try:
        description = TOKENISER.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refusal(f"{TOKENISER}: no such file; run the pipeline first: dvc repro embeddings") from None
    tokeniser = tokeniser_for(description, words.tokens)
    numbers = {token: row for row, token in enumerate(words.tokens)}
    names = sorted(tokeniser.get_vocab().items(), key=lambda item: item[1])
    rows = [numbers.get(token, numbers[UNK_TOKEN]) for token, _ in names]
    others = (TENSORS, TOKENIZER, MODULES, FACTS)
    require_folder(folder, others, CONFIG, is_export=lambda: has_fields(folder / CONFIG, FIELDS))
    sizes = {"hidden_dim": words.vectors.shape[1], "embedding_dtype": "float32"}
    # Written first, so that an interrupted export is recognised as one.
    write_json(folder / CONFIG, {**FIELDS, **sizes, "normalize": False, "max_length": None})
    with atomic(folder / TENSORS) as temporary:
        save_file({"embeddings": np.ascontiguousarray(words.vectors[rows])}, temporary)
    with atomic(folder / TOKENIZER) as temporary:
        temporary.write_text(tokeniser.to_str(), encoding="utf-8")
    with atomic(folder / MODULES) as temporary:
        temporary.write_text(json.dumps([MODULE], indent=2) + "\n", encoding="utf-8")
    write_facts(folder / FACTS)
    return str(words)


def tokeniser_for(description: str, tokens: list[str]) -> "Tokenizer":
    """The tokeniser that data/tokeniser.json describes, with a number for each of the tokens.

    Subwords have numbers already, which are kept.

    >>> split = tokeniser_for('{"lowercase": true, "unit": "words"}', ["<unk>", "don't", "stop", "!"])
    >>> split.encode("Don’t you stop!").ids
    [1, 0, 2, 3]
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    content = json.loads(description)
    if "unit" not in content:
        return Tokenizer.from_str(description)
    replace = normalizers.Replace
    steps: list[Normalizer] = [replace("’", "'"), replace(Regex(BREAKS), "")]
    if content["lowercase"]:
        steps += [replace(Regex(FINAL_SIGMA), "ς"), normalizers.Lowercase()]
    steps.append(normalizers.NFC())
    if content["unit"] == "words":
        # The same classes of characters; Oniguruma writes their difference in another way than Rust.
        words = Regex(WORD.replace(r"--\p{Han}", r"&&[^\p{Han}]"))
        splitter = pre_tokenizers.Split(words, "removed", invert=True)
    else:
        spaces = [(r"\s", " "), (r"\p{C}", ""), (" +", " ")]
        steps += [replace(Regex(pattern), new) for pattern, new in spaces]
        steps.append(normalizers.Strip())
        splitter = pre_tokenizers.Split(Regex("."), "isolated")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokeniser = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK_TOKEN))
    tokeniser.normalizer = normalizers.Sequence(steps)
    tokeniser.pre_tokenizer = splitter
    return tokeniser
