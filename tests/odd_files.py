"""Valid files of every kind that Firth reads, plain and odd: what the fuzzer (tests/fuzz.py) changes.

    python -m tests.odd_files DIR    # writes them

The name of a file is that of its kind, which `tests.fuzz.read` reads as the stages read such a file.
"""

import bz2
import gzip
import io
import json
import lzma
import struct
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from safetensors.numpy import save

from stages.lib.checkpoint import Checkpoint
from stages.lib.model import Model, ModelConfig
from stages.lib.ngram.model import NGramConfig, NGramModel
from stages.lib.word_model import ClassifierConfig, WordModel
from stages.tokens import learn_subwords
from tests.conftest import ROOT

ROWS = [{"text": f"a good film {n}", "label": n % 2} for n in range(4)]
LABELS: dict[str, Any] = {"labels": ["bad", "good"], "order": None, "positive": "good", "grouped": False}
CSV = "text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in ROWS)
ODD_CSV = 'label,text\r\n1,"two\r\nlines, ""quoted"""\r\n,"🙃 é\u2028"\n\n0,\n'
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)
ODD_JSONL = (
    '\ufeff{"text": "\\ud83d\\ude43", "label": 1e2, "x": [{}]}\n\n{"text": null, "label": true}\n{"text": ""}'
)
PANDAS = json.dumps({"text": {"0": "a film", "1": None}, "label": {"0": 1, "1": 0.5}})
BINARY_VECTORS = b"2 2\n" + b"".join(word + struct.pack("<2f", 0.5, 1) + b"\n" for word in (b"the ", b"of "))


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def plain_parquet() -> bytes:
    columns = {name: [row[name] for row in ROWS] for name in ("text", "label")}
    kinds = pa.array(["x", "y"] * 2).dictionary_encode()
    return parquet(**columns, tokens=[["a", "b"]] * 4, kind=kinds)


def odd_parquet() -> bytes:
    return parquet(
        text=pa.array([b"binary \xc3\xa9", None], pa.binary()),
        label=pa.array([1, -1], pa.decimal128(5, 2)),
        when=pa.array([0, 2**62], pa.timestamp("ns")),
        nested=[{"a": [1]}, {"a": None}],
        tokens=[["a"], None],
    )


def tarred(
    pax: dict[str, str] | None = None, name: str = "pos/1.txt", kind: int = tarfile.PAX_FORMAT
) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
        for number in range(2):
            member = tarfile.TarInfo(name if number else "neg/1.txt")
            member.size, member.pax_headers = 4, pax or {}
            archive.addfile(member, io.BytesIO(b"film"))
    return file.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def spreadsheet(rows: str, texts: str = "<si><t>text</t></si><si><t>label</t></si>") -> bytes:
    sheet = f'<worksheet xmlns="m"><sheetData>{rows}</sheetData></worksheet>'
    return zipped(
        {
            "xl/worksheets/sheet1.xml": sheet.encode(),
            "xl/sharedStrings.xml": f'<sst xmlns="m">{texts}</sst>'.encode(),
        }
    )


SHEET = (
    '<row><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>'
    '<row><c r="A2" t="inlineStr"><is><t>a film</t></is></c><c r="B2"><v>1</v></c></row>'
    '<row><c r="A3" t="str"><v>so</v></c><c r="B3" t="b"><v>0</v></c></row>'
)


def model(pool: str, ngrams: bool) -> Model:
    bias = np.zeros(1, np.float32)
    weight = np.ones((4, 1), np.float32)
    vectors = {"vectors": np.ones((4, 2), np.float32), "layer": np.ones((1, 2), np.float32), "bias": bias}
    words = WordModel(pool, {"weight": weight, "bias": bias} if pool == "mean" else vectors)  # type: ignore[arg-type]
    config = NGramConfig(
        max_n=2, char_max_n=0, buckets=None, binary=True, pool="mean", ending_boost=0.0, words=4,
        vocabulary="0" * 64,
    )  # fmt: skip
    counted = NGramModel(weight[:2], bias.astype(np.float64), np.arange(2, dtype=np.int64), config)
    described = ModelConfig(
        vocabulary="0" * 64, labels=["bad", "good"], width=None, keep="head", pool=pool, prior=[0.0],
        ngrams=config if ngrams else None,
    )  # type: ignore[arg-type]  # fmt: skip
    return Model(described, words, counted if ngrams else None)


def classifier() -> bytes:
    arrays = {
        "embedding.weight": np.ones((4, 2), np.float32),
        "linear.weight": np.ones((1, 2), np.float32),
        "linear.bias": np.zeros(1, np.float32),
    }
    config = ClassifierConfig(vocabulary="0" * 64, width=None, keep="head", pool="mean")
    return save(arrays, {"classifier": config.model_dump_json()})


def ngrams() -> bytes:
    counted = model("mean", True).ngrams
    assert counted is not None
    return save(counted.arrays(), {"ngrams": counted.config.model_dump_json()})


def written(save_to: Any) -> bytes:
    """The content that a function writes to a path."""
    with tempfile.TemporaryDirectory() as folder:
        save_to(Path(folder) / "file")
        (path,) = (path for path in Path(folder).rglob("*") if path.is_file())
        return path.read_bytes()


def checkpoint(folder: Path) -> None:
    state = {"position": [1, 2], "curve": [[10, 0.1]]}
    Checkpoint(folder.parent).save({"table": torch.arange(6.0).view(2, 3)}, state)


