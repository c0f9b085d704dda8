"""The model as a page carries it, so that the page scores a text without a network.

    scorer = scorer_of(model, words, tokeniser, Limits(ngrams, vocabulary), test)
    pack(scorer.arrays)     the content of the element with the id "scorer"
    scorer.facts            what was left out, which the page states as well

`words` are the words of the vocabulary without the two reserved rows, `tokeniser` is the text of
data/tokeniser.json, and `test` returns the test documents and their labels: it is called only if something
was left out. A page that contains the scorer needs the scripts SCRIPTS, the style scorer.css and the fragment
scorer.jinja, and calls

    scorerOf(document.getElementById("scorer-box"), document.getElementById("scorer"));

array          shape          meaning
config         text (1,)      JSON: the choices of the model, and the facts
labels         text (L,)
words          text (V - 2,)  the vocabulary, from row 2 on; long words are shortened
weight         (V, O)         the weights of a `WordModel`, and its other arrays idf, vectors and layer
ngrams_*                      the keys of the n-grams of words as a trie (see `trie_of`)
ngrams_weight  (F, O)         in the order of the trie's nodes
alphabet       (A,)           the other arrays of a `CharModel`: word_weight, word_count
letters_*                     the n-grams of letters, as those of words
pieces, merges                byte-pair encoding: text (P,), and (2 K,) the two pieces of each merge

Weights are stored as integers with a scale for each column. The bytes of all integers are stored by their
significance, first all low bytes, then the higher ones, and a sign is the lowest bit. That compresses better.
"""

import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from stages import PAD_TOKEN, UNK, UNK_TOKEN
from stages.lib.arrays import Int32, Int64
from stages.lib.model import Model
from stages.lib.ngram.letters import FIRST_LETTER
from stages.lib.page.pack import pack_strings
from stages.lib.page.reduction import (
    VECTOR_LEVELS,
    fitted,
    letters_in,
    recoded,
    reduced,
    rounded,
    whole_numbers,
)
from stages.lib.page.trie import trie_of
from stages.lib.reviews import Documents

SCRIPTS = ("scorer_text.js", "scorer_model.js", "scorer_explain.js", "scorer.js")  # after unpack.js
LONG_WORD = 100  # characters; of longer words a page has the first ones and a checksum

Test = Callable[[], tuple[Documents, Int32]]


class Limits(NamedTuple):
    """How much of a model a page carries."""

    ngrams: int  # at most so many n-grams of words and of letters
    vocabulary: int  # at most so many of the most frequent words


class Scorer(NamedTuple):
    """The content of a page."""

    arrays: dict[str, Any]
    facts: dict[str, Any]


def scorer_of(model: Model, words: Sequence[str], tokeniser: str, limits: Limits, test: Test) -> Scorer:
    """The arrays of a model, and the facts that the page states.

    The facts are `words`, `ngrams` and `letters`, each as [number in the page, number in the model], and
    `complete`. If something was left out, they are also the number of test `reviews`, the `accuracy` of the
    whole model and of the one in the page, `accuracy_here`, and the share of test predictions that `changed`.
    """
    small = reduced(model, limits.ngrams, limits.vocabulary)
    facts = sizes(small, model)
    if not facts["complete"]:
        documents, labels = test()
        kept = recoded(documents, words, small.words.rows)
        small = rounded(fitted(small, model, documents, kept))
        facts |= comparison(
            small.predicted(small.probabilities(small.logits(kept))),
            model.predicted(model.probabilities(model.logits(documents))),
            labels,
        )
    described, bpe = described_tokeniser(tokeniser)
    arrays = {
        **pack_strings([json.dumps(config_of(small) | {"tokeniser": described, "facts": facts})], "config"),
        **pack_strings(model.labels, "labels"),
        **pack_strings([joined(words[: small.words.rows - UNK - 1])], "words"),
        **bpe,
        **word_arrays(small),
        **ngram_arrays(small),
    }
    return Scorer(arrays, facts)


def sizes(small: Model, model: Model) -> dict[str, Any]:
    """What the smaller model has of the whole one."""

    def ngrams_in(one: Model) -> int:
        if one.ngrams is None:
            return 0
        buckets = one.ngrams.config.buckets
        return int((one.ngrams.weight != 0).any(1).sum()) if buckets else len(one.ngrams.weight)

    facts = {
        "words": [one.words.rows - UNK - 1 for one in (small, model)],
        "ngrams": [ngrams_in(one) for one in (small, model)],
        "letters": [letters_in(one) for one in (small, model)],
    }
    return {**facts, "complete": all(here == whole for here, whole in facts.values())}


def comparison(here: Int64, whole: Int64, labels: Int32) -> dict[str, Any]:
    """How the predictions (N,) of the model in the page compare with those of the whole one.

    >>> comparison(np.array([0, 1]), np.array([1, 1]), np.array([1, 1]))
    {'reviews': 2, 'accuracy': 1.0, 'accuracy_here': 0.5, 'changed': 0.5}
    """
    return {
        "reviews": len(labels),
        "accuracy": float((whole == labels).mean()) if len(labels) else 0.0,
        "accuracy_here": float((here == labels).mean()) if len(labels) else 0.0,
        "changed": float((here != whole).mean()) if len(labels) else 0.0,
    }


