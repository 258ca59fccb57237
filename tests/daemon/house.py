"""What the tests of a real daemon share: one with short waits, a raw socket, and a look at the log."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.daemonkit import Daemon
from tests.needs import needs

NOT_ROOT = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""In front of a command: permissions hold for it, although root runs the tests."""

needs_permissions = needs("setpriv", "permissions, which root gives up by it", when=bool(NOT_ROOT))


class HastyDaemon(Daemon):
    """A daemon with other constants: ``{"ingestd.policy.moves.SOURCE_RETRY_S": 0.3}``."""

    def __init__(
        self, home: Path, constants: dict[str, float], prefix: Sequence[str] = (), env: dict[str, str] | None = None
    ) -> None:
        super().__init__(home, env)
        self.constants, self.prefix = constants, prefix

    def code(self) -> str:
        """The program that sets the constants and is the daemon."""
        code = ["import sys, importlib"]
        for name, value in self.constants.items():
            module, _, constant = name.rpartition(".")
            code += [f"m = importlib.import_module({module!r})", f"assert hasattr(m, {constant!r})"]
            code += [f"m.{constant} = {value!r}"]
        return "\n".join([*code, "from ingestd.__main__ import main", "sys.argv = ['ingestd']", "sys.exit(main())"])

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        with open(self.home / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-c", self.code()],
                env=self.env, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
            )  # fmt: skip
        self.wait_for(self._answers, 30)


class Wire:
    """A raw connection to a daemon's socket."""

    def __init__(self, daemon: Daemon, timeout: float = 20) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(daemon.socket)  # waits where one with a timeout would be refused: the queue may be full
        self.sock.settimeout(timeout)
        self._buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, method: str, ident: int | None = 1, **params: Any) -> None:
        request: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        self.send(json.dumps(request | ({} if ident is None else {"id": ident})).encode() + b"\n")

    def line(self) -> dict[str, Any] | None:
        """The next line as JSON, or None when the daemon has closed the connection."""
        while b"\n" not in self._buffer:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                assert not self._buffer, f"half a line: {self._buffer!r}"
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return dict(json.loads(line))

    def reply(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask and get the answer."""
        self.ask(method, **params)
        answer = self.line()
        assert answer is not None
        return answer


def defects(daemon: Daemon) -> list[str]:
    """Lines of the log and of stderr that only a defect of the daemon leaves."""
    bad = []
    for line in daemon.log():
        entry = json.loads(line)
        # What a library or the interpreter says by itself would else have been on stderr.
        own = entry["event"] != "library" and entry["level"] not in ("error", "critical")
        if not own or "exception" in entry or "Traceback" in line:
            bad.append(line)
    return bad + [line for line in daemon.stderr().splitlines() if line] + _told(daemon)


def _told(daemon: Daemon) -> list[str]:
    """Descriptions of pictures that stand in the log, where they have no business."""
    made = set()
    for path in (daemon.home / "state").rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            try:
                made.add(str(json.loads(line).get("description") or ""))
            except ValueError:
                continue  # the last line of a daemon that was killed
    log = "\n".join(daemon.log())
    return [f"in the log: {text}" for text in made if len(text) > 12 and text in log]


def run_ingestd(
    home: Path, *arguments: str, env: dict[str, str] | None = None, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """``ingestd`` to its end, for one that is expected not to begin or to answer at once."""
    environ = Daemon(home, env).env
    return subprocess.run(
        [*prefix, sys.executable, "-m", "ingestd", *arguments], env=environ, capture_output=True, text=True, timeout=60
    )