def tensors() -> bytes:
    one = {"ids": [[2, 1], [3, 0]], "lengths": [2, 1], "labels": [0, 1]}
    arrays = {f"train.{name}": np.array(values, np.int32) for name, values in one.items()}
    arrays["train.unknown"] = np.frombuffer(b"qwop\n", np.uint8)
    return save(arrays, {"tensors": '{"max_length": 2, "keep": "head"}'})


def source(**keys: Any) -> bytes:
    return yaml.safe_dump({"origin": "a test", "licence": "none", **keys}, sort_keys=False).encode()


def subwords() -> bytes:
    text: str = learn_subwords(iter(["a good film", "a bad film"] * 3), 40, True).to_str(pretty=False)
    return text.encode()


LOCK = """schema: '2.0'
stages:
  one:
    cmd: cp a b
    deps:
    - path: a
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 3
    params:
      params.yaml:
        one.lr: 0.1
    outs:
    - path: b
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 3
"""
PAIRS = "id,kind,text_a,label_a,text_b,label_b\n1,negation,a good film,positive,not a good film,negative\n"
FOLDERS = {"pos": {"split": "train", "label": "1"}, "neg": {"split": "test", "label": "0"}}
XZ = {"format": lzma.FORMAT_XZ, "preset": 0}

SEEDS: dict[str, list[bytes]] = {
    "r.csv": [CSV.encode(), ODD_CSV.encode(), ("\ufeff" + CSV.replace("\n", "\r\n")).encode()],
    "r.utf-16.csv": [CSV.encode("utf-16"), ODD_CSV.encode("utf-16")],
    "r.cp1252.csv": [CSV.encode("cp1252"), "text,label\né,1\n".encode("cp1252")],
    "r.tsv": [CSV.replace(",", "\t").encode(), b'text\tlabel\nso "good" it\t1\n'],
    "r.jsonl": [JSONL.encode(), ODD_JSONL.encode()],
    "r.json": [json.dumps(ROWS).encode(), json.dumps({"data": ROWS}).encode(), PANDAS.encode()],
    "r.parquet": [plain_parquet(), odd_parquet()],
    "r.xlsx": [spreadsheet(SHEET)],
    "r.csv.gz": [gzip.compress(CSV.encode(), mtime=0)],
    "r.parquet.gz": [gzip.compress(plain_parquet(), mtime=0)],
    "r.tar": [tarred(), tarred(kind=tarfile.GNU_FORMAT, name="pos/" + "n" * 120), tarred({"size": "4"})],
    "r.tar.gz": [gzip.compress(tarred(), mtime=0)],
    "r.tar.bz2": [bz2.compress(tarred())],
    "r.tar.xz": [lzma.compress(tarred(), **XZ)],
    "r.zip": [
        zipped({"pos/1.txt": b"a good film", "neg/é.txt": b"bad"}),
        zipped({"pos/1.txt": b"film"}, zipfile.ZIP_STORED),
        zipped({"pos/1.txt": b"film"}, zipfile.ZIP_LZMA),
    ],
    "r.members.zip": [zipped({"train.csv": CSV.encode(), "test.csv": ODD_CSV.encode()})],
    "new.csv": [CSV.encode(), ODD_CSV.replace(",", ";").encode("cp1252", "replace"), CSV.encode("utf-16")],
    "new.tsv": [CSV.replace(",", "\t").encode()],
    "new.jsonl": [JSONL.encode()],
    "lines.txt": ["a good film\r\nzxqv 🙃\n\n".encode()],
    "table.parquet": [plain_parquet(), odd_parquet()],
    "labels.json": [json.dumps(LABELS).encode(), json.dumps(LABELS | {"order": ["bad", "good"]}).encode()],
    "tokeniser.json": [b'{"lowercase": true, "unit": "words"}', subwords()],
    "model.safetensors": [
        written(model("mean", True).save),
        written(model("mean", False).save),
        written(model("max", False).save),
    ],
    "classifier.safetensors": [classifier()],
    "ngrams.safetensors": [ngrams()],
    "held_out.safetensors": [save({name: np.zeros((3, 1)) for name in ("whole", "cut")})],
    "tensors.safetensors": [tensors()],
    "state.safetensors": [written(checkpoint)],
    "text.vec": [b"2 2\nthe 0.5 1\nof 2 3e-1\n", b"the 0.5 1\nof 2 3e-1\n"],
    "binary.vec": [BINARY_VECTORS],
    "words.tsv": [
        b"tiger\tcat\t7.35\nfilm\tplot\t3.5\n",
        b": capitals\nAthens Greece Oslo Norway\n# no\n",
        "word1;word2;mean\né;a;1;2;3\n".encode(),
    ],
    "pairs.csv": [
        PAIRS.encode(),
        PAIRS.replace("a good film,p", '"a, good film",p', 1).encode(),
    ],
    "params.yaml": [yaml.safe_dump(yaml.safe_load((ROOT / "params.yaml").read_bytes())).encode()],
    "source.yaml": [
        source(file="r.csv", columns={"text": "text", "label": "label"}, labels={0: "bad", 1: "good"}),
        source(
            url="https://example.org/a.tar.gz",
            checksum="sha256:00",
            folders=FOLDERS,
            order=["a", "b"],
            bytes=9,
        ),
    ],
    "dvc.lock": [LOCK.encode()],
    "rwlock": [
        b'{"write": {"/a": {"pid": 1, "cmd": "dvc repro"}}, "read": {"/b": [{"pid": 2, "cmd": "x"}]}}'
    ],
}


def main(folder: Path) -> None:
    for name, contents in SEEDS.items():
        for number, content in enumerate(contents):
            path = folder / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
