"""What keeps the machine awake: what it holds, what it says of it, what it does when the system does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from ingestd.host.lid import Lid
from ingestd.supervisor import power
from ingestd.supervisor.power import Power, try_awake
from tests.inhibitkit import Inhibitor

NO_LID = Lid(False)
SOON_S = 20.0


@pytest.fixture
def inhibitor(tmp_path: Path) -> Inhibitor:
    return Inhibitor(tmp_path / "bin")


@pytest.fixture(autouse=True)
def lid(monkeypatch: pytest.MonkeyPatch) -> list[Lid]:
    """The machine's lid, as the last of the list says; looked at often."""
    states = [NO_LID]

    async def read(_: object) -> Lid:
        await anyio.sleep(0)
        return states[-1]

    monkeypatch.setattr(power, "read_lid", read)
    monkeypatch.setattr(power, "LOOK_S", 0.02)
    return states


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(SOON_S):
        while not condition():
            await anyio.sleep(0.01)


def run(inhibitor: Inhibitor, story: Callable[[Power], Awaitable[None]], setting: str = "auto") -> None:
    """Let ``story`` happen, then end its task as the daemon does: whatever it held is gone."""

    async def life() -> None:
        awake = Power(None, setting, {"PATH": inhibitor.path}, "linux")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(awake.keep)
            await story(awake)
            tasks.cancel_scope.cancel()
        assert inhibitor.held() == []
        assert awake.status().held == []

    anyio.run(life)


def test_held_while_it_is_wanted(inhibitor: Inhibitor) -> None:
    """One process for one lock; let go when it is not wanted, taken again when it is; no lid, no lock for it."""

    async def story(awake: Power) -> None:
        assert (awake.status().wanted, awake.status().method) == (False, "systemd-inhibit")
        for _ in range(2):
            awake.want(True)
            await until(lambda: awake.status().held == ["sleep", "idle"])
            assert inhibitor.held() == ["sleep:idle"]
            status = awake.status()
            assert (status.wanted, status.refused, status.method) == (True, [], "systemd-inhibit")
            assert (status.lid, status.on_ac) == ("this machine has no lid", None)
            awake.want(False)
            await until(lambda: not inhibitor.locks())
            await until(lambda: awake.status().held == [])
        awake.want(True)
        await until(lambda: bool(inhibitor.locks()))

    run(inhibitor, story)
    assert set(inhibitor.asked) == {"sleep:idle"}


def test_quick_changes_of_mind(inhibitor: Inhibitor) -> None:
    """However often and quickly it is wanted and not, at the end there is the one lock, or none."""

    async def story(awake: Power) -> None:
        for turn in range(30):
            awake.want(turn % 3 != 1)
            await anyio.sleep(0.003 * (turn % 7))
        awake.want(True)
        await until(lambda: inhibitor.held() == ["sleep:idle"] and awake.status().held == ["sleep", "idle"])
        awake.want(False)
        await until(lambda: not inhibitor.locks())

    run(inhibitor, story)


