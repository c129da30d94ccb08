"""Stores on this machine that speak the real protocols: S3 (moto) and HTTP with ranges; both can be made to stumble."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.serving import serving

Line = tuple[str, str, str | None, int]
"""Method, path, range, and bytes sent."""


@dataclass
class Trouble:
    """What goes wrong: every n-th request of a kind fails with a status, and what is done before one is answered."""

    every: int = 0
    status: int = 503
    methods: tuple[str, ...] = ("GET", "HEAD", "PUT")
    before: Callable[[str, str], None] | None = None
    seen: int = 0
    lines: list[Line] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def strikes(self, method: str, path: str) -> bool:
        """Count a request; whether it is one that fails."""
        with self.lock:
            self.seen += method in self.methods
            due = self.every and method in self.methods and self.seen % self.every == 0
        if self.before is not None:
            self.before(method, path)
        return bool(due)

    def note(self, method: str, path: str, part: str | None, sent: int) -> None:
        """Keep what was answered."""
        with self.lock:
            self.lines.append((method, path, part, sent))

    def calm(self) -> None:
        """Nothing goes wrong from here on, and nothing has been seen."""
        self.every, self.status, self.before, self.seen = 0, 503, None, 0
        self.methods = ("GET", "HEAD", "PUT")
        self.lines = []

    @property
    def sent(self) -> int:
        """Bytes of all answers."""
        return sum(line[3] for line in self.lines)


class Stumbling:
    """A WSGI application in front of another."""

    def __init__(self, app: Any, trouble: Trouble) -> None:
        self._app = app
        self._trouble = trouble

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if self._trouble.strikes(method, path):
            if method == "PUT":
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(f"{self._trouble.status} Trouble", [("Content-Length", "0")])
            return [b""]
        answer = list(self._app(environ, start))
        sent = 0 if method == "HEAD" else sum(map(len, answer))
        self._trouble.note(method, path, environ.get("HTTP_RANGE"), sent)
        return answer


@dataclass
class Bucket:
    """A bucket of an S3 server."""

    client: Any
    name: str
    trouble: Trouble

    def url(self, key: str = "") -> str:
        """The address of a key."""
        return f"s3://{self.name}/{key}"

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def put_folder(self, folder: Path, prefix: str) -> str:
        """Store every file of a folder; gives the folder's URL."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return self.url(prefix)

    def files(self, prefix: str = "") -> dict[str, bytes]:
        """The bytes of every object below a prefix."""
        listed = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix).get("Contents", [])
        found = {entry["Key"]: self.client.get_object(Bucket=self.name, Key=entry["Key"]) for entry in listed}
        return {key.removeprefix(f"{prefix}/"): answer["Body"].read() for key, answer in found.items()}


@contextmanager
def s3_server() -> Iterator[tuple[str, Trouble]]:
    """moto's own server on a free port, behind what can make it stumble."""
    from moto.moto_server import threaded_moto_server as moto

    trouble = Trouble()
    plain = moto.DomainDispatcherApplication
    moto.DomainDispatcherApplication = lambda backend: Stumbling(plain(backend), trouble)  # type: ignore[assignment,misc]
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    try:
        server.start()
    finally:
        moto.DomainDispatcherApplication = plain  # type: ignore[misc]
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}", trouble
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    """Files of a folder, with ranges, ETags and If-Match; no listings."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        trouble = self.site.trouble
        if trouble.strikes(self.command, path):
            return self._send(trouble.status, b"", {})
        if self.command == "HEAD" and self.site.no_head:
            return self._send(405, b"", {})
        file = self.site.root / path.strip("/")
        if path in self.site.denied:
            return self._send(403, b"no", {})
        if not file.is_file():
            return self._send(*((200, b"<p>", {"Content-Type": "text/html"}) if self.site.pages else (404, b"", {})))
        content = file.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        if self.headers.get("If-Match", tag) != tag:
            return self._send(412, b"", {})
        return self._send_part(content, {"ETag": tag} if self.site.tags else {})

    def _send_part(self, content: bytes, headers: dict[str, str]) -> None:
        part = self.headers.get("Range")
        if not part or self.site.whole_only:
            return self._send(200, content, headers)
        begin, _, end = part.removeprefix("bytes=").partition("-")
        stop = min(int(end or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {begin}-{stop}/{len(content)}"
        return self._send(206, content[int(begin) : stop + 1], headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        short = self.site.cut and self.command == "GET" and status == 206
        if short:
            self.site.cut -= 1
            self.close_connection = True
        sent = 0 if self.command == "HEAD" else len(body) // 2 if short else len(body)
        self.wfile.write(body[:sent])
        self.site.trouble.note(self.command, self.path, self.headers.get("Range"), sent)


class _Server(ThreadingHTTPServer):
    """A server that says nothing of clients that go away, and lets many wait: one turned away needs a second."""

    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        pass


@dataclass
class Site:
    """A web server over a folder: what it cannot do, and what goes wrong."""

    root: Path
    url: str = ""
    trouble: Trouble = field(default_factory=Trouble)
    no_head: bool = False
    whole_only: bool = False
    pages: bool = False
    tags: bool = True
    denied: tuple[str, ...] = ()
    cut: int = 0


@contextmanager
def website(root: Path) -> Iterator[Site]:
    """A web server over a folder, on a free port of this machine."""
    site = Site(root)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    with serving(server) as site.url:
        yield site
