"""Corpora: the keys of source.yaml, the download, and the files inside an archive."""

import hashlib
import io
import random
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.command import Refusal
from stages.lib.corpora import Source, archive_members, known_split, locate, read_source, verify
from stages.lib.files import write_json
from tests.conftest import ROOT, refused

CONTENT = b"text,label\ngood,1\n"
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
NOBODY = "http://127.0.0.1:9"
TABLE: dict[str, Any] = {
    "origin": "made up", "licence": "none", "file": "r.csv", "columns": {"text": "text", "label": "label"},
}  # fmt: skip
FOLDERS = {"a": {"split": "train", "label": "1"}}


@pytest.fixture(autouse=True)
def _no_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FIRTH_MIRROR", raising=False)
    monkeypatch.setenv("FIRTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def described(folder: Path, **changed: object) -> Path:
    """A corpus folder whose source.yaml describes a table; a change to None takes a key away."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {key: value for key, value in {**TABLE, **changed}.items() if value is not None}
    (folder / "source.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    return folder


def beside(folder: Path, **changed: object) -> tuple[Source, Path]:
    return read_source(described(folder, **changed)), folder


def afar(folder: Path, url: str = NOBODY, checksum: str = SHA256) -> tuple[Source, Path]:
    return beside(folder, file=None, url=f"{url}/r.csv", checksum=checksum, bytes=len(CONTENT))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder can be fetched while the block lasts."""
    folder.mkdir(exist_ok=True)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


def tarred(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    compression = {"gz": "gz", "tgz": "gz", "xz": "xz", "bz2": "bz2"}.get(path.suffix[1:], "")
    mode: Any = f"w:{compression}"
    with tarfile.open(path, mode) as archive:
        for member in members:
            info, content = (
                (member, b"")
                if isinstance(member, tarfile.TarInfo)
                else (tarfile.TarInfo(member[0]), member[1])
            )
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, *members: zipfile.ZipInfo | tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            info, content = (member, b"pos/1.txt") if isinstance(member, zipfile.ZipInfo) else member
            archive.writestr(info, content)
    return path


def packed(path: Path, *members: tuple[str, bytes]) -> Path:
    return (zipped if path.suffix == ".zip" else tarred)(path, *members)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def contents(path: Path) -> list[tuple[str, bytes]]:
    return [(name, file.read()) for name, file in archive_members(path)]


@pytest.mark.parametrize("corpus", ["sample", "imdb", "sst2"])
def test_the_source_yaml_of_each_included_corpus_is_valid(corpus: str) -> None:
    source = read_source(ROOT / "data" / "corpora" / corpus)
    assert list(source.labels.values()) == ["negative", "positive"]
    assert bool(source.file) == (corpus == "sample")


def test_labels_and_splits_that_yaml_reads_as_numbers_become_text(tmp_path: Path) -> None:
    source, _ = beside(tmp_path, labels={0: "bad", 1: "good"}, splits={7: "train"})
    assert (source.labels, source.splits) == ({"0": "bad", "1": "good"}, {"7": "train"})


def test_an_unknown_corpus_is_refused_with_the_available_ones(tmp_path: Path) -> None:
    for name in ("films", "books"):
        described(tmp_path / name)
    (tmp_path / "empty").mkdir()
    for expected in ("film", "empty"):
        with pytest.raises(
            Refusal, match=rf"corpus '{expected}': no file .*source\.yaml.* Allowed: books, films$"
        ):
            read_source(tmp_path / expected)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"licnece": "none"}, "licnece: unknown parameter; did you mean licence"),
        ({"origin": 3}, "origin: found 3; .*string"),
        ({"file": None}, "give either file \\(in this folder\\), path .* or url"),
        (
            {"url": "http://host/r.csv", "checksum": MD5},
            "give either file \\(in this folder\\), path .* or url",
        ),
        ({"file": None, "url": "http://host/r.csv"}, "a url needs a checksum"),
        ({"columns": None}, "give either columns \\(of a table\\) or folders"),
        ({"folders": FOLDERS}, "give either columns \\(of a table\\) or folders"),
        ({"columns": {"text": "text"}}, "columns.label: missing"),
        (
            {"columns": {"text": "t", "label": "l", "splt": "s"}},
            r"columns\.splt: unknown parameter; did you mean split",
        ),
        (
            {"columns": {"text": "t", "label": "l", "together": "film"}},
            "columns: found .*together was renamed; use split_by$",
        ),
        ({"file": "../r.csv"}, "without a path"),
        ({"file": "deep/r.csv"}, "without a path"),
        ({"file": "r.docx"}, r"r\.docx ends in none of \.csv, \.tsv"),
        ({"file": None, "path": "/elsewhere/r.csv"}, "a path needs a checksum"),
        ({"file": None, "path": "r.csv", "checksum": MD5}, "path must be absolute"),
        ({"encoding": "utf-9"}, "unknown encoding; use utf-8"),
        ({"separator": ""}, "separator: found ''"),
        ({"labels": {"good": None}}, "every label is null"),
        ({"file": "r.zip"}, "an archive needs members"),
        ({"members": {"train": "a.csv"}}, r"members and folders are for archives, and r\.csv is a table"),
        (
            {"columns": None, "folders": FOLDERS},
            r"members and folders are for archives, and r\.csv is a table",
        ),
        ({"file": "r.zip", "members": {"tain": "a.csv"}}, "members.tain.*'train', 'validation', 'test'"),
        ({"splits": {"dev": "valid"}}, r"splits\.dev: found 'valid'; .*'validation'"),
        (
            {"columns": None, "file": "r.tar", "folders": {"a": {"split": "dev"}}},
            r"folders\.a\.split: found 'dev'",
        ),
        (
            {"file": None, "url": "http://host/r.csv", "checksum": MD5, "bytes": 0},
            "bytes: found 0; .*greater than 0",
        ),
    ],
)
def test_an_inconsistent_source_is_refused(tmp_path: Path, changed: dict[str, Any], match: str) -> None:
    with pytest.raises(Refusal, match=rf"source\.yaml.*{match}"):
        read_source(described(tmp_path, **changed))