def test_sleep_is_refused_and_idleness_granted(inhibitor: Inhibitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a service without a seat: the rest is held, the refusal named with its remedy. Once somebody has
    installed the rule the whole is held, and never is nothing held between."""
    monkeypatch.setattr(power, "ASK_AGAIN_S", 0.1)
    inhibitor.refuses("sleep", "handle-lid-switch")

    async def story(awake: Power) -> None:
        awake.want(True)
        await until(lambda: inhibitor.held() == ["idle"] and awake.status().held == ["idle"])
        (refusal,) = awake.status().refused
        assert (refusal.what, refusal.why) == ("sleep", "Access denied")
        assert "ingestctl service install --system" in refusal.remedy
        await until(lambda: inhibitor.asked.count("sleep:idle") > 2)
        assert inhibitor.held() == ["idle"]
        (first,) = inhibitor.locks()
        inhibitor.refuses()
        with anyio.fail_after(SOON_S):
            while first in (locks := inhibitor.locks()):
                assert locks, "it was free to sleep"
                await anyio.sleep(0.001)
        assert inhibitor.held() == ["sleep:idle"]
        await until(lambda: awake.status().held == ["sleep", "idle"])
        assert awake.status().refused == []

    run(inhibitor, story)


def test_everything_is_refused(inhibitor: Inhibitor) -> None:
    """Said, for each; nothing is held, and nobody waits."""
    inhibitor.refuses("sleep", "idle")

    async def story(awake: Power) -> None:
        awake.want(True)
        await until(lambda: len(awake.status().refused) == 2)
        assert [(one.what, one.why) for one in awake.status().refused] == [
            ("sleep", "Access denied"), ("idle", "Access denied")
        ]  # fmt: skip
        assert awake.status().held == []

    run(inhibitor, story)


def test_a_system_that_does_not_answer(inhibitor: Inhibitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """``want`` and ``status`` answer all the while; called off before the answer, nothing of it stays."""
    inhibitor.hangs_at("sleep")

    async def story(awake: Power) -> None:
        awake.want(True)
        await until(lambda: inhibitor.hanging() is not None)
        assert (awake.status().wanted, awake.status().held) == (True, [])
        awake.want(False)
        await until(lambda: inhibitor.hanging() is None)

    run(inhibitor, story)


def test_a_lost_lock_is_taken_again(inhibitor: Inhibitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ended its process; meanwhile ``status`` does not say that it is held."""
    monkeypatch.setattr(power, "LOST_S", (0.3, 0.3))

    async def story(awake: Power) -> None:
        awake.want(True)
        for _ in range(3):
            await until(lambda: awake.status().held == ["sleep", "idle"] and bool(inhibitor.locks()))
            inhibitor.kill()
            await until(lambda: awake.status().held == [])
        await until(lambda: inhibitor.held() == ["sleep:idle"])

    run(inhibitor, story)


def test_a_machine_without_the_command(tmp_path: Path) -> None:
    """Said in a sentence; the daemon is none the worse for it."""

    async def life() -> None:
        awake = Power(None, "auto", {"PATH": str(tmp_path)}, "linux")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(awake.keep)
            awake.want(True)
            await until(lambda: len(awake.status().refused) == 2)
            awake.want(False)
            tasks.cancel_scope.cancel()
        status = awake.status()
        assert (status.held, status.method) == ([], "none")
        assert [(one.what, one.why) for one in status.refused] == [
            ("sleep", "this machine has no systemd-inhibit"), ("idle", "this machine has no systemd-inhibit")
        ]  # fmt: skip

    anyio.run(life)


def test_a_person_who_does_not_want_it(inhibitor: Inhibitor) -> None:
    """``awake = "no"``: nothing is asked, and the lid is told of all the same."""

    async def story(awake: Power) -> None:
        awake.want(True)
        await anyio.sleep(0.1)
        assert (awake.status().method, awake.status().held, awake.status().refused) == ("off", [], [])

    run(inhibitor, story, "no")
    assert inhibitor.asked == []


def test_the_lid_is_kept_on_ac_power_alone(inhibitor: Inhibitor, lid: list[Lid]) -> None:
    """Its own lock, taken when the plug is put in, let go when it is pulled or nothing is known of it."""

    async def story(awake: Power) -> None:
        lid.append(Lid(True, False, "suspend"))
        awake.want(True)
        await until(lambda: inhibitor.held() == ["sleep:idle"] and awake.status().on_ac is False)
        assert "suspends the machine (on battery)" in awake.status().lid
        lid.append(Lid(True, True, "suspend"))
        await until(lambda: inhibitor.held() == ["handle-lid-switch", "sleep:idle"])
        await until(lambda: "changes nothing" in awake.status().lid)
        lid.append(Lid(True, None, "suspend"))
        await until(lambda: inhibitor.held() == ["sleep:idle"])
        assert "suspends the machine" in awake.status().lid
        lid.append(Lid(True, True, "suspend"))
        await until(lambda: len(inhibitor.locks()) == 2)
        awake.want(False)
        await until(lambda: not inhibitor.locks())

    lid.append(Lid(True, False))
    run(inhibitor, story)


def test_a_lid_that_may_not_be_kept(inhibitor: Inhibitor, lid: list[Lid]) -> None:
    """The refusal is named, and the sentence about the lid does not promise what is not granted."""
    inhibitor.refuses("handle-lid-switch")
    lid.append(Lid(True, True, "suspend"))

    async def story(awake: Power) -> None:
        awake.want(True)
        await until(lambda: len(awake.status().refused) == 1 and awake.status().held == ["sleep", "idle"])
        assert awake.status().refused[0].what == "handle-lid-switch"
        assert "suspends the machine (on AC power)" in awake.status().lid

    run(inhibitor, story)


def test_one_try_for_the_doctor(inhibitor: Inhibitor) -> None:
    """As the daemon would ask, and let go again before it answers."""
    inhibitor.refuses("sleep")

    async def ask() -> None:
        status = await try_awake(SOON_S, {"PATH": inhibitor.path})
        assert (status.held, [one.what for one in status.refused]) == (["idle"], ["sleep"])
        assert inhibitor.held() == []

    anyio.run(ask)
    assert inhibitor.asked == ["sleep:idle", "idle"]
