"""The lock against sleep, asked of a real process: granted, refused, unanswered, lost, and gone with its holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from ingestd.host.awake import Method, Refused, find_method, take
from tests.inhibitkit import Inhibitor, within

ROOT = Path(__file__).resolve().parents[2]
SLEEP, IDLE = ("sleep", "idle"), ("idle",)
GONE_S = 2.0
"""No lock outlives its holder by more, however that ended."""


@pytest.fixture
def inhibitor(tmp_path: Path) -> Inhibitor:
    return Inhibitor(tmp_path / "bin")


def method_of(inhibitor: Inhibitor) -> Method:
    found = anyio.run(find_method, "linux", {"PATH": inhibitor.path})
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------------------- what is asked


def test_what_logind_is_asked(inhibitor: Inhibitor) -> None:
    """Sleep and idleness, else idleness; the lid apart. The command reads an input that ends with the daemon."""
    method = method_of(inhibitor)
    assert (method.name, method.ladder, method.lid) == ("systemd-inhibit", (SLEEP, IDLE), ("handle-lid-switch",))
    program, *arguments = method.arguments(SLEEP, 1)
    assert program == str(inhibitor.folder / "systemd-inhibit")
    assert arguments[:3] == ["--what=sleep:idle", "--mode=block", "--who=ingestd"]
    assert arguments[3].startswith("--why=")
    assert arguments[4:6] == ["/bin/sh", "-c"]
    assert "read" in arguments[6]


@pytest.mark.parametrize(
    ("text", "flags"), [("--list\n", ()), ("     --no-ask-password  Do not\n", ("--no-ask-password",))]
)
def test_nobody_is_asked_for_a_password(inhibitor: Inhibitor, text: str, flags: tuple[str, ...]) -> None:
    """Where this release can be told so; an older one, which asks nobody, does not know the option and would fail."""
    (inhibitor.folder / "help").write_text(text)
    method = method_of(inhibitor)
    assert method.flags == flags

    async def ask() -> None:
        await (await take(method, IDLE)).release()

    anyio.run(ask)
    assert inhibitor.asked == ["idle"]


def test_what_macos_is_asked(tmp_path: Path) -> None:
    """Idle sleep, disk sleep and, on AC power, all sleep; bound to the daemon's process."""
    program = tmp_path / "caffeinate"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    method = anyio.run(find_method, "darwin", {"PATH": str(tmp_path)})
    assert method is not None
    assert method.arguments(method.ladder[0], 4711) == [str(program), "-i", "-m", "-s", "-w", "4711"]
    assert method.lid == ()

    async def ask() -> None:
        lock = await take(method, method.ladder[0])
        assert within(5, lambda: Path(f"/proc/{lock.pid}/comm").read_text() == "sleep\n")
        await lock.release()
        assert not Path(f"/proc/{lock.pid}").exists()

    if sys.platform == "linux":  # a command that says nothing holds while it runs
        anyio.run(ask)


@pytest.mark.parametrize("platform", ["linux", "darwin", "freebsd14"])
def test_a_machine_without_the_command(platform: str, tmp_path: Path) -> None:
    """There is nothing to ask, and that is no error."""
    assert anyio.run(find_method, platform, {"PATH": str(tmp_path)}) is None


# ------------------------------------------------------------------------------------------------------ what it answers


def test_a_lock_is_held_until_it_is_released(inhibitor: Inhibitor) -> None:
    """``take`` returns when it is granted, not earlier; ``release`` when it is gone, not later."""

    async def life() -> None:
        lock = await take(method_of_here, SLEEP)
        assert inhibitor.locks() == {lock.pid: "sleep:idle"}
        await lock.release()
        assert inhibitor.locks() == {}
        await lock.release()

    method_of_here = method_of(inhibitor)
    anyio.run(life)


def test_a_refusal_is_in_the_systems_words(inhibitor: Inhibitor) -> None:
    """Nothing is held, nothing lives on, and the next may be granted."""
    inhibitor.refuses("sleep")
    method = method_of(inhibitor)

    async def ask() -> None:
        with pytest.raises(Refused, match=r"^Access denied$"):
            await take(method, SLEEP)
        lock = await take(method, IDLE)
        assert inhibitor.held() == ["idle"]
        await lock.release()

    anyio.run(ask)
    assert inhibitor.asked == ["sleep:idle", "idle"]


def test_no_answer_is_a_refusal(inhibitor: Inhibitor) -> None:
    """Polkit may wait for a person who is not there: it is not waited for, and its process ends."""
    inhibitor.hangs_at("sleep")
    method = method_of(inhibitor)

    async def ask() -> None:
        with pytest.raises(Refused, match=r"no answer within 0\.5 seconds"):
            await take(method, SLEEP, 0.5)

    anyio.run(ask)
    assert inhibitor.hanging() is None


def test_asking_can_be_called_off(inhibitor: Inhibitor) -> None:
    """A pause while the system has not answered yet: what asks ends too."""
    inhibitor.hangs_at("sleep")
    method = method_of(inhibitor)

    async def ask() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take, method, SLEEP)
            while inhibitor.hanging() is None:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    anyio.run(ask)
    assert inhibitor.hanging() is None


def test_a_program_that_cannot_be_run(inhibitor: Inhibitor) -> None:
    """Removed, or not for this machine: a refusal that says so."""
    method = method_of(inhibitor)
    Path(method.program).unlink()

    async def ask() -> None:
        with pytest.raises(Refused, match="No such file"):
            await take(method, SLEEP)

    anyio.run(ask)


def test_a_lost_lock_is_told(inhibitor: Inhibitor) -> None:
    """Whatever ends its process, with the cause."""
    method = method_of(inhibitor)

    async def life() -> None:
        lock = await take(method, SLEEP)
        inhibitor.kill()
        assert await lock.gone() == "SIGKILL ended it"
        await lock.release()

    anyio.run(life)


# ------------------------------------------------------------------------------------------------------ never outlived

_HOLDER = """\
import anyio, sys
from ingestd.host.awake import find_method, take

async def main():
    method = await find_method("linux", {"PATH": sys.argv[1]})
    lock = await take(method, ("sleep", "idle"), 60)
    await anyio.sleep(60)

anyio.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="systemd-inhibit is Linux's")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
@pytest.mark.parametrize("granted", [True, False], ids=["granted", "asking"])
def test_a_lock_dies_with_its_holder(how: signal.Signals, granted: bool, inhibitor: Inhibitor) -> None:
    """Also on SIGKILL, and also while the answer is still owed: a machine kept awake by nobody would never sleep."""
    if not granted:
        inhibitor.hangs_at("idle")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", _HOLDER, inhibitor.path], env=env) as holder:
        assert within(30, lambda: bool(inhibitor.locks()) if granted else inhibitor.hanging() is not None)
        holder.send_signal(how)
        assert holder.wait(10) == -how
        assert within(GONE_S, lambda: not inhibitor.locks() and inhibitor.hanging() is None)
