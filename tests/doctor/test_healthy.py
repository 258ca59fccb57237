"""On a machine that is well the doctor is green, quick and leaves nothing behind."""

from __future__ import annotations

from tests.daemonkit import slowness
from tests.doctor.clinic import OF_THE_MACHINE, Findings

LIMIT_S = 10
"""Seconds for the whole without a model load."""


def test_all_is_green(healthy: Findings) -> None:
    """Only what hangs on the machine that runs the tests may be missing; that breaks nothing."""
    assert healthy.levels(*OF_THE_MACHINE) == {"ok"}, healthy.all
    assert healthy.code == 0
    assert all(not one["remedy"] for one in healthy.all if one["level"] == "ok")


def test_it_is_quick(healthy: Findings) -> None:
    """The whole without a model load, with a server asked by its own client: ten seconds of a machine that is free for
    it, so as many times more where others compute, and less than that of processor time in any case."""
    assert healthy.seconds < LIMIT_S * slowness()
    assert healthy.cpu_s < LIMIT_S


def test_every_family_is_looked_at(healthy: Findings) -> None:
    """A line for each thing, in an order that does not depend on which check is through first."""
    order = list(dict.fromkeys(one["what"] for one in healthy.all))
    assert order == [
        *("daemon", "state folder", "ledger", "log", "socket", "source", "model", "memory", "sink", "packages"),
        *("open files", "clock", "awake", "lid", "lockdown", "service"),
    ]
    assert len(healthy.of("sink")) == 3


def test_what_is_well_is_told(healthy: Findings) -> None:
    """A person sees that it was really tried: written, listed, asked, granted."""
    assert "writable, synced in" in healthy.one("state folder")["finding"]
    assert "can be listed" in healthy.one("source")["finding"]
    assert "builtin (embed, describe): whole, 110 MB" in healthy.one("model")["finding"]
    assert "answers; the collection is made" in healthy.one("sink", "http://")["finding"]
    assert "can be written" in healthy.one("sink", "items.jsonl")["finding"]
    assert "sleep and idle held off by systemd-inhibit" in healthy.one("awake")["finding"]
    assert "in force in a worker: no core dumps" in healthy.one("lockdown", "in force")["finding"]
