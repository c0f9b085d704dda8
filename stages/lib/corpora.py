"""The origin of a corpus: its source.yaml, its download, and the files inside an archive."""

import hashlib
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from pydantic import Field, field_validator, model_validator

from stages import SPLITS
from stages.lib import rows
from stages.lib.command import Refusal
from stages.lib.download import PATIENT, Limits, Stalled, fetch
from stages.lib.files import work_folder
from stages.lib.params import Section, check, nearest, read_yaml
from stages.lib.progress import progress
from stages.lib.resources import disk_is_full, writing

Split = Literal["train", "validation", "test", "unlabelled"]
TABLES = (*rows.TABLES, *(f"{kind}.gz" for kind in rows.TABLES))
CHECKSUMS = ("md5", "sha256")
# What damage of an archive raises; the last four come from fields that are no numbers, names or offsets.
DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError,
    ValueError, OverflowError, IndexError, struct.error,
)  # fmt: skip
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
NAME_RULE = "of letters a to z, digits, dots, - and _, that begins with a letter, digit or _"


class Columns(Section):
    """Which columns of a table are read."""

    text: str
    label: str
    split: str | None = None  # without it, rows are split by a hash of their text
    id: str | None = None  # without it, a row is identified by its number
    group: str | None = None  # accuracy on test is reported for each value
    split_by: str | None = None  # rows with the same value go to the same split: an author, a film

    @model_validator(mode="before")
    @classmethod
    def _reject_old_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "together" in value:
            raise ValueError("together was renamed; use split_by")
        return value


class Folder(Section):
    """The split and label of the text files in one folder of an archive."""

    split: Split
    label: str | None = None


class Source(Section):
    """The content of a source.yaml."""

    origin: str | None = None  # who made it, and when
    licence: str | None = None
    file: str | None = None  # a table or archive beside the source.yaml ...
    path: str | None = None  # ... or elsewhere on this machine ...
    url: str | None = None  # ... or to download
    checksum: str | None = None  # "md5:..." or "sha256:..." of what is elsewhere or downloaded
    bytes: int | None = Field(None, gt=0)  # its length, for the progress bar
    encoding: str = "utf-8"  # of a .csv, .tsv or .jsonl
    separator: str | None = Field(None, min_length=1, max_length=1)  # of a .csv (a comma unless given)
    quotes: bool | None = None  # are cells in quotation marks? null: in a .csv; in a .tsv if it looks so
    columns: Columns | None = None  # of a table
    splits: dict[str, Split] = {}  # the splits that other values of the split column stand for
    members: dict[Split, str] = {}  # of an archive of tables: the table of each split
    folders: dict[str, Folder] = {}  # of an archive of text files, one review per file
    labels: dict[str, str | None] = {}  # other names of labels; two of one name are merged; null: unlabelled
    order: list[str] = []  # the labels from the lowest to the highest, such as stars
    positive: str | None = None  # the label that precision, recall and contributions are about

    @field_validator("order", "positive", mode="before")
    @classmethod
    def _names_are_text(cls, value: Any) -> Any:
        """Converts names to text: YAML reads the label 0 as a number."""
        if isinstance(value, list):
            return [rows.text_of(item) for item in value]
        return rows.text_of(value)

    @field_validator("labels", mode="after")
    @classmethod
    def _labels_have_names(cls, value: dict[str, str | None]) -> dict[str, str | None]:
        if value and not any(value.values()):
            raise ValueError("every label is null; at least two need a name")
        return value

    @field_validator("encoding")
    @classmethod
    def _is_an_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError("unknown encoding; use utf-8, utf-16, cp1252, latin-1 or another one") from None
        return "utf-8" if value.lower().replace("_", "-") in ("utf8", "utf-8", "utf-8-sig") else value

    @field_validator("splits", "labels", mode="before")
    @classmethod
    def _keys_are_text(cls, value: Any) -> Any:
        """Converts keys to text: YAML reads the label 0 as a number."""
        return {str(key): item for key, item in value.items()} if isinstance(value, dict) else value

    @field_validator("labels", mode="before")
    @classmethod
    def _label_names_are_text(cls, value: Any) -> Any:
        """Converts names that YAML reads as numbers to text too."""
        if not isinstance(value, dict):
            return value
        return {
            key: rows.text_of(item) if isinstance(item, int | float) else item for key, item in value.items()
        }

    @model_validator(mode="after")
    def _is_whole(self) -> "Source":
        if sum(given is not None for given in (self.file, self.path, self.url)) != 1:
            raise ValueError("give either file (in this folder), path (elsewhere on this machine) or url")
        if not self.file and not self.checksum:
            kind = "url" if self.url else "path"
            raise ValueError(f"a {kind} needs a checksum: 'sha256:...' (or 'md5:...') of the file there")
        if self.path and not Path(self.path).is_absolute():
            raise ValueError("path must be absolute; or put the file beside the source.yaml and give file")
        if (self.columns is None) == (not self.folders):
            raise ValueError("give either columns (of a table) or folders (of an archive of text files)")
        if self.file and PurePosixPath(self.file).name != self.file:
            raise ValueError("file must be the name of a file in this folder, without a path")
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
        """The name of the file, local or at the URL."""
        return PurePosixPath(self.file or self.path or self.url or "").name

    @property
    def dialect(self) -> rows.Dialect:
        """How the text of the table is written."""
        return rows.Dialect(self.encoding, self.separator, self.quotes)


