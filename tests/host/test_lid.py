"""What a closed lid does: read from the machine's own answers, said in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import psutil
import pytest

from ingestd.host import lid as lids
from ingestd.host.lid import Lid, action_of, closing, has_lid, keeper_of, read_lid

LOGIND = {
    "HandleLidSwitch": "suspend", "HandleLidSwitchExternalPower": "", "HandleLidSwitchDocked": "ignore",
    "Docked": False, "OnExternalPower": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("lid", "held", "words"),
    [
        (Lid(False), False, "no lid"),
        (Lid(True, True, "suspend"), True, "changes nothing while this works on AC power"),
        (Lid(True, True, "suspend"), False, "suspends the machine (on AC power)"),
        (Lid(True, False, "suspend"), False, "suspends the machine (on battery); work goes on when it wakes"),
        (Lid(True, None, "hibernate"), False, "hibernates the machine (whatever feeds it)"),
        (Lid(True, False, "poweroff"), False, "switches the machine off (on battery); work goes on at the next start"),
        (Lid(True, True, "ignore"), False, "lets the machine go on (on AC power; logind: ignore)"),
        (Lid(True, True, "lock"), False, "lets the machine go on (on AC power; logind: lock)"),
        # A desktop holds the lid's lock to act itself: then ours, beside it, does not bind the desktop.
        (Lid(True, True, "suspend", "PowerDevil"), True, "does what PowerDevil is set to do"),
        (Lid(True, True), False, "could not be learnt"),
    ],
)
def test_what_a_closed_lid_does(lid: Lid, held: bool, words: str) -> None:
    """Never better than it is: without the lid's own lock, locks against sleep do not count for a lid."""
    assert words in closing(lid, held, "linux")


def test_what_a_closed_lid_does_on_a_mac() -> None:
    """No lock changes it."""
    assert "puts it to sleep, unless" in closing(Lid(True, True), True, "darwin")


@pytest.mark.parametrize(
    ("changes", "on_ac", "action"),
    [
        ({}, False, "suspend"),
        ({}, True, "suspend"),  # not set for external power: as without
        ({}, None, "suspend"),
        ({"HandleLidSwitchExternalPower": "lock"}, True, "lock"),
        ({"HandleLidSwitchExternalPower": "lock"}, False, "suspend"),
        ({"Docked": True}, False, "ignore"),
        ({"HandleLidSwitch": None}, False, ""),
    ],
)
def test_which_setting_of_logind_holds(changes: dict[str, Any], on_ac: bool | None, action: str) -> None:
    """Docked, else on external power, else on battery: logind.conf(5)."""
    assert action_of(LOGIND | changes, on_ac) == action


@pytest.mark.parametrize(
    ("rows", "keeper"),
    [
        ([["handle-power-key:handle-lid-switch", "PowerDevil", "KDE handles", "block", 1000, 900]], "PowerDevil"),
        ([["sleep", "UPower", "", "delay", 0, 1], ["handle-lid-switch", "ingestd", "", "block", 1, 2]], ""),
        ([["handle-lid-switch", "slow", "", "delay", 0, 1]], ""),
        ([["handle-lid-switch"]], ""),
        ("what is this", ""),
        (None, ""),
    ],
)
def test_who_else_keeps_the_lid(rows: Any, keeper: str) -> None:
    """Another program's block lock for the lid; ours, and what cannot be read, is nobody."""
    assert keeper_of([rows]) == keeper
    assert keeper_of(rows) == ""


@pytest.mark.parametrize(
    ("switches", "lid"),
    [([], False), (["0"], False), (["2"], False), (["21"], True), (["0", "1"], True), (["x"], False)],
)
def test_a_lid_is_an_input_device(switches: list[str], lid: bool, tmp_path: Path) -> None:
    """Bit 0 of an input device's switches, as ACPI and device-tree machines both have it."""
    for number, mask in enumerate(switches):
        folder = tmp_path / f"class/input/input{number}/capabilities"
        folder.mkdir(parents=True)
        (folder / "sw").write_text(f"{mask}\n")
    assert has_lid(tmp_path) is lid


class Battery(NamedTuple):
    power_plugged: bool | None


@pytest.mark.parametrize(
    ("found", "on_ac"), [(None, True), (Battery(True), True), (Battery(False), False), (Battery(None), None)]
)
def test_what_feeds_the_machine(found: Battery | None, on_ac: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No battery, so the mains; else as the battery says; and what a driver makes a mess of is not known."""
    monkeypatch.setattr(psutil, "sensors_battery", lambda: found)
    assert lids.on_ac() is on_ac

    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(psutil, "sensors_battery", broken)
    assert lids.on_ac() is None


@pytest.mark.parametrize(
    ("script", "action", "keeper"),
    [
        ('case "$*" in *ListInhibitors*) cat "$0.rows";; *) cat "$0.properties";; esac', "suspend", "PowerDevil"),
        ("echo 'Failed to connect to bus' >&2; exit 1", "", ""),
        ("echo '{'", "", ""),
        ("echo '[]'", "", ""),
        ("exec sleep 60", "", ""),
    ],
    ids=["answers", "no-bus", "torn", "odd", "hangs"],
)
def test_logind_is_asked(
    script: str, action: str, keeper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over busctl; where that fails, hangs or says something else, nothing is known of the lid and no more is wrong."""
    monkeypatch.setattr(lids, "has_lid", lambda: True)
    monkeypatch.setattr(lids, "on_ac", lambda: False)
    monkeypatch.setattr(lids, "_ANSWER_S", 0.3 if "sleep" in script else 20.0)
    busctl = tmp_path / "busctl"
    busctl.write_text(f"#!/bin/sh\n{script}\n")
    busctl.chmod(0o755)
    values = [json.dumps({"type": "s", "data": value}) for value in LOGIND.values()]
    Path(f"{busctl}.properties").write_text("\n".join(values))
    row = ["handle-lid-switch", "PowerDevil", "it handles the lid", "block", 1000, 900]
    Path(f"{busctl}.rows").write_text(json.dumps({"type": "a(ssssuu)", "data": [[row]]}))
    told = bool(action)
    assert anyio.run(read_lid, {"PATH": f"{tmp_path}:/usr/bin:/bin"}) == Lid(True, told, action, keeper)
    assert anyio.run(read_lid, {"PATH": "/nonexistent"}) == Lid(True, False)
