"""A disk that stops answering in the middle of a job: its readers hang in the kernel, and nothing ends them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.house import HastyDaemon, defects
from tests.daemonkit import META, RpcError, slowness
from tests.mountkit import MortalMount
from tests.pictures import write_photos

WAITS = {
    "ingestd.policy.deadlines.WALK_END_S": 0.5,
    "ingestd.policy.deadlines.DRAIN_S": 0.5,
    "ingestd.policy.deadlines.CLOSING_DRAIN_S": 1.0,
    "ingestd.executors.spawn.ABANDON_S": 1.0,
    "ingestd.supervisor.sources.ROOTS_S": 3.0,
}


@pytest.fixture
def share(tmp_path: Path) -> Iterator[MortalMount]:
    (tmp_path / "behind").mkdir()
    (tmp_path / "share").mkdir()
    write_photos(tmp_path / "behind", 200)
    mount = MortalMount(tmp_path / "share", tmp_path / "behind")
    yield mount
    mount.close()


def test_a_share_that_dies_is_waited_for_without_a_person(share: MortalMount, tmp_path: Path) -> None:
    """Its job says so and waits, the next one has its turn, and when the share is back all is done."""
    constants = {
        "ingestd.policy.plan.QUIET_S": 2.0,
        "ingestd.supervisor.sources.ROOTS_S": 0.5 * slowness(),
        "ingestd.policy.moves.SOURCE_RETRY_S": 8.0,
    }
    write_photos(tmp_path / "here", 3)
    with HastyDaemon(tmp_path / "home", WAITS | constants, share.prefix) as daemon:
        name = daemon.ingest(tmp_path / "share", wait=False, **META)["name"]
        daemon.wait_for(lambda: daemon.job()["counts"]["done"] > 0)
        share.die()
        assert daemon.waiting()["reason"].startswith("source offline: it did not answer within")
        assert daemon.ingest(tmp_path / "here", **META)["counts"]["done"] == 3
        share.revive()
        job = daemon.call("wait", 150, job=name)["job"]  # on a busy machine it was tried before, and waits longer
        assert (job["counts"]["done"], job["counts"]["failed"]) == (200, 0)
        assert daemon.query("SELECT sum(deaths) FROM item") == [(0,)]
        assert not defects(daemon)
        share.close()


def test_a_dead_share_is_asked_twice_and_a_healthy_folder_always(share: MortalMount, tmp_path: Path) -> None:
    """A person who tries again is told at once what hangs; what lies elsewhere has nothing to do with it."""
    share.die()
    write_photos(tmp_path / "here", 3)
    constants = WAITS | {"ingestd.supervisor.sources.ROOTS_S": 0.5 * slowness()}
    with HastyDaemon(tmp_path / "home", constants, share.prefix) as daemon:
        for count in (1, 2):
            with pytest.raises(RpcError, match="did not answer within"):
                daemon.ingest(tmp_path / "share", **META)
            daemon.wait_for(lambda count=count: sum("abandoned" in line for line in daemon.log()) == count)  # type: ignore[misc]
        with pytest.raises(
            RpcError, match=r"cannot start another process \(roots\): processes \d+, \d+ hang in the kernel"
        ):
            daemon.ingest(tmp_path / "share", **META)
        assert daemon.ingest(tmp_path / "here", **META)["counts"]["done"] == 3


def test_a_query_that_hangs_is_the_only_one(share: MortalMount, tmp_path: Path) -> None:
    """An image on a dead share is asked for in vain; the next query has an encoder of its own."""
    write_photos(tmp_path / "here", 3)
    with HastyDaemon(
        tmp_path / "home", WAITS | {"ingestd.supervisor.search.ENCODE_S": 6.0 * slowness()}, share.prefix
    ) as daemon:
        daemon.ingest(tmp_path / "here", describe="none", embed="builtin")
        daemon.wait_for(lambda: answers(daemon))
        share.die()
        with pytest.raises(RpcError, match="did not answer in time"):
            daemon.call("search", like=str(tmp_path / "share" / "none.jpg"))
        daemon.wait_for(lambda: answers(daemon))
        share.close()


def answers(daemon: HastyDaemon) -> bool:
    """Whether a search for words has hits; on a busy machine the encoder may be late."""
    try:
        return bool(daemon.call("search", text="a cat")["groups"][0]["hits"])
    except RpcError:
        return False


def hanging(daemon: HastyDaemon, share: MortalMount) -> list[int]:
    """The workers with a thread that waits for the mount's answer."""
    started = [entry for entry in map(json.loads, daemon.log()) if entry["event"] == "child started"]
    return [entry["pid"] for entry in started if "batch" in entry and share.keeps_waiting(entry["pid"])]


def test_readers_that_hang_keep_nobody(share: MortalMount, tmp_path: Path) -> None:
    """A pause has its effect, a third reader is not sent after two, the daemon stops, and nothing is lost."""
    with HastyDaemon(tmp_path / "home", WAITS, share.prefix) as daemon:
        name = daemon.ingest(tmp_path / "share", wait=False, **META)["name"]
        daemon.wait_for(lambda: daemon.job()["counts"]["done"] > 0)
        share.die()
        for count in (1, 2):
            daemon.wait_for(lambda count=count: len(hanging(daemon, share)) == count)  # type: ignore[misc]
            assert daemon.call("pause")["jobs"][0]["status"] == "paused"
            assert sum("child abandoned" in line for line in daemon.log()) == count
            daemon.call("resume")
        assert "hang in the kernel" in daemon.waiting()["reason"]
        stuck = hanging(daemon, share)
        assert len(stuck) == 2
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(20) == 0
        assert not defects(daemon)
        assert hanging(daemon, share) == stuck
        share.close()
        daemon.wait_for(lambda: not hanging(daemon, share), 5)
    with HastyDaemon(tmp_path / "home", {"ingestd.policy.moves.SOURCE_RETRY_S": 0.3}) as daemon:
        os.rmdir(tmp_path / "share")
        (tmp_path / "behind").rename(tmp_path / "share")
        daemon.call("resume")
        job = daemon.call("wait", job=name)["job"]
        assert (job["counts"]["done"], job["counts"]["failed"]) == (200, 0)