def test_a_split_is_given_by_its_name_or_by_the_mapping(tmp_path: Path) -> None:
    source, _ = beside(tmp_path, splits={"dev": "validation", "test": "train"})
    assert [known_split(value, source, "") for value in ("dev", "train", "test")] == [
        "validation",
        "train",
        "train",
    ]
    with pytest.raises(
        Refusal, match=r"row 3: split 'dve'; did you mean dev\?.*map it to a split under `splits:`"
    ):
        known_split("dve", source, "row 3")


@pytest.mark.parametrize(
    "checksum", [MD5, SHA256, SHA256.removeprefix("sha256:"), "sha256:" + SHA256[7:].upper(), None]
)
def test_a_file_beside_source_yaml_is_verified(tmp_path: Path, checksum: str | None) -> None:
    source, folder = beside(tmp_path / "c", checksum=checksum)
    with pytest.raises(Refusal, match=r"r\.csv: no such file, but .*source\.yaml names it"):
        locate(source, folder, None)
    (folder / "r.csv").write_bytes(CONTENT)
    assert locate(source, folder, None) == folder / "r.csv"


def test_a_wrong_file_is_refused_with_both_checksums(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(CONTENT[:-1])
    actual = hashlib.sha256(CONTENT[:-1]).hexdigest()
    message = f"r.csv: wrong or truncated file of 17 bytes: its sha256 is {actual}, expected {SHA256[7:]}"
    with pytest.raises(Refusal, match=message):
        verify(path, SHA256)


def test_an_unknown_checksum_algorithm_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(CONTENT)
    with pytest.raises(Refusal, match="found 'crc'; use md5 or sha256"):
        verify(tmp_path / "r.csv", "crc:1234")


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_mirror_may_be_a_file_or_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_folder: bool
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    path = mirror / ("r.csv" if as_folder else "copy of r.csv")
    path.write_bytes(CONTENT)
    monkeypatch.setenv("FIRTH_MIRROR", str(mirror if as_folder else path))
    assert locate(*afar(tmp_path / "c"), None) == path
    assert listed(tmp_path / "cache") == []


def test_a_mirror_may_start_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.csv").write_bytes(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FIRTH_MIRROR", "~")
    assert locate(*afar(tmp_path / "c"), None) == tmp_path / "r.csv"


@pytest.mark.parametrize("mirror", ["gone.csv", "empty"])
def test_a_mirror_without_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("FIRTH_MIRROR", str(tmp_path / mirror))
    with pytest.raises(
        Refusal, match=rf"FIRTH_MIRROR=.*{mirror}: no such file, and no folder with r\.csv in it"
    ):
        locate(*afar(tmp_path / "c"), None)