def is_corpus_name(name: str) -> bool:
    """Whether a corpus may have this name. It is part of paths, and of commands that a shell reads.

    >>> [is_corpus_name(name) for name in ("sst2", "my-shop_2.1", "a;b", "..", "-x", "a b")]
    [True, True, False, False, False, False]
    """
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) is not None


def read_source(folder: Path) -> Source:
    """The source.yaml of a corpus. Raises Refusal if there is none, with the names of those that exist."""
    path = folder / "source.yaml"
    if not path.is_file():
        corpora = sorted(p.parent.name for p in folder.parent.glob("*/source.yaml"))
        raise Refusal(f"corpus {folder.name!r}: no file {path}{nearest(folder.name, corpora)}")
    return check(Source, read_yaml(path), str(path))


def locate(source: Source, folder: Path, checksum: str | None) -> Path:
    """The path of the corpus's file, downloaded once and verified.

    `checksum` replaces that of source.yaml, for another edition of the same archive. Two environment
    variables: FIRTH_MIRROR is a file, a folder or a URL to take the file from, FIRTH_CACHE the folder for
    downloads.

    Raises Refusal if the download fails, or if the file has another checksum.
    """
    if source.file or source.path:
        path = folder / (source.file or source.path or "")
        if not path.is_file():
            raise Refusal(f"{path}: no such file, but {folder / 'source.yaml'} names it")
        if expected := checksum or source.checksum:
            verify(path, expected)
        return path
    expected = checksum or source.checksum or ""
    _algorithm(expected)
    mirror = os.environ.get("FIRTH_MIRROR")
    if mirror and "://" not in mirror:
        path = Path(mirror).expanduser()
        path = path / source.name if path.is_dir() else path
        if not path.is_file():
            raise Refusal(f"FIRTH_MIRROR={mirror}: no such file, and no folder with {source.name} in it")
        verify(path, expected)
        return path
    url = f"{mirror.rstrip('/')}/{source.name}" if mirror else source.url or ""
    return _download(url, source, expected)


def verify(path: Path, checksum: str) -> None:
    """Raises Refusal unless the file has this checksum. A file that did not change is read once."""
    algorithm, digest = _algorithm(checksum), checksum.rpartition(":")[2]
    stat = path.stat()
    seen = f"{path.absolute()} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {checksum}"
    marker = work_folder() / "verified" / hashlib.sha256(seen.encode()).hexdigest()
    if marker.is_file():
        return
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, algorithm).hexdigest()
    if actual != digest.lower():
        raise Refusal(
            f"{path}: wrong or truncated file of {path.stat().st_size:,} bytes: its {algorithm} is "
            f"{actual}, expected {digest}; download it again, or set raw.checksum if you mean this edition"
        )
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _algorithm(checksum: str) -> str:
    """The algorithm of a checksum. Raises Refusal if it is not supported."""
    algorithm = checksum.rpartition(":")[0] or "sha256"
    if algorithm not in CHECKSUMS:
        raise Refusal(f"checksum {checksum!r}: found {algorithm!r}; use {' or '.join(CHECKSUMS)}")
    return algorithm


