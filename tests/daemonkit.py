"""A real daemon for tests: its own INGESTD_HOME, its own process, spoken to over its socket, killed by its own pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

META = {"describe": "none", "embed": "none"}
"""The recipe that needs no model: kill and fault tests use it."""


def slowness() -> float:
    """How many times longer than on a free machine something takes now: 1 or more, by what runs for each core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1.0, os.getloadavg()[0] / cores)


class RpcError(Exception):
    """An error reply; ``data`` is its ``error.data``."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.data = error.get("data", {})


class Daemon:
    """One daemon under test."""

    def __init__(self, home: Path, env: dict[str, str] | None = None) -> None:
        self.home = home
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("INGESTD_")}
        self.env |= {"INGESTD_HOME": str(home), "HF_HUB_OFFLINE": "1", **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # ---------------------------------------------------------------------------------------------------- its process

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        with open(self.home / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingestd"], env=self.env, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr
            )
        self.wait_for(self._answers, 30)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon exited with {self.process.returncode}: {self.stderr()}")
        try:
            return bool(self.call("hello")["pid"] == self.process.pid)
        except (OSError, ConnectionError):
            return False

    def stderr(self) -> str:
        return (self.home / "stderr").read_text()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def children(self, room: str = "") -> list[psutil.Process]:
        """Live child processes, of one room (``worker``, ``walker``, ``sinks``) or of all."""
        found = []
        try:
            processes = psutil.Process(self.pid).children()
        except psutil.NoSuchProcess:
            return []
        for process in processes:
            try:
                if f"ingestd.{room}" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def kill(self) -> None:
        """SIGKILL, and reap."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        """SIGTERM, then SIGKILL for one that does not listen."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    # ----------------------------------------------------------------------------------------------------- its socket

    @property
    def socket(self) -> str:
        from ingestd.paths import Places

        return str(Places(self.home / "state", self.home / "run", self.home / "log", self.home / "config.toml").socket)

    def call(self, verb: str, timeout: float = 60, /, **params: Any) -> Any:
        """One request; returns its result or raises ``RpcError``."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(self.socket)
            sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": verb, "params": params}).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                chunk = sock.recv(1 << 16)
                if not chunk:
                    raise ConnectionError("the daemon closed the connection")
                data += chunk
        reply = json.loads(data)
        if "error" in reply:
            raise RpcError(reply["error"])
        return reply["result"]

    def job(self, name: str | None = None) -> dict[str, Any]:
        """The status of a job, the newest if none is named."""
        jobs = self.call("status", **({"job": name} if name else {}))["jobs"]
        return dict(jobs[0])

    def waiting(self, name: str | None = None) -> dict[str, Any]:
        """The status of a job, once it waits, in one look: it tries again by itself, and then it has no reason."""
        seen: list[dict[str, Any]] = []
        self.wait_for(lambda: seen.append(self.job(name)) or seen[-1]["status"] == "waiting")
        return seen[-1]

    def ingest(self, *sources: Path, wait: bool = True, **params: Any) -> dict[str, Any]:
        """Start a job and wait until it rests."""
        reply = self.call("start", sources=[str(source) for source in sources], **params)
        if not wait:
            return dict(reply["job"])
        return dict(self.call("wait", 300, job=reply["job"]["name"])["job"])

    def wait_for(self, condition: Callable[[], object], timeout: float = 60) -> None:
        """Until ``condition`` holds; fails with the log's last lines."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout} s; log:\n" + "\n".join(self.log()[-15:]))
            time.sleep(0.02)

    # ------------------------------------------------------------------------------------------------------ its traces

    def log(self) -> list[str]:
        path = self.home / "log" / "ingestd.log"
        return path.read_text().splitlines() if path.exists() else []

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows straight from the ledger."""
        db = sqlite3.connect(f"file:{self.home / 'state' / 'ledger.db'}?mode=ro", uri=True)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    def jsonl(self, job: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The current line of every id in the job's JSONL sink; checks that every line is whole."""
        place = next(sink["place"] for sink in job["sinks"] if sink["kind"] == "jsonl")
        current: dict[str, dict[str, Any]] = {}
        for line in Path(place).read_bytes().splitlines():
            document = json.loads(line)
            current[document["id"]] = document
        return {ident: document for ident, document in current.items() if not document.get("deleted")}
