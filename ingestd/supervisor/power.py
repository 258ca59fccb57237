"""Keeps the machine awake while ``decide`` says that there is work, and knows what was granted, refused and lost.

One lock against sleep and idleness, or against idleness alone where the other is refused; and one for the lid, where
there is a lid and the machine is on AC power: a hot laptop in a bag is worse than a pause. Asking takes time and may
hang, so it is a task of its own; jobs never wait for it.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

import anyio
from structlog.typing import FilteringBoundLogger

from ingestd.host import awake as host
from ingestd.host.lid import Lid, closing, read_lid
from ingestd.protocol.status import PowerRefusal, PowerStatus

ASK_AGAIN_S: Final = 600.0
"""Seconds until what was refused is asked for again: somebody may have installed the rule, or started logind."""

LOST_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds until a lock whose process ended is taken again; from the first once more after a minute that it held."""

LOOK_S: Final = 30.0
"""Seconds between looks at the lid and at AC power while something works, on a machine with a lid."""

LOOK_IDLE_S: Final = 300.0
"""The same while nothing does, when it is for ``status`` alone."""

DENIED: Final = "The system's service is allowed to: sudo ingestctl service install --system"
UNHEARD: Final = "Start systemd-logind and D-Bus; the job goes on without"
ABSENT: Final = "Keep the machine from sleeping in its own settings; the job goes on without"


