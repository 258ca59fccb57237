"""Keeping the machine awake: asked of the system by its own command, which holds the lock for as long as it runs.

Linux: ``systemd-inhibit`` asks logind, and starts the command that it was given only when the lock is granted. Ours
says so on its output, and then reads an input whose other end this process alone holds. So a granted lock is known,
not guessed; and it ends with this process however that ends: the input ends, the command ends, the lock is gone. Until
it is granted the kernel's death signal does the same (``die_with_parent``).

macOS: ``caffeinate``, told to end with this process (``-w``). It is refused to nobody.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process

from ingestd.host.commands import environment, printed

GRANT_S: Final = 10.0
"""Seconds for the system to answer: logind asks polkit, and polkit may ask a person."""

SETTLE_S: Final = 0.3
"""Seconds after which a command that does not say that it holds, and has not ended, does hold."""

WHO: Final = "ingestd"
WHY: Final = "images are being described and embedded"

_HELD: Final = "held"
_COMMAND: Final = ("/bin/sh", "-c", f"echo {_HELD}; read -r _; exit 0")
_DIE_WITH_PARENT: Final = str(Path(__file__).with_name("die_with_parent.py"))
_SAID_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Method:
    """How this system is asked. ``ladder``: what may be asked for at once, the most first; ``lid``: what a closed lid
    needs besides, empty where nothing can be done about it. ``flags`` are options that this release of it knows."""

    name: str
    program: str
    ladder: tuple[tuple[str, ...], ...]
    lid: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def speaks(self) -> bool:
        """Whether it says when the lock is granted."""
        return self.name == "systemd-inhibit"

    def arguments(self, what: tuple[str, ...], pid: int) -> list[str]:
        """The command line that holds ``what`` for as long as it runs, and not longer than the process ``pid``."""
        if self.name == "caffeinate":
            return [self.program, "-i", "-m", "-s", "-w", str(pid)]
        options = [f"--what={':'.join(what)}", "--mode=block", f"--who={WHO}", f"--why={WHY}", *self.flags]
        return [self.program, *options, *_COMMAND]


class Refused(Exception):
    """The system did not grant it; the message says why, in its words."""


TOOLS: Final = {"linux": "systemd-inhibit", "darwin": "caffeinate"}
"""By ``sys.platform``."""


def find_tool(platform: str, environ: Mapping[str, str]) -> str | None:
    """The path of the command that keeps a machine of this ``sys.platform`` awake; None where there is none."""
    program = shutil.which(TOOLS[platform], path=environ.get("PATH")) if platform in TOOLS else None
    return os.path.abspath(program) if program else None


async def find_method(platform: str, environ: Mapping[str, str]) -> Method | None:
    """How a machine of this ``sys.platform`` is kept awake; None where it has nothing for that."""
    program = find_tool(platform, environ)
    if program is None:
        return None
    name = TOOLS[platform]
    if name == "caffeinate":
        # -s, no sleep at all, holds on AC power only; -i, no sleep for idleness, always.
        return Method(name, program, (("sleep", "idle", "disk"),))
    # Releases since 254 let polkit ask a person for a password unless told not to: the daemon has nobody to ask.
    quiet = "--no-ask-password"
    flags = (quiet,) if quiet.encode() in await printed([program, "--help"], GRANT_S) else ()
    return Method(name, program, (("sleep", "idle"), ("idle",)), ("handle-lid-switch",), flags)


@dataclass(slots=True)
class Lock:
    """A granted lock: the process that holds it."""

    what: tuple[str, ...]
    _process: Process = field(repr=False)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def gone(self) -> str:
        """Return when the lock is lost, with the cause in words."""
        code = await self._process.wait()
        return f"{signal.Signals(-code).name} ended it" if code < 0 else f"it exited with code {code}"

    async def release(self) -> None:
        """Let go, at once, also while this task is being cancelled."""
        await _end(self._process)


async def take(method: Method, what: tuple[str, ...], seconds: float = GRANT_S) -> Lock:
    """Ask for ``what`` and return when it is granted. Raises ``Refused``, after ``seconds`` without an answer too."""
    command = method.arguments(what, os.getpid())
    try:
        with anyio.CancelScope(shield=True):  # called off in the middle, a process would be left that nobody knows
            process = await anyio.open_process(
                [sys.executable, "-I", "-S", _DIE_WITH_PARENT, str(os.getpid()), *command],
                env=environment(),
                start_new_session=True,  # Ctrl-C on a terminal is the daemon's: it lets go when its work has ended
            )
    except OSError as error:
        raise Refused(error.strerror or str(error)) from error
    granted = False
    try:
        why = await _answer(method, process, seconds)
        if why is not None:
            raise Refused(why)
        granted = True
        return Lock(what, process)
    finally:
        if not granted:
            await _end(process)


async def _answer(method: Method, process: Process, seconds: float) -> str | None:
    """None when it was granted, else why not."""
    assert process.stdout is not None
    said = b""
    with anyio.move_on_after(seconds if method.speaks else SETTLE_S) as waited:
        while b"\n" not in said and len(said) < _SAID_MAX:
            try:
                said += await process.stdout.receive(_SAID_MAX)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                break
    if waited.cancelled_caught:
        return f"no answer within {seconds:g} seconds" if method.speaks else None
    if said.decode("utf-8", "replace").strip() == _HELD:
        return None
    return await _last_words(process) or "it ended and did not say why"


async def _last_words(process: Process) -> str:
    assert process.stderr is not None
    said = b""
    with anyio.move_on_after(1):
        while len(said) < _SAID_MAX:
            try:
                said += await process.stderr.receive(_SAID_MAX)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                break
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("Failed to inhibit: ") if lines else ""


async def _end(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # it has just ended; macOS says the latter of a zombie
                pass
        await process.aclose()
