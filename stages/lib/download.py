"""A download that ends: with the whole file, or with an error once the server stalls or drips."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import NamedTuple

CHUNK = 1 << 13  # bytes: one arrives every few seconds even at the lowest speed that is allowed


class Limits(NamedTuple):
    """How slow a server may be."""

    connect: float = 15  # seconds until it accepts the connection
    window: float = 60  # seconds in which it must send ...
    bytes_per_second: int = 1024  # ... at least so much on average, headers excepted


PATIENT = Limits()


class Stalled(OSError):
    """The server sends too slowly or nothing at all."""


def fetch(url: str, path: Path, update: Callable[[int], object], limits: Limits = PATIENT) -> None:
    """Writes the file at a URL to `path`; calls `update` with the number of bytes of each chunk.

    If the transfer breaks off or stalls, it continues where it was, as long as the server sends parts of
    files and each request brings as much as a window must. The caller verifies the checksum of the whole.

    Raises Stalled, or an exception of requests if the server cannot be reached or has no such file.
    """
    import requests  # imported here because it costs 0.1 s, and most runs download nothing

    with path.open("wb") as file:
        cut: OSError | None = None
        while True:
            start = file.tell()
            try:
                for chunk in _in_time(_chunks(url, start, limits), limits):
                    file.write(chunk)
                    update(len(chunk))
                return
            except (requests.RequestException, Stalled) as error:
                cut = cut or error
                if file.tell() - start < limits.window * limits.bytes_per_second:
                    raise cut from None


def _chunks(url: str, start: int, limits: Limits) -> Iterator[bytes]:
    """The content of a URL from a position. Raises RequestException if the server sends another part."""
    import requests

    # Of the bytes as they are stored: those of a compressed transfer have other positions.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    time_outs = (limits.connect, limits.window)
    with requests.get(url, stream=True, timeout=time_outs, headers=headers) as response:
        response.raise_for_status()
        if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise requests.RequestException("the server sends whole files only")
        yield from response.iter_content(CHUNK)


def _in_time(chunks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """The chunks, unless a window of time brings fewer bytes than it must.

    The time-out of a socket starts again with each byte. So a thread reads, and this one looks at the clock;
    the thread is a daemon, which does not keep the process alive.
    """
    queue: Queue[bytes | Exception | None] = Queue(maxsize=64)
    stopped = threading.Event()

    def work() -> None:
        end: Exception | None = None
        try:
            for chunk in chunks:
                queue.put(chunk)
                if stopped.is_set():
                    return
        except Exception as error:  # raised again in the thread that waits
            end = error
        queue.put(end)

    threading.Thread(target=work, daemon=True).start()
    try:
        begin, received = time.monotonic(), 0
        while True:
            left = begin + limits.window - time.monotonic()
            item: bytes | Exception | None = b""
            with suppress(Empty):
                item = queue.get(timeout=max(left, 0.001))
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            received += len(item)
            yield item
            if time.monotonic() - begin >= limits.window:
                if received < limits.window * limits.bytes_per_second:
                    raise Stalled(f"{received:,} bytes in {limits.window:g} s")
                begin, received = time.monotonic(), 0
    finally:
        stopped.set()
