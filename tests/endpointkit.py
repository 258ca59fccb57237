"""A small real server that speaks the OpenAI API for pictures: ``/v1/models`` and ``/v1/chat/completions``.

How it answers is a function of the request, so a test can make it slow, busy, mute, garbled or half. It knows pictures
by their number (``write_numbered`` makes them), and counts what it was asked for.
"""

from __future__ import annotations

import base64
import collections
import io
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from tests.pictures import encode

_LEVELS, _STEP, _FIRST = 6, 40, 27
CONTROL_SIZE = (224, 224)
"""Of the picture by which a client finds out whether the endpoint answers at all; no picture of a test has it."""


def write_numbered(folder: Path, n: int, size: tuple[int, int] = (64, 48)) -> list[Path]:
    """``n`` pictures of one colour each, at most 216: the server tells them apart however they are scaled."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(n):
        path = folder / f"picture-{number:03}.jpg"
        path.write_bytes(numbered(number, size))
        paths.append(path)
    return paths


def numbered(number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """One of them, as a file's bytes."""
    levels = (number % _LEVELS, number // _LEVELS % _LEVELS, number // _LEVELS**2)
    r, g, b = (_FIRST + _STEP * level for level in levels)
    return encode(Image.new("RGB", size, (r, g, b)), quality=95)


@dataclass(frozen=True)
class Ask:
    """One request for a completion. ``number`` is its picture's, -1 for the control, None without a picture.

    ``nth`` counts the requests for that number, from 0.
    """

    number: int | None
    nth: int
    body: dict[str, Any]
    jpeg: bytes
    authorization: str


@dataclass(frozen=True)
class Reply:
    """What goes over the wire: a whole answer, or with ``cut`` only so many bytes of it, by the fault's name."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    cut: int | None = None
    chunked: bool = False
    drip_s: float = 0.0
    reset: bool = False


def says(text: str | None, *, finish: str = "stop", after_s: float = 0.0) -> Reply:
    """A completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    body = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
    return Reply(body=body, after_s=after_s)


def refuses(status: int, message: str = "no", **headers: str) -> Reply:
    """An error in the form that vLLM, llama.cpp and Ollama give it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps({"error": {"message": message, "code": status}}).encode(), named)


def described(number: int | None) -> str:
    return f"A plain field of the colour that has the number {number}."


Behaviour = Callable[[Ask], Reply]


def obliging(ask: Ask) -> Reply:
    """Answers everything at once."""
    return says(described(ask.number))


def only(number: int, reply: Reply, times: int = 10**6) -> Behaviour:
    """The first ``times`` requests for one picture get ``reply``; everything else is answered."""
    return lambda ask: reply if ask.number == number and ask.nth < times else obliging(ask)


def always(reply: Reply) -> Behaviour:
    return lambda ask: reply


def wait_for(condition: Callable[[], bool], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class EndpointServer:
    """The server and what it saw. ``behave`` may be exchanged while it runs; ``stop`` and ``start`` keep its port.

    Pictures wait until ``gather`` requests are there at once (some seconds at most): then it is sure that they can be.
    """

    def __init__(self, names: tuple[str, ...] = ("tiny",), key: str = "", behave: Behaviour = obliging) -> None:
        self.names, self.key, self.behave = names, key, behave
        self.asks: list[Ask] = []
        self.counts: collections.Counter[int | None] = collections.Counter()
        self.answered: collections.Counter[int | None] = collections.Counter()
        self.models_asked = 0
        self.models_reply: Reply | None = None
        self.now, self.most_at_once, self.gather = 0, 0, 0
        self.lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def name(self) -> str:
        """What is given to ``--describe``."""
        return f"openai:http://127.0.0.1:{self.port}/v1#{self.names[0]}"

    def numbers(self) -> dict[int, int]:
        """How often each picture of a test was sent."""
        return {number: n for number, n in self.counts.items() if number is not None and number >= 0}

    def start(self, certificate: Path | None = None) -> None:
        """Listen; with ``certificate`` (a PEM file with its key) in TLS."""
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """As when its process ends: connections are reset, new ones refused."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        with self.lock:
            for sock in self._sockets:
                _reset(sock)
        self._server = None

    def await_others(self, ask: Ask) -> None:
        deadline = time.monotonic() + 20
        while ask.number != -1 and self.most_at_once < self.gather and time.monotonic() < deadline:
            time.sleep(0.005)

    def took(self, sock: socket.socket) -> None:
        with self.lock:
            self._sockets.add(sock)

    def left(self, sock: socket.socket) -> None:
        with self.lock:
            self._sockets.discard(sock)

    def read(self, body: dict[str, Any], authorization: str) -> Ask:
        """Note a request."""
        number, jpeg = None, b""
        for part in body["messages"][0]["content"]:
            if part["type"] == "image_url":
                kind, _, data = part["image_url"]["url"].partition(",")
                assert kind == "data:image/jpeg;base64"
                jpeg = base64.b64decode(data, validate=True)
                number = _number(jpeg)
        with self.lock:
            ask = Ask(number, self.counts[number], body, jpeg, authorization)
            self.counts[number] += 1
            self.asks.append(ask)
        return ask


def _number(jpeg: bytes) -> int:
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        if image.size == CONTROL_SIZE:
            return -1
        pixel = image.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    levels = [round((value - _FIRST) / _STEP) for value in pixel]
    return levels[0] + levels[1] * _LEVELS + levels[2] * _LEVELS**2


def _reset(sock: socket.socket) -> None:
    """Close so that the other side gets a reset instead of an end."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RD)
        sock.close()
    except OSError:
        pass  # it has gone by itself


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients hang up, by design of the tests


class _Handler(BaseHTTPRequestHandler):
    endpoint: EndpointServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.endpoint.took(self.request)

    def finish(self) -> None:
        self.endpoint.left(self.request)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.endpoint.models_asked += 1
        if self.path != "/v1/models":
            return self._send(refuses(404, "there is no such path"))
        if not self._allowed():
            return self._send(refuses(401, f"wrong key: {self.headers.get('Authorization')}"))
        data = [{"id": name, "object": "model"} for name in self.endpoint.names]
        self._send(self.endpoint.models_reply or Reply(body=json.dumps({"object": "list", "data": data}).encode()))
        return None

    def do_POST(self) -> None:
        endpoint = self.endpoint
        with endpoint.lock:
            endpoint.now += 1
            endpoint.most_at_once = max(endpoint.most_at_once, endpoint.now)
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            ask = endpoint.read(body, self.headers.get("Authorization", ""))
            if self.path != "/v1/chat/completions":
                reply = refuses(404, "there is no such path")
            elif not self._allowed():
                reply = refuses(401, f"wrong key: {self.headers.get('Authorization')}")
            elif body["model"] not in endpoint.names:
                reply = refuses(404, f"model {body['model']} not found")
            else:
                endpoint.await_others(ask)
                reply = endpoint.behave(ask)
            time.sleep(reply.after_s)
        finally:
            with endpoint.lock:
                endpoint.now -= 1
        self._send(reply)
        if reply.status == 200 and reply.cut is None and not reply.reset:
            endpoint.answered[ask.number] += 1

    def _allowed(self) -> bool:
        return not self.endpoint.key or self.headers.get("Authorization") == f"Bearer {self.endpoint.key}"

    def _send(self, reply: Reply) -> None:
        if reply.reset:
            self.close_connection = True
            return _reset(self.request)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        body = reply.body if reply.cut is None else reply.body[: reply.cut]
        if reply.chunked:
            self.wfile.write(
                f"{len(reply.body):x}\r\n".encode() + body + (b"" if reply.cut is not None else b"\r\n0\r\n\r\n")
            )
        elif reply.drip_s:
            for at in range(len(body)):
                self.wfile.write(body[at : at + 1])
                time.sleep(reply.drip_s)
        else:
            self.wfile.write(body)
        if reply.cut is not None:
            self.close_connection = True
        return None


@contextmanager
def serving(
    *, names: tuple[str, ...] = ("tiny",), key: str = "", behave: Behaviour = obliging
) -> Iterator[EndpointServer]:
    """A server that answers, ended with the block."""
    endpoint = EndpointServer(names, key, behave)
    endpoint.start()
    try:
        yield endpoint
    finally:
        if endpoint._server is not None:
            endpoint.stop()
