"""A small real daemon for the client: it speaks the control protocol over a Unix socket, with canned replies.

Requests are decoded by, and replies built from, ``ingestd.protocol.control``: a client that drifts from the contract
fails here.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ingestd.protocol import control as c, rpc
from ingestd.protocol.wire import LineReader

ROOT = Path(__file__).resolve().parents[2]
UUID = "0b5c2c1e-6a4f-5d0a-9c7e-000000000001"
COMMAND = [sys.executable, "-m", "ingestctl"]


def job(**changes: Any) -> c.JobStatus:
    """A job in the middle of its work; ``changes`` replace fields."""
    now = time.time()
    fields: dict[str, Any] = {
        "id": 1,
        "uuid": UUID,
        "name": "photos",
        "status": "running",
        "reason": "",
        "actor": "",
        "until": None,
        "phase": "working",
        "sources": ["/photos"],
        "created": now - 3600,
        "changed": now - 60,
        "counts": counts(),
        "reused": 7,
        "percent": 48.27,
        "so_far": True,
        "rate_per_hour": 4200.0,
        "eta": c.Eta(low=3 * 3600, high=3.6 * 3600),
        "last_commit_age": 2.0,
        "scan": c.ScanStatus("running", now - 3600, None, 25600, {"video": 1100, "sidecar": 103}, []),
        "steps": [c.StepStatus("meta", "meta", "f0", 12345, 0), c.StepStatus("embed", "builtin", "f1", 12300, 12)],
        "sinks": [
            c.SinkStatus("qdrant", "qdrant", "/state/sinks/u/qdrant", 100, 3, "delivering", ""),
            c.SinkStatus("jsonl", "jsonl", "/state/sinks/u/photos.jsonl", 103, 0, "idle", ""),
        ],
        "workers": [c.WorkerStatus(4321, 12, "working", 45, 32)],
        "last_failure": c.LastFailure("/photos/x.jpg", "corrupt", "image file is truncated", now - 120),
        "last_items": [c.LastItem("/photos/a.jpg", now - 1, "done")],
        "limit": None,
        "batch_size": 100,
        "cooldown": "auto",
    }
    return c.JobStatus(**(fields | changes))


def counts(**changes: int) -> c.Counts:
    fields = {"found": 25600, "skipped": 1203, "pending": 13223, "running": 32, "suspect": 0, "gone": 0}
    return c.Counts(**(fields | {"done": 12300, "failed": 45} | changes))


def finished(failed: int = 0, **changes: Any) -> c.JobStatus:
    rest = counts(found=100, pending=0, running=0, done=100 - failed, failed=failed, skipped=0)
    plain: dict[str, Any] = {
        "eta": None,
        "percent": 100.0,
        "so_far": False,
        "workers": [],
        "reason": "",
        "phase": "completed",
    }
    return job(**({"status": "completed", "counts": rest} | plain | changes))


def daemon_status(log: str = "/home/u/ingestd.log") -> c.DaemonStatus:
    return c.DaemonStatus(4242, "0.1.0", time.time() - 11520, "/home/u", log, 12_000_000, 61_000_000)


def refuse(message: str, operation: str, object: str, remedy: str, exit: int = 1) -> rpc.Error:
    return rpc.Error(rpc.INGEST_ERROR, message, rpc.ErrorData(operation, object, remedy, exit))


def shown(jobs: tuple[str, ...] = ("photos",), state: str = "done") -> c.ShowReply:
    tags = [{"label": "tabby", "score": 0.6123}, {"label": "lynx", "score": 0.1}]
    results = {"meta": {"camera": "X100"}, "embed": {"dim": 384}, "describe": {"text": "a cat\x1b[31m", "tags": tags}}
    return c.ShowReply([shown_item(job, state, results) for job in jobs])


def shown_item(job: str, state: str, results: dict[str, Any]) -> c.ShownItem:
    return c.ShownItem(
        job, "/p/a.jpg", state, 2, 2_400_000, 1.7e9, "ab" * 32, "JPEG", 4000, 3000, results, [], ["/p/b.jpg"], 5
    )


def hit(score: float, path: str, **changes: Any) -> c.SearchHit:
    return c.SearchHit(score, path, changes.pop("description", "tabby cat"), "id", [path], 1, {}, **changes)


Handler = Callable[[Any], Any]


class FakeDaemon:
    """Answers at ``path``. ``replies`` maps a verb to a struct, an ``Error`` or a function of the parameters."""

    def __init__(self, path: Path, replies: dict[str, Any]) -> None:
        self.replies: dict[str, Any] = {
            "hello": c.HelloReply(c.PROTOCOL, "0.1.0", os.getpid()),
            "status": c.StatusReply(daemon_status(), [job()]),
            **replies,
        }
        self.requests: list[tuple[str, Any]] = []
        self._path = path
        self._open: list[socket.socket] = []
        self.begin()

    def begin(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """What a dying daemon does: every connection ends, nobody listens."""
        # Shut down first: a close alone does not wake the thread in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for sock in self._open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # that client went first
        self._open.clear()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def asked(self, verb: str) -> list[Any]:
        return [params for name, params in self.requests if name == verb]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        lines = LineReader()
        with sock:
            try:
                while data := sock.recv(1 << 16):
                    for line in lines.feed(data):
                        if isinstance(line, Exception):
                            raise line
                        sock.sendall(self._answer(line) + b"\n")
            except OSError:
                pass  # the client, or this daemon's end, was faster

    def _answer(self, line: bytes) -> bytes:
        request = msgspec.json.decode(line, type=rpc.Request)
        params_type, reply_type = c.VERBS[request.method]
        params = msgspec.json.decode(request.params, type=params_type)
        self.requests.append((request.method, params))
        reply = self.replies[request.method]
        reply = reply(params) if callable(reply) else reply
        envelope: dict[str, Any] = {"jsonrpc": "2.0", "id": request.id}
        if isinstance(reply, rpc.Error):
            return msgspec.json.encode(envelope | {"error": reply})
        assert isinstance(reply, reply_type), (request.method, reply)
        return msgspec.json.encode(envelope | {"result": reply})


class Home:
    """An ``INGESTD_HOME`` of its own, with or without a daemon, and the client run in it as a real process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "run" / "ingestd.sock"
        self.daemons: list[FakeDaemon] = []
        self.clients: list[subprocess.Popen[bytes]] = []
        self.cwd = folder / "cwd"
        self.cwd.mkdir()

    def daemon(self, **replies: Any) -> FakeDaemon:
        self.daemons.append(FakeDaemon(self.socket, replies))
        return self.daemons[-1]

    def env(self, **changes: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "LC_ALL")}
        paths = os.pathsep.join([str(ROOT / "ctl"), str(ROOT)])
        # Away from the checkout: its folder must not be found by chance.
        return kept | {"INGESTD_HOME": str(self.folder), "PYTHONPATH": paths, "LOGNAME": "ada"} | changes

    def run(self, *words: str | bytes, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [*COMMAND, *words], input=stdin, capture_output=True, env=self.env(**(env or {})), cwd=self.cwd, timeout=60
        )
        return Ran(done)

    def popen(self, *words: str) -> subprocess.Popen[bytes]:
        """A client that a test talks with; it is ended with this home."""
        client = subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env(),
            cwd=self.cwd,
        )
        self.clients.append(client)
        return client