def test_a_mirror_with_another_edition_is_refused_unless_its_checksum_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = b"another edition"
    (tmp_path / "r.csv").write_bytes(other)
    monkeypatch.setenv("FIRTH_MIRROR", str(tmp_path))
    with pytest.raises(
        Refusal, match=f"{hashlib.sha256(other).hexdigest()}, expected {SHA256[7:]}.*set raw.checksum"
    ):
        locate(*afar(tmp_path / "c"), None)
    given_checksum = "md5:" + hashlib.md5(other).hexdigest()
    assert locate(*afar(tmp_path / "c"), given_checksum) == tmp_path / "r.csv"


def test_a_failed_download_is_refused_in_one_line_with_alternatives(
    tmp_path: Path, stage: Callable[..., subprocess.CompletedProcess[str]], write_params: Callable[..., Path]
) -> None:
    url = f"{NOBODY}/x.tar.gz"
    changed = {
        "file": None,
        "columns": None,
        "folders": FOLDERS,
        "url": url,
        "checksum": MD5,
        "bytes": 84125825,
    }
    folder = described(tmp_path / "c", **changed)
    made = [tmp_path / name for name in ("raw.parquet", "labels.json", "raw.json")]
    write_json(tmp_path / "check.json", {"corpus": folder.name})
    ended = stage("raw", write_params(), tmp_path / "check.json", folder, *made)
    kept = str(tmp_path / "cache" / "x.tar.gz")
    message = (
        "x.tar.gz",
        url,
        MD5,
        "84,125,825 bytes",
        f"put the file at {kept}",
        "FIRTH_MIRROR",
        "corpus: sample",
    )
    assert refused(ended, "raw: cannot download", *message)
    assert not any(path.exists() for path in made)
    assert listed(tmp_path / "cache") == []


def test_a_file_put_into_the_cache_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "r.csv").write_bytes(CONTENT)
    assert locate(*afar(tmp_path / "c"), None) == tmp_path / "cache" / "r.csv"


def test_a_file_is_downloaded_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path / "site") as url:
        (tmp_path / "site" / "r.csv").write_bytes(CONTENT)
        first = locate(*afar(tmp_path / "c", url), None)
        assert locate(*afar(tmp_path / "c", url), None) == first
    assert capfd.readouterr().err.count("GET /r.csv") == 1
    assert first.read_bytes() == CONTENT
    assert locate(*afar(tmp_path / "c", url), None) == first
    assert listed(tmp_path / "cache") == ["r.csv"]


def test_a_download_with_another_checksum_is_refused_and_not_kept(tmp_path: Path) -> None:
    with served(tmp_path / "site") as url:
        (tmp_path / "site" / "r.csv").write_bytes(b"tampered")
        with pytest.raises(Refusal, match=f"{hashlib.md5(b'tampered').hexdigest()}, expected {MD5[4:]}"):
            locate(*afar(tmp_path / "c", url, MD5), None)
    assert listed(tmp_path / "cache") == []


def test_a_damaged_file_in_the_cache_is_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "r.csv").write_bytes(CONTENT[:5])
    with served(tmp_path / "site") as url:
        (tmp_path / "site" / "r.csv").write_bytes(CONTENT)
        assert locate(*afar(tmp_path / "c", url), None).read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_not_used_without_a_network(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "r.csv").write_bytes(CONTENT[:5])
    with pytest.raises(Refusal, match=r"cannot download r\.csv"):
        locate(*afar(tmp_path / "c"), None)


@pytest.mark.parametrize("checksum", ["crc:1234", "1234"])
@pytest.mark.parametrize("cached", [True, False])
def test_an_invalid_checksum_is_refused(tmp_path: Path, checksum: str, cached: bool) -> None:
    (tmp_path / "cache").mkdir()
    if cached:
        (tmp_path / "cache" / "r.csv").write_bytes(CONTENT)
    with served(tmp_path / "site") as url:
        (tmp_path / "site" / "r.csv").write_bytes(CONTENT)
        with pytest.raises(Refusal, match=r"checksum|expected 1234"):
            locate(*afar(tmp_path / "c", url, checksum), None)


def test_a_server_without_the_file_is_refused_with_the_url(tmp_path: Path) -> None:
    with served(tmp_path / "site") as url, pytest.raises(Refusal, match=f"from {url}/r.csv: HTTPError"):
        locate(*afar(tmp_path / "c", url), None)
    assert listed(tmp_path / "cache") == []


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_mirror_may_be_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slash: str) -> None:
    with served(tmp_path / "site") as url:
        (tmp_path / "site" / "r.csv").write_bytes(CONTENT)
        monkeypatch.setenv("FIRTH_MIRROR", url + slash)
        assert locate(*afar(tmp_path / "c"), None).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a.tar.bz2", "A.TAR.GZ"])
