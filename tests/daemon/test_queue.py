"""Jobs that wait their turn: what is wrong with them is told before it comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.house import HastyDaemon
from tests.daemonkit import RpcError
from tests.pictures import write_photos


def test_a_mistake_is_told_before_the_turn(tmp_path: Path) -> None:
    """While a long job runs, a second one with a model that does not exist is refused at once and leaves nothing; a
    good one is resolved and waits."""
    write_photos(tmp_path / "long", 3)
    write_photos(tmp_path / "other", 1)
    with HastyDaemon(tmp_path / "home", {"ingestd.control.verbs.start.SETTLE_S": 60}) as daemon:
        daemon.call(
            "start", sources=[str(tmp_path / "long")], describe="none", embed="none", batch_size=1, cooldown="600"
        )  # fmt: skip
        with pytest.raises(RpcError, match="no such model"):
            daemon.call("start", sources=[str(tmp_path / "other")], describe="none", embed="blip9000")
        assert [job["name"] for job in daemon.call("status")["jobs"]] == ["long"]
        reply = daemon.call("start", sources=[str(tmp_path / "other")], describe="none", embed="none")
        assert reply["job"]["status"] == "queued"
        daemon.wait_for(lambda: [step["kind"] for step in daemon.job("other")["steps"]] == ["meta"])
        assert daemon.job("long")["status"] == "running"
