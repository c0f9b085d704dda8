"""Check: look before you train.

Training takes minutes, and a wrong value or a missing file is found in a second. So everything that can be
checked without reading the whole corpus is checked here, before the results of the run before are replaced:
all sections of params.yaml, the name of the corpus, its file and columns, and the files that parameters name.

What the texts and labels themselves look like is found where they are read, in stages.raw: it warns of empty
texts, labels that look missing or differ in case only, duplicates, and splits too small to measure anything.

    python -m stages.check --help

data/check.json describes the corpus and nothing else. So after a change of another parameter its bytes are
the same, and DVC skips every stage that does not depend on that parameter.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages import STAGES
from stages.lib.command import Refusal, run
from stages.lib.corpora import NAME_RULE, Source, is_corpus_name, locate, read_source
from stages.lib.files import write_json
from stages.lib.pairs import read_pairs
from stages.lib.params import Section, read_params, read_yaml
from stages.lib.portable import require_device
from stages.lib.readers import columns_of
from stages.lib.sections import params_of
from stages.lib.user_files import find_file


class Params(Section):
    """No choices."""


def read_sections(params: Path) -> dict[str, Any]:
    """All sections of params.yaml. Raises Refusal on the first that is not valid."""
    return {stage: read_params(params, stage, params_of(stage)) for stage in STAGES}


def read_corpus_name(params: Path, corpora: Path) -> str:
    """The name of the corpus, a part of commands in dvc.yaml. Raises Refusal unless it is a plain name."""
    name = read_yaml(params).get("corpus")
    if not isinstance(name, str) or not is_corpus_name(name):
        raise Refusal(
            f"{params}: corpus: found {name!r}, expected the name of a folder in {corpora}, {NAME_RULE}; "
            "rename the folder"
        )
    return name


def check_combinations(params: Path, sections: Mapping[str, Any]) -> None:
    """Raises Refusal on values that are valid by themselves and not beside each other."""
    embeddings, dims = sections["embeddings"], sections["explorer"].dims
    if dims is not None and dims > embeddings.dim:
        raise Refusal(
            f"{params}: explorer.dims: found {dims}, but the vectors have {embeddings.dim} dimensions; lower "
            "it, or set null for all of them"
        )
    if embeddings.engine == "textbook" and (embeddings.char_ngrams or embeddings.device != "cpu"):
        raise Refusal(
            f"{params}: embeddings.engine: found textbook, which trains whole words on the CPU only; set "
            "blocks, or char_ngrams: null and device: cpu"
        )
    if sections["raw"].validation + sections["raw"].test >= 1:
        raise Refusal(f"{params}: raw.validation and raw.test leave nothing to train on; lower one")


def check_files(sections: Mapping[str, Any], pretrained: Path, wordsets: Path, pairs: Path) -> None:
    """Raises Refusal on a file that a parameter names and that does not exist, and on two of one name."""
    names = sections["agreement"].wordsets
    for name in names:
        find_file(name, wordsets, "agreement.wordsets")
    stems = [Path(name).stem for name in names]
    if repeated := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise Refusal(f"agreement.wordsets: found two files named {repeated[0]!r}; rename one of them")
    read_pairs(pairs, sections["robustness"].pairs)
    if (name := sections["embeddings"].pretrained) is not None:
        find_file(name, pretrained, "embeddings.pretrained")


def describe(source: Source, folder: Path, checksum: str | None) -> dict[str, Any]:
    """The file of a corpus, its length and its columns.

    Raises Refusal if the file cannot be found, downloaded or read, or lacks a column.
    """
    path = locate(source, folder, checksum)
    columns = columns_of(source, path)
    return {"corpus": folder.name, "file": path.name, "bytes": path.stat().st_size, "columns": columns}


def main(
    params: Path, corpora: Path, pretrained: Path, wordsets: Path, pairs: Path, check: Path, metrics: Path
) -> None:
    sections = read_sections(params)
    check_combinations(params, sections)
    check_files(sections, pretrained, wordsets, pairs)
    for stage in ("embeddings", "classifier"):
        require_device(sections[stage].device)
    folder = corpora / read_corpus_name(params, corpora)
    facts = describe(read_source(folder), folder, sections["raw"].checksum)
    write_json(check, facts)
    write_json(metrics, {"file": {"bytes": facts["bytes"], "columns": len(facts["columns"])}})


if __name__ == "__main__":
    run(main)