def test_archives_of_every_format_give_their_files(tmp_path: Path, name: str) -> None:
    members = [("pos/2.txt", b"fine"), ("neg/1.txt", "naïve".encode()), ("pos/10.txt", b"")]
    path = packed(tmp_path / name, *members) if name != "A.TAR.GZ" else tarred(tmp_path / "a.gz", *members)
    assert contents(path.rename(tmp_path / name)) == members


MEMBERS = st.dictionaries(
    st.from_regex(r"[a-z]{1,5}(/[a-z0-9]{1,4}){0,3}\.txt", fullmatch=True), st.binary(max_size=2000)
)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@given(members=MEMBERS)
@settings(max_examples=20, deadline=None)
def test_archive_members_returns_the_packed_files(
    tmp_path_factory: pytest.TempPathFactory, name: str, members: dict[str, bytes]
) -> None:
    path = packed(tmp_path_factory.getbasetemp() / name, *members.items())
    assert dict(contents(path)) == members


def test_an_archive_of_a_thousand_files_is_read_completely(tmp_path: Path) -> None:
    members = [(f"pos/{n}.txt", str(n).encode() * (n % 300)) for n in range(1000)]
    random.Random(1).shuffle(members)
    assert contents(tarred(tmp_path / "a.tar.gz", *members)) == members


def test_long_member_names_are_kept(tmp_path: Path) -> None:
    name = "deep/" * 60 + "ä.txt"
    assert contents(tarred(tmp_path / "a.tar", (name, b"x"), ("b.txt", b"y"))) == [
        (name, b"x"),
        ("b.txt", b"y"),
    ]


def test_folders_and_pipes_in_an_archive_are_skipped(tmp_path: Path) -> None:
    entries = [special("pos", tarfile.DIRTYPE), special("pipe", tarfile.FIFOTYPE), ("pos/1.txt", b"fine")]
    assert contents(tarred(tmp_path / "a.tar.gz", *entries)) == [("pos/1.txt", b"fine")]
    assert contents(zipped(tmp_path / "a.zip", ("pos/", b""), ("pos/1.txt", b"fine"))) == [
        ("pos/1.txt", b"fine")
    ]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_a_tar_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = tarred(tmp_path / "a.tar.gz", ("pos/1.txt", b"fine"), special("pos/2.txt", kind, "pos/1.txt"))
    with pytest.raises(
        Refusal, match=r"a\.tar\.gz: pos/2\.txt is a link; expected an archive of plain files"
    ):
        contents(path)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("pos/2.txt")
    info.external_attr = 0o120777 << 16
    with pytest.raises(Refusal, match=r"a\.zip: pos/2\.txt is a link"):
        contents(zipped(tmp_path / "a.zip", ("pos/1.txt", b"fine"), info))


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt", "pos/../../evil.txt", "/evil.txt", "C:/evil.txt", "pos/..", "..\\..\\evil.txt",
        "pos\\..", "pos/..\\..\\evil.txt", "\\evil.txt", "\\\\host\\evil.txt", "C:evil.txt", "./C:evil.txt",
        ".//evil.txt", ".\\..\\evil.txt",
    ],
)  # fmt: skip
@pytest.mark.parametrize("archive", ["a.zip", "a.tar.gz"])
def test_a_path_out_of_the_archive_is_refused(tmp_path: Path, archive: str, name: str) -> None:
    with pytest.raises(Refusal, match="is a path out of the archive; refused"):
        contents(packed(tmp_path / archive, ("pos/1.txt", b"fine"), (name, b"evil")))


@pytest.mark.parametrize("name", ["./pos/1.txt", "pos\\1.txt", "...txt", "pos/..1.txt", "pos/a: b.txt"])
@pytest.mark.parametrize("archive", ["a.zip", "a.tar.gz"])
def test_a_name_that_looks_like_a_path_out_is_accepted(tmp_path: Path, archive: str, name: str) -> None:
    assert len(contents(packed(tmp_path / archive, (name, b"fine")))) == 1


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
@pytest.mark.parametrize(
    "content", [b"", b"not an archive at all, only words", b"PK\3\4", b"\x1f\x8b\x08\x00"]
)
def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal, match=rf"{name}: damaged archive: (.|\n)*; download it again"):
        contents(tmp_path / name)


def test_download_libraries_are_imported_only_for_a_download() -> None:
    code = "import sys, stages.raw; print({'pooch', 'requests'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
