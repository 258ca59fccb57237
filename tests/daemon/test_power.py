"""The machine is kept awake exactly while a daemon works, whatever becomes of the daemon; and ``status`` says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.house import HastyDaemon, Wire, defects
from tests.daemonkit import META
from tests.inhibitkit import Inhibitor, within
from tests.pictures import write_photos

MANY = 160
GONE_S = 2.0
AT_ONCE = {"ingestd.policy.activity.AFTER_S": 0.0}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that takes some seconds, one photo a batch."""
    folder = tmp_path_factory.mktemp("many") / "many"
    write_photos(folder, MANY)
    return folder


@pytest.fixture
def inhibitor(tmp_path: Path) -> Inhibitor:
    return Inhibitor(tmp_path / "bin")


@pytest.fixture
def daemon(tmp_path: Path, inhibitor: Inhibitor) -> Iterator[HastyDaemon]:
    """One that asks at once, and of an inhibitor of the test's own."""
    daemon = HastyDaemon(tmp_path / "home", AT_ONCE)
    daemon.env["PATH"] = inhibitor.path
    with daemon:
        yield daemon
    assert not defects(daemon)
    assert inhibitor.held() == []


def power(daemon: HastyDaemon) -> dict[str, Any]:
    return dict(daemon.call("status")["daemon"]["power"])


def events(daemon: HastyDaemon) -> list[str]:
    """What the log says of the power assertion, in order."""
    told = ("kept awake", "the machine may sleep", "not kept awake")
    return [entry["event"] for entry in map(json.loads, daemon.log()) if entry["event"] in told]


def test_held_while_it_works(many: Path, daemon: HastyDaemon, inhibitor: Inhibitor) -> None:
    """Not before the job, not in a pause, not after the last item; by one process, and told in ``status`` and log."""
    assert power(daemon)["wanted"] is False
    assert inhibitor.held() == []
    job = daemon.ingest(many, wait=False, batch_size=20, **META)
    daemon.wait_for(lambda: power(daemon)["held"] == ["sleep", "idle"])
    assert inhibitor.held() == ["sleep:idle"]
    assert power(daemon)["wanted"] is True
    daemon.call("pause")
    assert within(GONE_S, lambda: not inhibitor.locks())
    assert (power(daemon)["wanted"], power(daemon)["held"]) == (False, [])
    assert daemon.job()["counts"]["done"] < MANY
    daemon.call("resume")
    daemon.wait_for(lambda: inhibitor.held() == ["sleep:idle"])
    daemon.call("wait", 120, job=job["name"])
    assert within(GONE_S, lambda: not inhibitor.locks())
    assert power(daemon)["wanted"] is False
    assert set(inhibitor.asked) == {"sleep:idle"}
    assert events(daemon)[:4] == ["kept awake", "the machine may sleep"] * 2


@pytest.mark.parametrize("answered", [True, False], ids=["granted", "asking"])
def test_it_dies_with_a_killed_daemon(answered: bool, many: Path, daemon: HastyDaemon, inhibitor: Inhibitor) -> None:
    """SIGKILL at work: two seconds later the machine may sleep. The next daemon asks for itself."""
    if not answered:
        inhibitor.hangs_at("idle")
    daemon.ingest(many, wait=False, batch_size=20, **META)
    daemon.wait_for(lambda: bool(inhibitor.locks()) if answered else inhibitor.hanging() is not None)
    daemon.kill()
    assert within(GONE_S, lambda: not inhibitor.locks() and inhibitor.hanging() is None)
    inhibitor.hangs_at()
    daemon.start()
    daemon.wait_for(lambda: inhibitor.held() == ["sleep:idle"])


def test_a_refusal_stops_nothing(many: Path, daemon: HastyDaemon, inhibitor: Inhibitor) -> None:
    """As for a service without a seat: idleness alone is held off; ``status`` names what was refused, and a remedy."""
    inhibitor.refuses("sleep")
    daemon.ingest(many, wait=False, batch_size=20, **META)
    daemon.wait_for(lambda: power(daemon)["held"] == ["idle"])
    (refusal,) = power(daemon)["refused"]
    assert (refusal["what"], refusal["why"]) == ("sleep", "Access denied")
    assert "ingestctl service install --system" in refusal["remedy"]
    assert daemon.job()["status"] == "running"


@pytest.mark.skipif(sys.platform != "linux", reason="a process's limits are set from outside")
def test_a_full_disk_lets_it_sleep(many: Path, daemon: HastyDaemon, inhibitor: Inhibitor) -> None:
    """Nothing goes on until somebody frees some space: the machine need not wait for that person awake."""
    process = psutil.Process(daemon.pid)
    daemon.ingest(many, wait=False, batch_size=20, **META)
    daemon.wait_for(lambda: inhibitor.held() == ["sleep:idle"])
    process.rlimit(psutil.RLIMIT_FSIZE, (50_000, psutil.RLIM_INFINITY))
    daemon.wait_for(lambda: bool(daemon.call("status")["daemon"]["trouble"]))
    with Wire(daemon) as wire:
        wire.ask("resume")  # anything that happens lets it look; by itself it does once a minute
        assert within(GONE_S, lambda: not inhibitor.locks())
    assert daemon.job()["status"] == "running"
    process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    daemon.wait_for(lambda: inhibitor.held() == ["sleep:idle"])


def test_nobody_is_asked_where_it_is_not_wanted(tmp_path: Path, many: Path, inhibitor: Inhibitor) -> None:
    """``awake = "no"`` in the configuration: the job runs, the machine sleeps when it likes."""
    daemon = HastyDaemon(tmp_path / "home", AT_ONCE)
    daemon.env["PATH"] = inhibitor.path
    daemon.home.mkdir()
    (daemon.home / "config.toml").write_text('awake = "no"\n')
    with daemon:
        job = daemon.ingest(many, limit=5, **META)
        assert job["status"] == "completed"
        assert power(daemon)["method"] == "off"
    assert inhibitor.asked == []
    assert not defects(daemon)
