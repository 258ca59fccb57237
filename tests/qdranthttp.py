"""The HTTP half of the Qdrant server for tests: requests, answers in Qdrant's form, and what goes wrong with them."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

WRITES = r"PUT /collections/[^/]+/points\?"
DELETES = r"POST /collections/[^/]+/points/delete"


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests whose ``METHOD target`` matches ``where``.

    ``status``: answered so, without being applied. ``wait_s``: the answer waits. ``applied``: it is applied first.
    ``cut``: the connection ends: before an answer (0), or after so many bytes of it. ``share``: only this share of an
    upsert's points is applied. ``body`` and ``headers`` replace the answer's.
    """

    where: str = ""
    times: int = 1
    status: int = 0
    wait_s: float = 0
    applied: bool = False
    cut: int | None = None
    share: float = 1
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    skip: int = 0


@dataclass
class Request:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: Any
    at: float


class Refusal(Exception):
    """An error answer in Qdrant's form."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], kit: Any) -> None:
        self.kit = kit
        self._open: set[socket.socket] = set()
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what many of the tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm: ClassVar[bool] = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._do()

    do_PUT = do_POST = do_PATCH = do_DELETE = do_GET

    def _do(self) -> None:
        kit = self.server.kit
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        line = f"{self.command} {self.path}"
        decoded = json.loads(body) if body else None
        kit.requests.append(Request(line, {k.lower(): v for k, v in self.headers.items()}, decoded, time.monotonic()))
        writes = bool(re.match(f"{WRITES}|{DELETES}", line))
        fault = kit.fault_of(line) or Fault()
        kit.enter(writes)
        try:
            if fault.status or fault.cut is not None or fault.body is not None:
                if fault.applied:
                    kit.answer(self.command, urlsplit(self.path).path, decoded, fault.share)
                time.sleep(fault.wait_s)
                text = fault.body if fault.body is not None else _error("Service internal error: as a test wants it")
                self._reply(fault.status or 200, text, fault)
                return
            if kit.key and self.headers.get("api-key") != kit.key:
                self._reply(401, b"Must provide an API key or an Authorization bearer token", fault)
                return
            if length > kit.max_body:
                self._reply(413, b"", fault)
                return
            status, text = self._answered(kit, decoded)
            time.sleep(fault.wait_s)
            self._reply(status, text, fault)
        finally:
            kit.enter(-writes)

    def _answered(self, kit: Any, body: Any) -> tuple[int, bytes]:
        path = urlsplit(self.path).path
        if path == "/":
            return 200, json.dumps({"title": "qdrant - vector search engine", "version": "1.15.0"}).encode()
        try:
            return 200, json.dumps({"result": kit.answer(self.command, path, body), "status": "ok", "time": 0}).encode()
        except Refusal as error:
            return error.status, _error(str(error)) if str(error) else b""

    def _reply(self, status: int, body: bytes, fault: Fault) -> None:
        head = f"HTTP/1.1 {status} as asked\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n"
        data = (head + "".join(f"{k}: {v}\r\n" for k, v in fault.headers.items()) + "\r\n").encode() + body
        if fault.cut is not None:
            data = data[: fault.cut]
            self.close_connection = True
        try:
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the client did not wait


def _error(message: str) -> bytes:
    return json.dumps({"status": {"error": message}, "time": 0.0}).encode()