def _download(url: str, source: Source, checksum: str, limits: Limits = PATIENT) -> Path:
    # Imported here because they cost 0.15 s, and most runs download nothing.
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # the progress bar shows the same
    cache = Path(os.environ.get("FIRTH_CACHE") or pooch.os_cache("firth"))
    kept = cache / source.name

    def transfer(url: str, output: str, _: object) -> None:
        with progress(f"downloading {source.name}", "B", total=source.bytes) as bar:
            fetch(url, Path(output), bar.update, limits)
        verify(Path(output), checksum)

    try:
        with writing(kept):
            path: str = pooch.retrieve(url, checksum, fname=source.name, path=cache, downloader=transfer)
    except (requests.RequestException, OSError) as error:
        if disk_is_full(error):
            raise
        length = f", {source.bytes:,} bytes" if source.bytes else ""
        reason = f"the server stalls ({error})" if isinstance(error, Stalled) else type(error).__name__
        raise Refusal(
            f"cannot download {source.name}{length} ({checksum}) from {url}: {reason}; try again later, "
            f"put the file at {kept}, or set FIRTH_MIRROR to a copy; corpus: sample needs no download"
        ) from None
    return Path(path)


def is_archive(name: str) -> bool:
    """Whether a file of this name is an archive."""
    return name.lower().endswith(ARCHIVES)


def archive_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Each file in a tar or zip archive as (name, open file), read as a stream and never unpacked.

    Raises Refusal on a link, on a path out of the archive, and on a damaged archive. Damage may also show
    when a member is read: do that inside `whole_archive`.
    """
    with whole_archive(path):
        yield from (_zip_members if path.name.lower().endswith(".zip") else _tar_members)(path)


@contextmanager
def whole_archive(path: Path) -> Iterator[None]:
    """Raises Refusal if reading inside the block fails because the archive is damaged or encrypted."""
    try:
        yield
    except DAMAGED as error:
        raise Refusal(f"{path}: damaged archive: {error}; download it again") from None
    except (RuntimeError, NotImplementedError, MemoryError) as error:  # a password, an unknown compression
        reason = str(error) or "it takes too much memory"  # LZMA may demand 4 GB for any file
        raise Refusal(f"{path}: cannot read the archive: {reason}; pack it without that feature") from None


def _tar_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path) as archive:
        while (member := archive.next()) is not None:
            _refuse_name(path, member.name)
            if member.islnk() or member.issym():
                raise Refusal(f"{path}: {member.name} is a link; expected an archive of plain files")
            _refuse_escape(path, member.name)
            if member.isfile() and (file := archive.extractfile(member)) is not None:
                yield member.name.removeprefix("./"), file
            # tarfile keeps every member; a hundred thousand take a lot of memory.
            archive.members.clear()  # type: ignore[attr-defined]
        # `next` takes a damaged header for the end. The true end is a block of zeros; the rest is read
        # so that the checksum of a compressed file is verified.
        rest = archive.fileobj
        assert rest is not None, "an archive opened by name has a file"
        rest.seek(archive.offset)
        end = rest.read(tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE or any(end):
            raise tarfile.ReadError("the end of the archive is missing")
        while rest.read(1 << 20):
            pass


def _zip_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _refuse_name(path, member.filename)
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise Refusal(f"{path}: {member.filename} is a link; expected an archive of plain files")
            _refuse_escape(path, member.filename)
            if not member.is_dir():
                with archive.open(member) as file:
                    yield member.filename, file


def _refuse_name(path: Path, name: str) -> None:
    """Raises Refusal on an empty name, and on bytes that tarfile could not decode."""
    if not name:
        raise Refusal(f"{path}: a file in it has an empty name; pack the archive again")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise Refusal(
            f"{path}: {name!a:.80} is not a name in UTF-8; pack the archive again with names in UTF-8"
        ) from None


def _refuse_escape(path: Path, name: str) -> None:
    """Raises Refusal on a name that leads out of a folder, on Windows too: it becomes the id of a text."""
    # Without its leading `./`, `.//etc` is absolute, and `./C:x` is on another drive.
    inside = re.sub(r"^(\.[/\\])+", "", name)
    if inside.startswith(("/", "\\")) or ":" in inside[:2] or ".." in re.split(r"[/\\]", inside):
        raise Refusal(f"{path}: {name} is a path out of the archive; refused")


def known_split(value: str, source: Source, where: str) -> str:
    """The split that a value of the split column stands for. Raises Refusal if it is unknown."""
    if value in source.splits:
        return source.splits[value]
    if value in SPLITS:
        return value
    raise Refusal(
        f"{where}: split {value!r}{nearest(value, [*SPLITS, *source.splits])}; "
        "map it to a split under `splits:` in source.yaml"
    )
