"""What the doctor knows before it looks at anything else: settings, the ledger's jobs, what a daemon says of itself.

Each of the three may fail, and that is a finding of its own; the rest then goes by what is known.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import psutil

from ingestd import config, paths, settings_file
from ingestd.doctor.checking import BLOCKED_S, blocking
from ingestd.errors import IngestError
from ingestd.kinds import catalogue
from ingestd.kinds.catalogue import NOTHING, Catalogue
from ingestd.kinds.sinks import SinkKinds
from ingestd.ledger import jobs, report
from ingestd.ledger.offline import from_ledger
from ingestd.ledger.report import JobFacts
from ingestd.paths import Places
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import shown
from ingestd.protocol.wire import LineReader
from ingestd.protocol.work import Machine, Step
from ingestd.records import JobRow

ACTIVE: Final = ("queued", "running", "waiting", "paused")
"""Statuses of a job that goes on: what it needs and lacks is a failure. A job that has ended may need it again."""


KEYLESS: Final = "; asked without a key, for this shell has none: the daemon may have one, see ingestctl status"


@dataclass(frozen=True, slots=True)
class Job:
    """A job that may go on or be asked for again. ``roots``: absolute paths of its sources. ``item_bytes``: mean bytes
    of an item's results so far, 0 before the first."""

    facts: JobFacts
    roots: list[bytes]
    item_bytes: float

    @property
    def row(self) -> JobRow:
        return self.facts.row

    @property
    def active(self) -> bool:
        return self.row.status in ACTIVE

    @property
    def steps(self) -> list[Step]:
        return [row.step for row in self.facts.steps]


@dataclass(slots=True)
class Daemon:
    """A daemon that answers, and the settings that it has: a service's are not those of the shell that asks."""

    hello: c.HelloReply
    status: c.StatusReply
    config: c.ConfigReply

    def job(self, uuid: str) -> c.JobStatus | None:
        return next((job for job in self.status.jobs if job.uuid == uuid), None)


@dataclass(slots=True)
class Context:
    """Everything at hand. An error says why a part of it is missing. ``scratch``: where models keep what they derive,
    the state folder's place for it once a model has made it."""

    places: Places
    settings: config.Settings = field(default_factory=lambda: config.load({}, None, ""))
    settings_error: IngestError | None = None
    kinds: Catalogue = NOTHING
    jobs: list[Job] = field(default_factory=list)
    ledger_error: IngestError | None = None
    daemon: Daemon | None = None
    daemon_error: str = ""
    scratch: str = ""

    @property
    def sink_kinds(self) -> SinkKinds:
        """Every kind of sink by its name."""
        return self.kinds.sink_kinds

    @property
    def active(self) -> list[Job]:
        return [job for job in self.jobs if job.active]

    def maybe_keyless(self, remedy: str) -> bool:
        """Whether a refusal with this remedy may be this shell's alone: a daemon has keys in its own environment."""
        keys = {kind.secrets[0]: kind.key_file for kind in self.sink_kinds.values() if kind.key_file}
        keys["INGESTD_ENDPOINT_KEY"] = "endpoint_key_file"
        return self.daemon is not None and any(
            name in remedy and name not in os.environ and not self.settings.get(file) for name, file in keys.items()
        )

    def machine(self, job: Job | None) -> Machine:
        """What a job's models may use, as the daemon tells its workers; without one, what the settings say."""
        settings = self.settings
        return Machine(
            self.scratch,
            device=job.row.spec.device if job else settings["device"],
            concurrency=job.row.spec.concurrency if job else int(settings["concurrency"]),
            key_file=settings["endpoint_key_file"],
            open_http=settings["endpoint_open_http"] == "yes",
        )


async def look() -> Context:
    """All of it, side by side; takes ``BLOCKED_S`` at most."""
    context = Context(paths.places())
    if await _is_there(scratch := context.places.state / "scratch" / "models"):
        context.scratch = str(scratch)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_settings, context)
        tasks.start_soon(_jobs, context)
        tasks.start_soon(_daemon, context)
    if context.daemon is not None:
        told = {row.key: config.Setting(row.value, row.source) for row in context.daemon.config.rows}
        context.settings = config.Settings({**context.settings.values, **told})
    return context


async def _is_there(folder: Path) -> bool:
    try:
        return await blocking(folder.is_dir)
    except TimeoutError:
        return False


async def _settings(context: Context) -> None:
    places = context.places
    try:
        context.kinds = await blocking(lambda: catalogue.read(places.state))
        context.settings = await blocking(lambda: settings_file.load(places, context.kinds))
    except IngestError as error:
        context.settings_error = error
    except TimeoutError:
        context.settings_error = _silent("the configuration in", str(places.config))


async def _jobs(context: Context) -> None:
    try:
        found = await blocking(partial(from_ledger, context.places.ledger, _read))
        context.jobs = found or []
    except IngestError as error:
        context.ledger_error = error
    except TimeoutError:
        context.ledger_error = _silent("the ledger", str(context.places.ledger))


def _silent(kind: str, path: str) -> IngestError:
    return IngestError(
        f"its disk did not answer within {BLOCKED_S:.0f} seconds", operation="read", object=f"{kind} {path}",
        remedy="Look at the disk's health, and at the kernel's log (dmesg)",
    )  # fmt: skip


def _read(db: sqlite3.Connection) -> list[Job]:
    found = []
    for facts in report.facts(db):
        if facts.row.status != "stopped":
            roots = [report.source_path(root) for root in jobs.roots(db, facts.row.roots)]
            found.append(Job(facts, roots, report.result_bytes(db, facts.row.id)))
    return found


# ------------------------------------------------------------------------------------------------------- the daemon


async def _daemon(context: Context) -> None:
    place = context.places.socket
    try:
        with anyio.fail_after(BLOCKED_S):
            async with await anyio.connect_unix(place) as stream:
                call = _caller(stream)
                hello = await call("hello", c.HelloReply)
                status = await call("status", c.StatusReply)
                context.daemon = Daemon(hello, status, await call("config", c.ConfigReply))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        if pid := await _holder(context.places):
            context.daemon_error = (
                f"process {pid} holds the state folder, and nobody listens on {shown(bytes(place))[0]}"
            )
    except TimeoutError:
        pid = await _holder(context.places)
        context.daemon_error = f"it{f' (pid {pid})' if pid else ''} did not answer within {BLOCKED_S:.0f} seconds"
    except (OSError, anyio.EndOfStream, msgspec.MsgspecError, ValueError) as error:
        context.daemon_error = f"{shown(bytes(place))[0]}: {error or type(error).__name__}"


def _caller(stream: anyio.abc.ByteStream) -> Callable[[str, type[Any]], Any]:
    lines = LineReader(1 << 26)

    async def call(verb: str, reply: type[Any]) -> Any:
        await stream.send(msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": verb, "params": {}}) + b"\n")
        while True:
            for line in list(lines.feed(await stream.receive())):
                if isinstance(line, Exception):
                    raise ValueError(str(line))
                answer = msgspec.json.decode(line)
                if "error" in answer:
                    raise ValueError(answer["error"].get("message", "it refuses"))
                return msgspec.convert(answer["result"], reply)

    return call


async def _holder(places: Places) -> int | None:
    """The pid in the lock file, where that is a living ingestd: the lock itself is not touched."""
    try:
        text = await blocking(lambda: (places.state / "lock").read_text(encoding="ascii", errors="replace"))
        pid = int(text.strip() or 0)
        return pid if pid and "ingestd" in " ".join(psutil.Process(pid).cmdline()) else None
    except (OSError, ValueError, TimeoutError, psutil.Error):
        return None
