"""Where a corpus comes from: its source.yaml, the download, and the files inside an archive."""

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import pooch
import requests
from pydantic import Field, field_validator, model_validator

from stages import SPLITS
from stages.lib.command import Refusal
from stages.lib.params import Section, check, nearest, read_yaml
from stages.lib.progress import progress

Split = Literal["train", "validation", "test", "unlabelled"]
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
CHECKSUMS = ("md5", "sha256")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


class Columns(Section):
    """Which columns of a table are read."""

    text: str
    label: str
    split: str | None = None  # where there is none, rows are dealt by a hash of their text
    id: str | None = None  # where there is none, a row is known by its number
    group: str | None = None  # what a review is about or from where: test figures are told for each
    together: str | None = None  # rows that share it are dealt to one split: an author, a film


class Folder(Section):
    """What the text files in one folder of an archive are."""

    split: Split
    label: str | None = None


class Source(Section):
    """A source.yaml: what a corpus is, where it lies, and whom to thank."""

    origin: str  # who made it
    licence: str
    file: str | None = None  # a table or archive beside the source.yaml ...
    url: str | None = None  # ... or one to download
    checksum: str | None = None  # "md5:..." or "sha256:..." of what is downloaded
    bytes: int | None = Field(None, gt=0)  # its length, to tell before the download
    columns: Columns | None = None  # of a table
    splits: dict[str, Split] = {}  # what the values in the split column mean
    members: dict[Split, str] = {}  # of an archive of tables: the table that holds a split
    folders: dict[str, Folder] = {}  # of an archive of text files: one review a file
    labels: dict[str, str] = {}  # a label as it is found: the name it gets; in order of their ids

    @field_validator("splits", "labels", mode="before")
    @classmethod
    def _keys_are_text(cls, value: Any) -> Any:
        """YAML reads the label 0 as a number; a label is what is written."""
        return {str(key): item for key, item in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _is_whole(self) -> "Source":
        if (self.file is None) == (self.url is None):
            raise ValueError("name either a file in this folder or a url, not both and not neither")
        if self.url and not self.checksum:
            raise ValueError("a url needs a checksum: 'sha256:...' (or 'md5:...') of the file there")
        if (self.columns is None) == (not self.folders):
            raise ValueError("name the columns of a table, or the folders of an archive of text files")
        if self.file and PurePosixPath(self.file).name != self.file:
            raise ValueError("file is the name of a file in this folder, without a path")
        name = self.name.lower()
        if not name.endswith(TABLES + ARCHIVES):
            raise ValueError(f"{self.name} ends in none of {', '.join(TABLES + ARCHIVES)}")
        if name.endswith(ARCHIVES) and not (self.members or self.folders):
            raise ValueError("an archive needs members (the table of each split) or folders")
        if name.endswith(TABLES) and (self.members or self.folders):
            raise ValueError(f"members and folders are for archives, and {self.name} is a table")
        return self

    @property
    def name(self) -> str:
        """The name of the file, wherever it lies."""
        return PurePosixPath(self.file or self.url or "").name


def read_source(folder: Path) -> Source:
    """The source.yaml of a corpus. Raises Refusal where there is no such corpus, naming those there are."""
    path = folder / "source.yaml"
    if not path.is_file():
        corpora = sorted(p.parent.name for p in folder.parent.glob("*/source.yaml"))
        raise Refusal(f"corpus {folder.name!r}: there is no {path}{nearest(folder.name, corpora)}")
    return check(Source, read_yaml(path), str(path))


def locate(source: Source, folder: Path, checksum: str | None) -> Path:
    """The path of the corpus's file, downloaded once and verified.

    `checksum` stands in for the source's own, for another edition of the same archive. The
    environment may set FIRTH_MIRROR, a file, a folder or a URL to take the file from, and
    FIRTH_CACHE, the folder that keeps downloads.

    Raises Refusal without a network, and on a file that is not the one the checksum belongs to.
    """
    if source.file:
        path = folder / source.file
        if not path.is_file():
            raise Refusal(f"{path}: no such file; {folder / 'source.yaml'} names it")
        if wanted := checksum or source.checksum:
            verify(path, wanted)
        return path
    wanted = checksum or source.checksum or ""
    _algorithm(wanted)
    mirror = os.environ.get("FIRTH_MIRROR")
    if mirror and "://" not in mirror:
        path = Path(mirror).expanduser()
        path = path / source.name if path.is_dir() else path
        if not path.is_file():
            raise Refusal(f"FIRTH_MIRROR={mirror}: no such file or folder with {source.name} in it")
        verify(path, wanted)
        return path
    url = f"{mirror.rstrip('/')}/{source.name}" if mirror else source.url or ""
    return _download(url, source, wanted)


def verify(path: Path, checksum: str) -> None:
    """Raises Refusal unless the file's checksum is `checksum`."""
    algorithm, digest = _algorithm(checksum), checksum.rpartition(":")[2]
    found = pooch.file_hash(str(path), alg=algorithm)
    if found != digest.lower():
        raise Refusal(
            f"{path}: wrong or truncated file of {path.stat().st_size:,} bytes: its {algorithm} is "
            f"{found}, wanted {digest}; fetch it anew, or set raw.checksum if this edition is the one "
            "you mean"
        )


def _algorithm(checksum: str) -> str:
    """The kind of a checksum. Raises Refusal on one that is not to be had."""
    algorithm = checksum.rpartition(":")[0] or "sha256"
    if algorithm not in CHECKSUMS:
        raise Refusal(f"checksum {checksum!r}: found the kind {algorithm!r}; use {' or '.join(CHECKSUMS)}")
    return algorithm


def _download(url: str, source: Source, checksum: str) -> Path:
    pooch.get_logger().setLevel("WARNING")  # its news are the progress bar's
    cache = Path(os.environ.get("FIRTH_CACHE") or pooch.os_cache("firth"))
    kept = cache / source.name

    def fetch(url: str, output: str, _: object) -> None:
        with progress(f"downloading {source.name}", "B", total=source.bytes) as bar:
            pooch.HTTPDownloader(progressbar=_Bar(bar))(url, output, None)
        verify(Path(output), checksum)

    try:
        path: str = pooch.retrieve(url, checksum, fname=source.name, path=cache, downloader=fetch)
    except (requests.RequestException, OSError) as error:
        length = f", {source.bytes:,} bytes" if source.bytes else ""
        raise Refusal(
            f"cannot download {source.name}{length} ({checksum}) from {url}: "
            f"{type(error).__name__}; put the file at {kept}, or name a copy in FIRTH_MIRROR; "
            "corpus: sample needs no download"
        ) from None
    return Path(path)


class _Bar:
    """What pooch draws its progress on: it resets a bar and draws it full at the end."""

    def __init__(self, bar: Any) -> None:
        self.bar, self.total = bar, 0

    def update(self, count: int) -> None:
        self.bar.update(count)

    def reset(self) -> None:
        """Called once, before pooch draws the whole length a second time."""
        self.bar.reset()

    def close(self) -> None:
        """The bar is closed by whoever opened it."""


def is_archive(name: str) -> bool:
    """Whether a file of this name holds other files."""
    return name.lower().endswith(ARCHIVES)


def archive_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Each file in a tar or zip archive as (name, open file), read as a stream and never unpacked.

    Raises Refusal on a link, on a name that leads out of the archive, and on a broken archive. A
    file may turn out to be broken when it is read: do that within `whole_archive`.
    """
    with whole_archive(path):
        yield from (_zip_members if path.name.lower().endswith(".zip") else _tar_members)(path)


@contextmanager
def whole_archive(path: Path) -> Iterator[None]:
    """Around the reading of an archive: raises Refusal where it is cut short, damaged or locked."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise Refusal(f"{path}: broken archive: {error}; fetch it anew") from None
    except (RuntimeError, NotImplementedError) as error:  # a password, an unknown compression
        raise Refusal(f"{path}: cannot read this archive: {error}; pack it anew without that") from None


def _tar_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path) as archive:
        while (member := archive.next()) is not None:
            if member.islnk() or member.issym():
                raise Refusal(f"{path}: {member.name} is a link; an archive of plain files is wanted")
            _refuse_escape(path, member.name)
            if member.isfile() and (file := archive.extractfile(member)) is not None:
                yield member.name.removeprefix("./"), file
            # The archive remembers every member it has seen; a hundred thousand are a burden.
            archive.members.clear()  # type: ignore[attr-defined]
        # `next` takes a damaged header for the end. The true end is a block of zeros, and what
        # follows it is read to have a compressed file's own checksum looked at.
        rest = archive.fileobj
        assert rest is not None, "an archive opened by name has a file"
        rest.seek(archive.offset)
        end = rest.read(tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE or any(end):
            raise tarfile.ReadError("it does not end as an archive should")
        while rest.read(1 << 20):
            pass


def _zip_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise Refusal(f"{path}: {member.filename} is a link; an archive of plain files is wanted")
            _refuse_escape(path, member.filename)
            if not member.is_dir():
                with archive.open(member) as file:
                    yield member.filename, file


def _refuse_escape(path: Path, name: str) -> None:
    if name.startswith(("/", "\\")) or ".." in PurePosixPath(name).parts or ":" in name[:2]:
        raise Refusal(f"{path}: {name} leads out of the archive; it is refused")


def known_split(value: str, source: Source, where: str) -> str:
    """The split that a value in the split column means. Raises Refusal on one that means none."""
    if value in source.splits:
        return source.splits[value]
    if value in SPLITS:
        return value
    raise Refusal(
        f"{where}: split {value!r}{nearest(value, [*SPLITS, *source.splits])}; "
        "say what it means under `splits:` in source.yaml"
    )