class Power:
    """Holds and lets go. ``want`` and ``status`` answer at once; ``keep`` is the task that does the work."""

    def __init__(
        self, log: FilteringBoundLogger | None, setting: str, environ: Mapping[str, str] = os.environ,
        platform: str = sys.platform,
    ) -> None:  # fmt: skip
        self._log, self._setting, self._environ, self._platform = log, setting, environ, platform
        self._method: host.Method | None = None
        self._tool = host.TOOLS[platform] if host.find_tool(platform, environ) else "none"
        self._changed = anyio.Event()
        self._wanted = False
        self._held: dict[int, host.Lock] = {}
        self._refused: dict[str, PowerRefusal] = {}
        self._lid = Lid(False)
        self.asked = anyio.Event()

    # ------------------------------------------------------------------------------------------------ for its callers

    def want(self, wanted: bool, reason: str = "") -> None:
        """Keep the machine awake from now on, or not; ``reason`` is logged."""
        if reason and self._log:
            self._log.warning("the machine may sleep", reason=reason)
        self._wanted = wanted
        self._notice()

    def status(self) -> PowerStatus:
        """How it stands, of what was last learnt."""
        held = [what for lock in self._held.values() for what in lock.what]
        method = "off" if self._setting == "no" else self._tool
        lid = closing(self._lid, self._lid_lock() in held, self._platform)
        refused = [known for what, known in self._refused.items() if what not in held]
        on_ac = self._lid.on_ac if self._lid.present else None
        return PowerStatus(self._wanted, held, refused, method, lid, on_ac)

    def _lid_lock(self) -> str:
        return self._method.lid[0] if self._method and self._method.lid else ""

    def _notice(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    # ------------------------------------------------------------------------------------------------------- the task

    async def keep(self) -> None:
        """Hold while it is wanted; runs as long as the daemon. Cancelled, it lets go at once."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_lid)
            if self._setting != "no":
                await self._during(lambda: self._wanted, self._work)

    async def _during(self, condition: Callable[[], bool], work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` whenever ``condition`` holds, and call it off when it does not any more."""
        while True:
            await self._until(condition)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work)
                await self._until(lambda: not condition())
                tasks.cancel_scope.cancel()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    async def _watch_lid(self) -> None:
        """Know what a closed lid does, as long as there is one."""
        self._lid = await read_lid(self._environ)
        while self._lid.present:
            self._notice()
            with anyio.move_on_after(LOOK_S if self._wanted else LOOK_IDLE_S):
                await self._changed.wait()
            self._lid = await read_lid(self._environ)

    async def _work(self) -> None:
        if self._method is None:
            self._method = await host.find_method(self._platform, self._environ)
        method = self._method
        self._tool = method.name if method else "none"
        if method is None:
            tool = host.TOOLS.get(self._platform, "way to be kept awake")
            self._note(["sleep", "idle"], f"this machine has no {tool}", ABSENT)
            self.asked.set()
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hold, method, method.ladder, self.asked)
            if method.lid:
                lid = partial(self._hold, method, (method.lid,), anyio.Event())
                tasks.start_soon(self._during, lambda: self._lid.on_ac is True, lid)

    async def _hold(self, method: host.Method, ladder: _Ladder, asked: anyio.Event) -> None:
        """Hold the most of ``ladder`` that is granted, and ask for the rest now and then; take again what is lost."""
        lock: host.Lock | None = None
        losses = 0
        try:
            while True:
                if better := await self._climb(method, ladder, lock):
                    if lock is not None:  # only now: between the two the machine would be free to sleep
                        await self._drop(lock)
                    lock = better
                    self._held[lock.pid] = lock
                    self._say("kept awake", list(lock.what))
                asked.set()
                since, cause = anyio.current_time(), ""
                with anyio.move_on_after(math.inf if lock and lock.what == ladder[0] else ASK_AGAIN_S):
                    if lock is None:
                        await anyio.sleep_forever()
                    else:
                        cause = await lock.gone()
                if lock is None or not cause:
                    continue
                if self._log:
                    self._log.warning("not kept awake: the lock was lost", what=list(lock.what), cause=cause)
                await self._drop(lock)
                lock = None
                losses = 0 if anyio.current_time() - since > LOST_S[-1] else losses
                await anyio.sleep(LOST_S[min(losses, len(LOST_S) - 1)])
                losses += 1
        finally:
            if lock is not None:
                await self._drop(lock)

    async def _climb(self, method: host.Method, ladder: _Ladder, lock: host.Lock | None) -> host.Lock | None:
        """The best of what is better than ``lock``, if it is granted."""
        better: host.Lock | None = None
        refused: dict[str, str] = {}
        for what in ladder:
            if lock is not None and what == lock.what:
                break
            try:
                better = await host.take(method, what)
                break
            except host.Refused as refusal:
                refused |= dict.fromkeys(what, str(refusal))
        if has := better or lock:
            for one in has.what:
                refused.pop(one, None)
                self._refused.pop(one, None)
        for why in dict.fromkeys(refused.values()):
            denied = "denied" in why or "ermission" in why
            self._note([one for one in refused if refused[one] == why], why, DENIED if denied else UNHEARD)
        return better

    async def _drop(self, lock: host.Lock) -> None:
        self._held.pop(lock.pid, None)
        with anyio.CancelScope(shield=True):
            await lock.release()
        self._say("the machine may sleep", list(lock.what))

    # ------------------------------------------------------------------------------------------------------ its traces

    def _note(self, what: list[str], why: str, remedy: str) -> None:
        """Remember a refusal; log it when it is news."""
        news = any(one not in self._refused or self._refused[one].why != why for one in what)
        self._refused |= {one: PowerRefusal(one, why, remedy) for one in what}
        if news and self._log:
            self._log.warning("not kept awake", what=what, why=why, remedy=remedy)

    def _say(self, event: str, what: list[str]) -> None:
        if self._log:
            self._log.info(event, what=what)


_Ladder = tuple[tuple[str, ...], ...]


async def try_awake(seconds: float = 15.0, environ: Mapping[str, str] = os.environ) -> PowerStatus:
    """Ask for the locks once, as the daemon would, let go again and say what was granted and refused.

    For ``doctor``, where no daemon runs: then the calling process asks, and a person at the machine's seat is granted
    more than a service of the same user without a session. Where a daemon runs, its own ``status`` is the truth.
    """
    awake = Power(None, "auto", environ)
    awake.want(True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(awake.keep)
        with anyio.move_on_after(seconds):
            await awake.asked.wait()
        status = awake.status()
        tasks.cancel_scope.cancel()
    return status