class Ran:
    """What a client left: exit code and both streams."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.code = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


@contextmanager
def home() -> Iterator[Home]:
    """A short folder: pytest's own are so long that the socket would move to the runtime folder."""
    folder = Path(tempfile.mkdtemp(prefix="ictl-", dir="/tmp"))
    made = Home(folder)
    try:
        yield made
    finally:
        for client in made.clients:
            if client.poll() is None:
                client.kill()
            client.wait(10)
            for stream in (client.stdout, client.stderr):
                if stream is not None:
                    stream.close()
        for daemon in made.daemons:
            try:
                daemon.end()
            except OSError:
                pass  # ended by the test
        shutil.rmtree(folder)


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for a condition, never for a time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def plain(text: str) -> str:
    """``text`` without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def on_terminal(cwd: Path, env: dict[str, str], *words: str) -> tuple[int, list[str]]:
    """Run the client on a terminal of its own: its exit code, and what it drew in place, one after another."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execve(COMMAND[0], [*COMMAND, *words], env)
    data = b""
    try:
        while more := os.read(terminal, 4096):
            data += more
    except OSError:
        pass  # Linux says EIO at the end of a terminal
    os.close(terminal)
    drawn = [part.partition("\r")[0].partition("\n")[0] for part in data.decode().split("\r\x1b[K")[1:]]
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), drawn
