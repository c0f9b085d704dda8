"""Downloads from servers that stall, drip or state nonsense."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from stages.lib import corpora
from stages.lib.command import Refusal
from stages.lib.corpora import Source
from stages.lib.download import Limits, Stalled, fetch

QUICK = Limits(connect=1, window=0.3, bytes_per_second=1000)
CONTENT = b"x" * 20_000
NUMBERS = b"".join(b"%d\n" % n for n in range(50_000))  # 288,890 bytes
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The URL of a file on a server that answers each request by `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/r.csv"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def headers(request: BaseHTTPRequestHandler, length: str) -> None:
    request.send_response(200)
    request.send_header("Content-Length", length)
    request.end_headers()


def drip(request: BaseHTTPRequestHandler, begin: bytes = b"") -> None:
    """Sends one byte at a time for up to three seconds."""
    request.wfile.write(begin)
    for _ in range(60):
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.05)


def body_that_drips(request: BaseHTTPRequestHandler) -> None:
    headers(request, "1000000")
    drip(request)


def headers_that_drip(request: BaseHTTPRequestHandler) -> None:
    drip(request, b"HTTP/1.0 200 OK\r\nX-Long: ")


def stops_in_the_middle(request: BaseHTTPRequestHandler) -> None:
    headers(request, "1000000")
    request.wfile.write(CONTENT)
    request.wfile.flush()
    time.sleep(3)


def says_nothing(_: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


@pytest.mark.parametrize("answer", [body_that_drips, headers_that_drip, stops_in_the_middle, says_nothing])
def test_a_server_that_stalls_is_left_after_the_window(tmp_path: Path, answer: Answer) -> None:
    begin = time.monotonic()
    with serving(answer) as url, pytest.raises((Stalled, requests.RequestException)):
        fetch(url, tmp_path / "r.csv", lambda _: None, QUICK)
    assert time.monotonic() - begin < 2


def test_a_stalled_download_is_refused_in_one_line_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRTH_CACHE", str(tmp_path / "cache"))
    checksum = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    columns = {"text": "text", "label": "label"}
    with serving(body_that_drips) as url:
        source = Source.model_validate({"url": url, "checksum": checksum, "columns": columns})
        with pytest.raises(Refusal, match=f"from {url}: the server stalls .*; try again later, put the file"):
            corpora._download(url, source, checksum, QUICK)
    assert list((tmp_path / "cache").iterdir()) == []


def parts(request: BaseHTTPRequestHandler) -> None:
    """Sends what is requested, but ends the connection after 60,000 bytes."""
    start = int((request.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    request.send_response(206 if start else 200)
    request.send_header("Content-Length", str(len(NUMBERS) - start))
    request.send_header("Content-Range", f"bytes {start}-{len(NUMBERS) - 1}/{len(NUMBERS)}")
    request.end_headers()
    request.wfile.write(NUMBERS[start : start + 60_000])


def another_part(request: BaseHTTPRequestHandler) -> None:
    del request.headers["Range"]
    parts(request)


def test_a_transfer_that_breaks_off_continues_where_it_was(tmp_path: Path) -> None:
    counts: list[int] = []
    with serving(parts) as url:
        fetch(url, tmp_path / "r.csv", counts.append, QUICK)
    assert (tmp_path / "r.csv").read_bytes() == NUMBERS
    assert sum(counts) == len(NUMBERS)


def test_a_transfer_does_not_continue_with_another_part_of_the_file(tmp_path: Path) -> None:
    with serving(another_part) as url, pytest.raises(requests.exceptions.ChunkedEncodingError):
        fetch(url, tmp_path / "r.csv", lambda _: None, QUICK)


@pytest.mark.parametrize("length", ["many", "-1", "9" * 5000])
def test_a_length_that_is_no_number_does_not_matter(tmp_path: Path, length: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        headers(request, length)
        request.wfile.write(CONTENT)

    counts: list[int] = []
    with serving(answer) as url:
        fetch(url, tmp_path / "r.csv", counts.append, Limits())
    assert (tmp_path / "r.csv").read_bytes() == CONTENT
    assert sum(counts) == len(CONTENT)


def test_a_slow_server_that_goes_on_is_waited_for(tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        headers(request, str(len(CONTENT)))
        for at in range(0, len(CONTENT), 2000):
            request.wfile.write(CONTENT[at : at + 2000])
            request.wfile.flush()
            time.sleep(0.05)

    with serving(answer) as url:
        fetch(url, tmp_path / "r.csv", lambda _: None, Limits(1, 0.25, 10))
    assert (tmp_path / "r.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/r.csv", "http://[/r.csv", "gopher://host/r.csv"])
def test_a_url_that_cannot_be_reached_is_an_error_of_requests(tmp_path: Path, url: str) -> None:
    with pytest.raises(requests.RequestException):
        fetch(url, tmp_path / "r.csv", lambda _: None, QUICK)
