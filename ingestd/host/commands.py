"""A command of the system, run for what it prints."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Final

import anyio

_PASSED_ON: Final = ("PATH", "HOME", "USER", "DBUS_SYSTEM_BUS_ADDRESS")


def environment() -> dict[str, str]:
    """What a command of the system needs to know of ours: no key, no service manager's socket; English answers."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"LC_ALL": "C"}


async def printed(command: Sequence[str], seconds: float) -> bytes:
    """What ``command`` prints on stdout; empty where it cannot be run or takes longer. Called off, it is ended."""
    try:
        with anyio.CancelScope(shield=True):  # called off in the middle, a process would be left that nobody knows
            process = await anyio.open_process(
                command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
                start_new_session=True,
            )  # fmt: skip
    except OSError:
        return b""
    said = b""
    try:
        assert process.stdout is not None
        with anyio.fail_after(seconds):
            async for chunk in process.stdout:
                said += chunk
            await process.wait()
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
    return said
