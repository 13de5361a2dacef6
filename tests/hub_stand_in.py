"""A hub on this machine's loopback: what `huggingface_hub` 2.4 asks for, and the ways in which a hub fails.

Also for data sets, as `datasets` 3.6 reads them: folders listed, paths looked up, parts of files streamed.

Descriptions of repositories are public also where these are gated, as on the hub; a file needs access. Large
files are redirected to another host (`localhost` instead of `127.0.0.1`), to which no token must be sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 10_000  # bytes; from there on a file is one of LFS


WEIGHTS = random.Random(0).randbytes(300_000)
FILES = {
    "config.json": b'{"model_type": "gpt_neox"}',
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": WEIGHTS[::-1],
    "README.md": b"read me",
    "onnx/model.onnx": WEIGHTS,
}


@dataclass
class Repository:
    files: Mapping[str, bytes]
    kind: str = "model"
    gated: bool = False
    private: bool = False
    parameters: int = 0

    @property
    def commit(self) -> str:
        names = json.dumps({name: sha1_of(data) for name, data in sorted(self.files.items())})
        return hashlib.sha1(names.encode()).hexdigest()

    def siblings(self) -> list[dict[str, Any]]:
        return [
            {"rfilename": name, "size": len(data), "blobId": sha1_of(data)}
            | ({"lfs": lfs(data) | {"sha256": sha256_of(data)}} if len(data) >= LARGE else {})
            for name, data in self.files.items()
        ]

    def tree(self) -> list[dict[str, Any]]:
        """Every file and folder, each described as the hub does it."""
        files = [
            {"type": "file", "path": name, "size": len(data), "oid": sha1_of(data)}
            | ({"lfs": lfs(data) | {"oid": sha256_of(data)}} if len(data) >= LARGE else {})
            for name, data in self.files.items()
        ]
        names = {str(folder) for name in self.files for folder in PurePosixPath(name).parents}
        folders = [
            {"type": "directory", "path": name, "size": 0, "oid": sha1_of(name.encode())}
            for name in sorted(names - {"."})
        ]
        return [*folders, *files]

    def listed(self, folder: str, *, recursive: bool) -> list[dict[str, Any]] | None:
        """What a folder holds, with all below it only the files; None where there is no such folder."""
        below = [
            entry
            for entry in self.tree()
            if folder in map(str, PurePosixPath(entry["path"]).parents)
        ]
        if not below and folder != ".":
            return None
        if recursive:
            return [entry for entry in below if entry["type"] == "file"]
        return [entry for entry in below if str(PurePosixPath(entry["path"]).parent) == folder]


@dataclass
class Fault:
    """How requests to paths that match fail, so many times (None: always).

    status, headers, body: answered instead. silent: no answer before the server ends. hang_up: the connection
    is closed without one. cut: only so many bytes of the body are sent. corrupt: one byte of it is changed.
    """

    path: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    silent: bool = False
    hang_up: bool = False
    cut: int | None = None
    corrupt: bool = False
    times: int | None = None


@dataclass
class Hub:
    """repositories by name; accounts: which gated or private ones each valid token has access to."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    accounts: dict[str, frozenset[str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    hosts_with_token: set[str] = field(default_factory=set)
    url: str = ""
    port: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if re.search(fault.path, path) and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def asked(self, pattern: str) -> int:
        return sum(1 for request in self.requests if re.search(pattern, request))


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    hub.port = server.server_address[1]
    hub.url = f"http://127.0.0.1:{hub.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # all that is asked at once is heard


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    _query: dict[str, list[str]]  # of the address, or of a form that was sent
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        asked = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._query = parse_qs(asked.decode() if self.command == "POST" else url.query)
        self.hub.requests.append(f"{self.command} {path}")
        if "authorization" in self.headers:
            self.hub.hosts_with_token.add(self.headers["host"].split(":")[0])
        fault = self.hub.fault(path)
        with contextlib.suppress(ConnectionError):
            if fault is not None and fault.silent:
                self.hub.ended.wait()
                self.close_connection = True
            elif fault is not None and fault.hang_up:
                self.close_connection = True
            elif fault is not None and fault.status is not None:
                self._send(fault.status, fault.body, dict(fault.headers), None)
            else:
                self._route(path, fault)

    def _route(self, path: str, fault: Fault | None) -> None:
        if found := re.fullmatch(r"/cdn/(\w+)", path):
            return self._send_file(self._contents()[found[1]], {}, fault)
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.accounts:
            message = "Invalid credentials in Authorization header"
            return self._refuse(401, "", message)
        found = re.fullmatch(
            r"/api/(model|dataset)s/(.+?)"
            r"(/auth-check|/revision/[^/]+|/tree/[^/]+(?:/.+)?|/paths-info/[^/]+)?",
            path,
        )
        if found:
            return self._api(found[1], found[2], found[3] or "", token, fault)
        found = re.fullmatch(r"/(datasets/)?(.+?)/resolve/([^/]+)/(.+)", path)
        if found:
            return self._resolve("dataset" if found[1] else "model", found, token, fault)
        return self._refuse(404, "", "Not Found")

    def _api(self, kind: str, name: str, part: str, token: str, fault: Fault | None) -> None:
        repository = self._repository(kind, name, token)
        if repository is None:
            return None
        if part == "/auth-check":
            if self._may(repository, name, token):
                self._send(200, b"{}", {}, fault)
            return None
        if part.startswith("/tree/"):
            return self._tree(repository, part, fault)
        if part.startswith("/paths-info/"):
            wanted = set(self._query.get("paths", []))
            found = [entry for entry in repository.tree() if entry["path"] in wanted]
            return self._send(200, json.dumps(found).encode(), {}, fault)
        described = {
            "id": name,
            "sha": repository.commit,
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "siblings": repository.siblings(),
        }
        if repository.parameters:
            count = repository.parameters
            described["safetensors"] = {"parameters": {"F32": count}, "total": count}
        return self._send(200, json.dumps(described).encode(), {}, fault)

    def _tree(self, repository: Repository, part: str, fault: Fault | None) -> None:
        folder = "/".join(part.split("/")[3:]) or "."
        recursive = self._query.get("recursive", [""])[0].lower() in ("true", "1")
        found = repository.listed(folder, recursive=recursive)
        if found is None:
            return self._refuse(404, "EntryNotFound", f"{folder} does not exist on main")
        return self._send(200, json.dumps(found).encode(), {}, fault)

    def _resolve(self, kind: str, found: re.Match[str], token: str, fault: Fault | None) -> None:
        repository = self._repository(kind, found[2], token)
        if repository is None or not self._may(repository, found[2], token):
            return None
        if found[3] not in ("main", repository.commit):
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        data = repository.files.get(found[4])
        commit = {"X-Repo-Commit": repository.commit}
        if data is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", commit)
        if len(data) < LARGE:
            return self._send_file(data, commit | {"ETag": f'"{sha1_of(data)}"'}, fault)
        digest = sha256_of(data)
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        location = {"Location": f"http://localhost:{self.hub.port}/cdn/{digest}"}
        return self._send(302, b"", commit | linked | location, None)

    def _repository(self, kind: str, name: str, token: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        hidden = repository is not None and repository.private
        if repository is None or repository.kind != kind or (hidden and not self._has(name, token)):
            # The hub does not tell a stranger whether there is a private one.
            self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
            return None
        return repository

    def _may(self, repository: Repository, name: str, token: str) -> bool:
        if not repository.gated or self._has(name, token):
            return True
        message = f"Access to {name} is restricted. You must be authenticated and in its list."
        self._refuse(403 if token else 401, "GatedRepo", message)
        return False

    def _has(self, name: str, token: str) -> bool:
        return name in self.hub.accounts.get(token, frozenset())

    def _contents(self) -> dict[str, bytes]:
        every = self.hub.repositories.values()
        return {sha256_of(data): data for each in every for data in each.files.values()}

    def _refuse(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        told = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        body = json.dumps({"error": message}).encode()
        self._send(status, body, told | dict(headers or {}), None)

    def _send_file(self, data: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if not asked:
            return self._send(200, data, headers, fault)
        start = int(asked[1])
        if start >= len(data):
            return self._refuse(416, "", "Range Not Satisfiable")
        end = min(int(asked[2] or len(data) - 1), len(data) - 1)
        part = {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
        return self._send(206, data[start : end + 1], headers | part, fault)

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], fault: Fault | None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault is not None and fault.corrupt and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault is not None and fault.cut is not None:
            body = body[: fault.cut]
            self.close_connection = True
        self.wfile.write(body)


def lfs(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "pointerSize": 130}


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha1_of(data: bytes) -> str:
    """git's digest of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
