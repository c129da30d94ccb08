"""A hub of one's own: the few addresses of the Hugging Face hub that its client asks, served from memory."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support import fake_hub_writing as writing
from tests.support.serving import serving


@dataclass
class FakeModel:
    """One commit of a repository: its files, the names that mean it, and whether consent is asked for."""

    files: Mapping[str, bytes]
    commit: str = "1" * 40
    revisions: tuple[str, ...] = ("main",)
    gated: bool = False
    private: bool = False


@dataclass
class FakeHub:
    """Its models, further commits of one as `name@…`, and every request: method, path, range and token.

    Nobody may write to what belongs to `locked`.
    """

    models: dict[str, FakeModel] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    broken: bool = False
    ignores_ranges: bool = False
    locked: str = "locked"
    large: dict[str, bytes] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def blank(self, private: bool) -> FakeModel:
        """A repository as it is when it has just been made."""
        return FakeModel({".gitattributes": b""}, private=private)

    def fetched(self) -> dict[str, int]:
        """File names asked for in full, with how often."""
        counts: dict[str, int] = {}
        for method, path, part, _ in self.requests:
            if method == "GET" and "/resolve/" in path and part is None:
                name = path.split("/resolve/")[1].split("/", 1)[1]
                counts[name] = counts.get(name, 0) + 1
        return counts


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def _take(self) -> None:
        """Whatever changes something: repositories, branches, large files and commits."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, None, self.headers.get("Authorization")))
        parts = path.strip("/").split("/")
        if self.hub.broken:
            return self._send(503, b"down")
        refused = f"/{self.hub.locked}/" in path or f'"{self.hub.locked}"' in body.decode("utf-8", "replace")
        if refused or not self.headers.get("Authorization", "Bearer" if parts[0] == "large" else ""):
            return self._error(403, "Forbidden")
        if parts[0] == "large":
            self.hub.large[parts[1]] = body
            return self._send(200, b"")
        answer = writing.answer(self.hub, parts, body)
        return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range"), self.headers.get("Authorization")))
        if self.hub.broken:
            return self._send(503, b"down")
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._api("/".join(parts[2:4]), parts[4:])
        if "resolve" in parts:
            return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self._error(404, "RepoNotFound")

    def _model(self, name: str, revision: str) -> FakeModel | None:
        commits = [model for key, model in self.hub.models.items() if key.partition("@")[0] == name]
        found = [model for model in commits if revision in (*model.revisions, model.commit)]
        if not commits:
            self._error(401, "RepoNotFound")
        elif commits[0].gated:
            self._error(403, "GatedRepo")
        elif not found:
            self._error(404, "RevisionNotFound")
        else:
            return found[0]
        return None

    def _api(self, name: str, rest: list[str]) -> None:
        model = self._model(name, rest[1] if len(rest) > 1 else "main")
        if model is None:
            return
        if rest[:1] == ["tree"]:
            listed: Any = [
                {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for file, content in model.files.items()
            ]
        else:
            siblings = [{"rfilename": file} for file in model.files]
            listed = {
                "id": name,
                "modelId": name,
                "sha": model.commit,
                "siblings": siblings,
                "tags": [],
                "private": model.private,
            }
        self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, file: str) -> None:
        model = self._model(name, revision)
        if model is None:
            return None
        if file not in model.files:
            return self._error(404, "EntryNotFound", {"X-Repo-Commit": model.commit})
        content, status = model.files[file], 200
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": model.commit}
        part = self.headers.get("Range")
        if part and not self.hub.ignores_ranges:
            begin, _, end = part.removeprefix("bytes=").partition("-")
            stop = min(int(end or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {begin}-{stop}/{len(content)}"
            content, status = content[int(begin) : stop + 1], 206
        return self._send(status, content, headers)

    def _error(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def running(models: Mapping[str, FakeModel]) -> Iterator[FakeHub]:
    """A hub with these models on a free port of this machine."""
    hub = FakeHub(dict(models))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    with serving(server) as hub.url:
        yield hub
