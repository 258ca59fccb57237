"""The daemon as a unit in a sandbox: what ``systemctl`` says of it, what ``ingestctl`` does, what it has written."""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.pictures import write_photos
from tests.system.sandbox import PREFIX, Sandbox

META = ("--describe", "none", "--embed", "none", "--sink", "jsonl")
WINDOW = 32
"""What one worker has in flight at most, so what a kill may have claimed for nothing."""
QUERY = """\
import json, sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(json.dumps(db.execute(sys.argv[2], json.loads(sys.argv[3])).fetchall()))
"""


class Unit:
    """The service of one user, in the system's manager or in the user's own."""

    def __init__(self, sandbox: Sandbox, kind: str, user: str = "tester") -> None:
        self.sandbox, self.kind, self.user = sandbox, kind, user
        self.home = f"/home/{user}"
        self.name = f"ingestd@{user}.service" if kind == "system" else "ingestd.service"
        self.manager_user = None if kind == "system" else user
        self.field = "UNIT" if kind == "system" else "USER_UNIT"

    def install(self, *words: str) -> str:
        """By the installed client, as its reader would type it."""
        return self.service("install", *words)

    def uninstall(self) -> str:
        return self.service("uninstall")

    def service(self, verb: str, *words: str) -> str:
        scope = ("--system", "--for", self.user) if self.kind == "system" else ()
        return self.sandbox.run("ingestctl", "service", verb, *scope, *words, user=self.manager_user)

    # ---------------------------------------------------------------------------------------------- the manager's view

    def systemctl(self, *words: str, check: bool = True) -> str:
        scope = () if self.kind == "system" else ("--user",)
        return self.sandbox.run("systemctl", *scope, *words, user=self.manager_user, check=check)

    def show(self, key: str) -> str:
        return self.systemctl("show", "--value", "--property", key, self.name)

    @property
    def pid(self) -> int:
        """The main process, by the sandbox's count; 0 when there is none."""
        return int(self.show("MainPID"))

    def kill(self, signal: str) -> None:
        """A signal for the main process alone, from outside the manager."""
        self.sandbox.run("kill", f"-{signal}", str(self.pid))

    def is_active(self) -> bool:
        return self.show("ActiveState") == "active"

    def journal(self) -> str:
        """The messages of the unit, and those of its manager about it."""
        scope = "--unit" if self.kind == "system" else "--user-unit"
        return self.sandbox.run(
            "journalctl", "--no-pager", "--output=cat", f"{scope}={self.name}", user=self.manager_user
        )

    def has_replaced(self, pid: int) -> bool:
        """Whether another main process than ``pid`` is ready."""
        now = self.systemctl("show", "--property", "MainPID,ActiveState", self.name).splitlines()
        return "ActiveState=active" in now and not {"MainPID=0", f"MainPID={pid}"} & set(now)

    def restarts(self) -> int:
        """How often the manager has started it again by itself since somebody last started it."""
        return int(self.show("NRestarts"))

    def override(self, text: str | None) -> None:
        """Lines of ``[Service]`` that hold until they are taken away (None); in force at the next start."""
        runtime = "/run" if self.kind == "system" else f"/run/user/{self.sandbox.uid(self.user)}"
        folder = f"{runtime}/systemd/{self.kind}/{self.name}.d"
        if text is None:
            self.sandbox.run("rm", "-rf", folder)
        else:
            self.sandbox.run("mkdir", "-p", folder, user=self.manager_user)
            self.sandbox.path(f"{folder}/test.conf").write_text(f"[Unit]\nStartLimitIntervalSec=0\n[Service]\n{text}\n")
        self.systemctl("daemon-reload")

    # ----------------------------------------------------------------------------------------------- the person's view

    def ctl(self, *words: str, timeout: float = 120) -> str:
        return self.sandbox.run("ingestctl", *words, user=self.user, timeout=timeout)

    def call(self, verb: str, timeout: float = 150, **params: Any) -> Any:
        """One request over the control socket, as root of the machine, who is let in: cheaper than a client's start."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(str(self.sandbox.path(self.door)))
            with sock.makefile("rwb") as stream:
                stream.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": verb, "params": params}).encode() + b"\n")
                stream.flush()
                reply = json.loads(stream.readline())
        assert "error" not in reply, reply
        return reply["result"]

    @property
    def door(self) -> str:
        """The control socket, where each kind of service has it."""
        if self.kind == "system":
            return f"/run/ingestd/{self.user}/ingestd/ingestd.sock"
        return f"/run/user/{self.sandbox.uid(self.user)}/ingestd/ingestd.sock"

    def job(self, name: str) -> dict[str, Any]:
        return dict(self.call("status", job=name)["jobs"][0])

    def photos(self, name: str, count: int, folder: str = "") -> str:
        """A folder of that many distinct photos, all of them new."""
        folder = folder or f"{self.home}/{name}"
        write_photos(self.sandbox.path(folder), count, seed=sum(map(ord, self.kind + name)))
        return folder

    def start(self, name: str, count: int, *words: str, folder: str = "") -> None:
        """A catalogue job over new photos."""
        self.ctl("start", self.photos(name, count, folder), "--name", name, *META, *words)

    def under_way(self, name: str, beyond: int = 0) -> int:
        """Until more than ``beyond`` of the job's items are done; how many are. It must not be all of them yet."""

        def begun() -> bool:
            nonlocal counts
            counts = self.job(name)["counts"]
            assert not counts["found"] or counts["done"] < counts["found"], f"too few photos to fall into: {counts}"
            return bool(counts["done"] > beyond)

        counts: dict[str, int] = {}
        self.sandbox.wait_for(begun)
        return counts["done"]

    def finish(self, name: str) -> dict[str, Any]:
        """Until the job rests."""
        return dict(self.call("wait", job=name)["job"])

    # ------------------------------------------------------------------------------------------------------ its traces

    def query(self, sql: str, *values: object) -> list[list[Any]]:
        """Rows straight from the ledger, read inside: SQLite would take a path through ``/proc`` for the machine's."""
        ledger = f"{self.home}/.local/state/ingestd/ledger.db"
        python = f"{PREFIX}/bin/python"
        return list(json.loads(self.sandbox.run(python, "-c", QUERY, ledger, sql, json.dumps(values), user=self.user)))

    def entries(self, *matches: str, user: str | None = None) -> list[dict[str, Any]]:
        """The journal's entries, as root or ``user`` is shown them."""
        self.sandbox.run("journalctl", "--sync")
        lines = self.sandbox.run("journalctl", "--no-pager", "--output=json", *matches, user=user)
        return [json.loads(line) for line in lines.splitlines()]

    def check_whole(self, name: str, count: int, ends: int) -> None:
        """All items done, each content told once, and no more claimed anew than was in flight when the daemon ended.

        ``ends``: how often it ended in the middle of the job. That it was the middle is checked too: each of its lives
        has had workers for the job.
        """
        job = self.finish(name)
        assert job["status"] == "completed", job
        states = dict(self.query("SELECT state, count(*) FROM item WHERE job_id = ? GROUP BY state", job["id"]))
        assert states == {"done": count}
        ((attempts,),) = self.query("SELECT sum(attempts) FROM item WHERE job_id = ?", job["id"])
        assert count <= attempts <= count + ends * WINDOW
        assert self.query("SELECT count(DISTINCT epoch) FROM batch WHERE job_id = ?", job["id"]) == [[ends + 1]]
        (place,) = (sink["place"] for sink in job["sinks"])
        lines = [json.loads(line) for line in self.sandbox.path(place).read_bytes().splitlines()]
        ids = {line["id"] for line in lines}
        assert len(ids) == len({tuple(line["paths"]) for line in lines}) == count
        assert self.query("PRAGMA quick_check") == [["ok"]]
