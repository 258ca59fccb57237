"""A small real model hub on loopback: the part of its HTTP API that fetching needs, with faults that can be switched.

Models are dictionaries of file names and bytes; a commit is made of them. Requests are kept, so that a test can say
what was asked and how many bytes went out.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

PIECE = 64 * 1024
LFS = (".safetensors", ".bin", ".onnx", ".gguf")
"""Files that the hub keeps outside git and states a sha256 for."""


def safetensors(size: int, seed: int = 0) -> bytes:
    """A real safetensors file of one tensor of ``size`` bytes, no two pieces of it alike."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    blocks = (hashlib.sha256(struct.pack("<qq", seed, number)).digest() for number in range(-(-size // 32)))
    return struct.pack("<Q", len(header)) + header + b"".join(blocks)[:size]


def clip(size: int = 3_000_000, seed: int = 0) -> dict[str, bytes]:
    """The files of an embedding model, beside what must never be fetched."""
    return {
        "config.json": json.dumps(
            {"model_type": "clip", "architectures": ["CLIPModel"], "vision_config": {}, "text_config": {}, "seed": seed}
        ).encode(),
        "tokenizer.json": b'{"model": {}}',
        "preprocessor_config.json": b'{"size": 224}',
        "model.safetensors": safetensors(size, seed),
        "README.md": b"# a model",
        "pytorch_model.bin": b"pickled" * 100,
        "pytorch_model.bin.index.json": b"{}",
        "onnx/model.onnx": b"onnx" * 100,
        "model.fp16.safetensors": safetensors(1000, seed),
        "weights.gguf": b"gguf" * 100,
    }


@dataclass
class Request:
    """One request that came in, and how many bytes of a body went out for it."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Faults:
    """What goes wrong, for files whose name ends with ``of``. Each is off by default.

    ``cut_after``: the connection ends after so many bytes of a body, ``cuts`` times. ``slow_s``: a pause after every
    piece. ``wrong``: so many bodies have one byte changed. ``statuses``: answered, one after the other, in place of
    whatever was asked (with ``retry_after`` seconds). ``gate``: held back until it is set, once a quarter has gone out.
    ``no_range``: a ``Range`` is ignored. ``no_records``: sizes and hashes are not stated in the list of files.
    """

    of: str = "model.safetensors"
    cut_after: int | None = None
    cuts: int = 1
    slow_s: float = 0.0
    wrong: int = 0
    statuses: list[tuple[int, str]] = field(default_factory=list)
    retry_after: str | None = None
    gate: threading.Event | None = None
    no_range: bool = False
    no_records: bool = False


class Hub:
    """The hub under test; ``url`` is what ``HF_ENDPOINT`` is set to."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.requests: list[Request] = []
        self.commits: dict[tuple[str, str], dict[str, bytes]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        # As at the real one, anybody may look at a gated model's list of files; the files need a token.
        self.gated: dict[str, int] = {}
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, hub_id: str, files: dict[str, bytes], branch: str = "main") -> str:
        """A new commit on a branch; its id."""
        digest = hashlib.sha1(hub_id.encode())
        for name in sorted(files):
            digest.update(name.encode() + files[name])
        commit = digest.hexdigest()
        self.commits[hub_id, commit] = files
        self.branches[hub_id, branch] = commit
        return commit

    def asked(self, end: str, method: str = "GET") -> list[Request]:
        """Requests whose path ends so."""
        return [request for request in self.requests if request.method == method and request.path.endswith(end)]

    def sent(self, end: str) -> int:
        return sum(request.sent for request in self.asked(end))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.note = Request(self.command, path, {key.lower(): value for key, value in self.headers.items()})
        self.hub.requests.append(self.note)
        try:
            if self.hub.faults.statuses:
                status, code = self.hub.faults.statuses.pop(0)
                self._refuse(status, code)
            elif path.startswith("/api/models/"):
                self._info(path.removeprefix("/api/models/"))
            else:
                self._resolve(path.removeprefix("/"))
        except OSError:
            self.close_connection = True  # the client went away

    def _commit(self, hub_id: str, revision: str) -> str | None:
        """The commit, or None after a refusal."""
        if not any(known == hub_id for known, _ in self.hub.commits):
            self._refuse(404, "RepoNotFound")
        else:
            commit = self.hub.branches.get((hub_id, revision), revision)
            if (hub_id, commit) in self.hub.commits:
                return commit
            self._refuse(404, "RevisionNotFound")
        return None

    def _info(self, rest: str) -> None:
        hub_id, _, revision = rest.partition("/revision/")
        commit = self._commit(hub_id, revision or "main")
        if commit is None:
            return
        files = self.hub.commits[hub_id, commit]
        stated = not self.hub.faults.no_records
        siblings = [_record(name, data) if stated else {"rfilename": name} for name, data in files.items()]
        body = json.dumps({"id": hub_id, "modelId": hub_id, "sha": commit, "siblings": siblings}).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self._body(body)

    def _resolve(self, path: str) -> None:
        hub_id, _, rest = path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        commit = self._commit(hub_id, revision)
        if commit is None:
            return
        if hub_id in self.hub.gated and "authorization" not in self.note.headers:
            self._refuse(self.hub.gated[hub_id], "GatedRepo")
            return
        data = self.hub.commits[hub_id, commit].get(name)
        if data is None:
            self._refuse(404, "EntryNotFound")
            return
        faults = self.hub.faults if name.endswith(self.hub.faults.of) else Faults()
        record = _record(name, data)
        headers = {
            "ETag": f'"{record["lfs"]["sha256"] if "lfs" in record else record["blobId"]}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        start, status = 0, 200
        if self.note.range and not faults.no_range:
            start, status = int(self.note.range.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(data):
                self._refuse(416, "")
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(status, headers | {"Content-Length": str(len(data) - start)})
        if self.command == "GET":
            self._faulty(data, start, faults)

    def _faulty(self, data: bytes, start: int, faults: Faults) -> None:
        if faults.wrong:
            faults.wrong -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        body = data[start:]
        cut = faults.cut_after if faults.cut_after is not None and faults.cuts > 0 else None
        for at in range(0, len(body), PIECE):
            if cut is not None and at >= cut:
                faults.cuts -= 1
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._body(body[at : at + PIECE])
            if faults.gate is not None and at >= len(body) // 4:
                faults.gate.wait(60)
            if faults.slow_s:
                time.sleep(faults.slow_s)

    def _body(self, data: bytes) -> None:
        if self.command == "GET":
            self.wfile.write(data)
            self.note.sent += len(data)

    def _refuse(self, status: int, code: str) -> None:
        extra = {"Retry-After": self.hub.faults.retry_after} if self.hub.faults.retry_after else {}
        headers = {"Content-Length": "0", **({"X-Error-Code": code} if code else {}), **extra}
        self._send(status, headers)

    def _send(self, status: int, headers: dict[str, str]) -> None:
        self.note.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _record(name: str, data: bytes) -> dict[str, Any]:
    """How the hub's list of files states one."""
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    record: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": oid}
    if name.endswith(LFS):
        record["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return record


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub that is ended with the block, its stuck answers let go."""
    served = Hub()
    try:
        yield served
    finally:
        if served.faults.gate is not None:
            served.faults.gate.set()
        served.close()
