"""What the doctor's tests share: homes with jobs of every kind, the client run in them, its findings by what they are
about."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from ingestd.kinds.sinks import SinkSpec
from ingestd.ledger import jobs
from ingestd.ledger.ledger import open_writer
from ingestd.protocol.work import Step
from ingestd.records import RootRef
from tests.ctl.ctlkit import COMMAND, Home
from tests.daemonkit import META
from tests.jobkit import job_spec

OF_THE_MACHINE = ("service", "lid", "lockdown", "memory")
"""Findings that are about the machine that runs the tests, which may have a lid, an old kernel or little memory."""

SEEN_S = 240
"""Seconds after which a doctor that says nothing is a failure; one that is well needs two."""


class Findings:
    """What one run of the doctor found."""

    def __init__(self, found: list[dict[str, Any]], code: int, seconds: float, cpu_s: float = 0.0) -> None:
        self.all, self.code, self.seconds, self.cpu_s = found, code, seconds, cpu_s

    def of(self, what: str) -> list[dict[str, Any]]:
        return [one for one in self.all if one["what"] == what]

    def one(self, what: str, containing: str = "") -> dict[str, Any]:
        """The one finding of ``what`` that contains a text."""
        (found,) = [one for one in self.of(what) if containing in one["finding"]]
        return found

    def levels(self, *without: str) -> set[str]:
        return {one["level"] for one in self.all if one["what"] not in without}


def examine(home: Home, *words: str, prefix: Sequence[str] = (), env: dict[str, str] | None = None) -> Findings:
    """``ingestctl doctor --json`` as a person runs it, behind a ``prefix`` of commands."""
    before = _cpu_s()
    done = subprocess.run(
        [*prefix, *COMMAND, "doctor", "--json", *words], env=home.env(**(env or {})), cwd=home.cwd,
        capture_output=True, text=True, timeout=SEEN_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert not done.stderr, done
    document = json.loads(done.stdout)
    levels = [one["level"] for one in document["findings"]]
    assert document["counts"] == {level: levels.count(level) for level in ("ok", "warn", "fail")}
    return Findings(document["findings"], done.returncode, document["seconds"], _cpu_s() - before)


def _cpu_s() -> float:
    """Processor time of every process that has ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def examine_hastily(home: Home, constants: dict[str, float], prefix: Sequence[str] = ()) -> Findings:
    """The daemon's program alone, with other constants: ``{"ingestd.doctor.sources.ALONE_S": 0.5}``."""
    code = ["import importlib, sys"]
    for name, value in constants.items():
        module, _, constant = name.rpartition(".")
        code += [f"m = importlib.import_module({module!r})", f"assert hasattr(m, {constant!r})"]
        code += [f"m.{constant} = {value!r}"]
    code += ["from ingestd.oneshot import answer", "sys.exit(answer('doctor'))"]
    done = subprocess.run(
        [*prefix, sys.executable, "-c", "\n".join(code)], env=home.env(), cwd=home.cwd, capture_output=True, text=True,
        timeout=SEEN_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    *lines, last = [json.loads(line) for line in done.stdout.splitlines()]
    return Findings([line["finding"] for line in lines], 0, last["verdict"]["seconds"])


class Books:
    """The ledger of a home, as a daemon that ended has left it."""

    def __init__(self, home: Home) -> None:
        self.state = home.folder / "state"
        self.state.mkdir(mode=0o700, exist_ok=True)
        self._db, _ = open_writer(self.state / "ledger.db", 1)

    def add(
        self, name: str, root: Path, *, sinks: Sequence[SinkSpec] = (SinkSpec("jsonl", "jsonl"),),
        steps: Sequence[Step] = (), status: str = "queued", changed: int = 2, **spec: Any,
    ) -> None:  # fmt: skip
        """A job over one folder; ``changed`` in Unix milliseconds, ``steps`` what it was resolved to."""
        ((ident),) = jobs.add_roots(self._db, [(os.fsencode(root), 1, "ext4")])
        row = jobs.add(
            self._db, uuid=str(uuid5(NAMESPACE_OID, name)), name=name, refs=[RootRef(ident)],
            spec=job_spec(**(META | spec)), sinks=list(sinks), actor="me", now=1,
        )  # fmt: skip
        if steps:
            jobs.resolve(self._db, row.id, list(steps), {})
        jobs.set_status(self._db, row.id, status, "", "me", changed)  # type: ignore[arg-type]

    def close(self) -> None:
        self._db.close()