def config_of(model: Model) -> dict[str, Any]:
    """The choices of a model that scoring needs."""
    config = model.config.model_dump(exclude={"vocabulary", "labels"})
    return {**config, "bias": model.bias.tolist()}


def described_tokeniser(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What data/tokeniser.json describes: the choices, and the arrays of byte-pair encoding.

    >>> described_tokeniser('{"lowercase": true, "unit": "words"}')
    ({'lowercase': True, 'unit': 'words'}, {})
    """
    content = json.loads(text)
    if "unit" in content:
        return content, {}
    number = content["model"]["vocab"]
    tokens = sorted(number, key=lambda token: number[token])
    merges = [number[token] for pair in content["model"]["merges"] for token in pair]
    lowercase = any(part["type"] == "Lowercase" for part in content["normalizer"]["normalizers"])
    described = {"unit": "subwords", "lowercase": lowercase, "special": [PAD_TOKEN, UNK_TOKEN]}
    return described, {**pack_strings(tokens, "pieces"), **stored_integers("merges", np.array(merges))}


def joined(words: Sequence[str]) -> str:
    """Words, each but the last followed by a line feed, which no token contains."""
    return "\n".join(shortened(word).replace("\n", " ") for word in words)


def shortened(word: str) -> str:
    """A word, or the beginning of a long one, its length and the CRC-32 of its UTF-8 bytes.

    So a word of any length is recognised, and takes little space.

    >>> shortened("film"), shortened("x" * 101)[99:]
    ('film', 'x\\x00101 f185866f')
    """
    if len(word) <= LONG_WORD:
        return word
    return f"{word[:LONG_WORD]}\0{len(word)} {zlib.crc32(word.encode('utf-8', 'replace')):08x}"


def word_arrays(model: Model) -> dict[str, Any]:
    """The arrays of the `WordModel`, but for the bias."""
    arrays = model.words.arrays
    result: dict[str, Any] = {name: arrays[name] for name in ("idf", "layer") if name in arrays}
    if "weight" in arrays:
        result |= stored_weights("weight", arrays["weight"], exact=model.config.pool == "sum")
    if "vectors" in arrays:
        result |= stored_weights("vectors", arrays["vectors"], levels=VECTOR_LEVELS)
    return result


def ngram_arrays(model: Model) -> dict[str, Any]:
    """The arrays of the `NGramModel`, but for the bias."""
    if model.ngrams is None:
        return {}
    ngrams, config = model.ngrams, model.ngrams.config
    exact = config.pool == "sum"
    if config.buckets:
        result = stored_weights("ngrams_weight", ngrams.weight, exact)
    else:
        result = stored_ngrams("ngrams", ngrams.keys, config.words, ngrams.weight, exact)
    if chars := ngrams.chars:
        result |= stored_ngrams("letters", chars.keys, len(chars.alphabet) + FIRST_LETTER, chars.weight)
        result |= stored_weights("word_weight", chars.word_weight)
        result |= stored_integers("word_count", chars.word_count)
        result["alphabet"] = chars.alphabet.astype(np.int32)
    return result


def stored_ngrams(name: str, keys: Int64, base: int, weight: Any, exact: bool = False) -> dict[str, Any]:
    """N-grams as a trie, and their weights (F, O) in its order."""
    trie = trie_of(keys, base)
    return {
        **stored_integers(f"{name}_digits", trie.digits),
        **stored_integers(f"{name}_children", trie.children),
        f"{name}_present": (trie.rows >= 0).astype(np.uint8),
        **stored_weights(f"{name}_weight", weight[trie.rows[trie.rows >= 0]], exact),
    }


def stored_weights(name: str, weight: Any, exact: bool = False, levels: int | None = None) -> dict[str, Any]:
    """Weights (F, O) as they are, or as integers with a scale for each column."""
    if exact:
        return {name: weight.astype(np.float32)}
    whole, scale = whole_numbers(weight, levels)
    return {**stored_integers(name, sign_last(whole)), f"{name}_scale": scale}


def sign_last(values: Any) -> Any:
    """Integers of both signs as 0, -1, 1, -2, 2, ... are numbered.

    >>> sign_last(np.array([0, -1, 1, -2, 2], np.int32)).tolist()
    [0, 1, 2, 3, 4]
    """
    return (values << 1) ^ (values >> 31)


def stored_integers(name: str, values: Any) -> dict[str, Any]:
    """Integers (...) from 0 to 2 ** 32 - 1 as bytes (B, ...): the lowest byte of each, then the next, ...

    >>> stored_integers("n", np.array([1, 258]))["n"].tolist()
    [[1, 2], [0, 1]]
    """
    size = max(1, (int(values.max(initial=0)).bit_length() + 7) // 8)
    each = np.ascontiguousarray(values, "<u4").view(np.uint8).reshape(*values.shape, 4)
    return {name: np.ascontiguousarray(np.moveaxis(each, -1, 0)[:size])}
