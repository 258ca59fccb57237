"""A job with a sink of another package, through the daemon; and what becomes of it when the package is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.daemon.house import HastyDaemon
from tests.daemonkit import META, RpcError
from tests.pictures import write_photos

ROOT = Path(__file__).parent.parent.parent


class DaemonWithCards(HastyDaemon):
    """A daemon to which the declaration of the cards is known from its start."""

    def code(self) -> str:
        declare = "from ingestd.kinds import sinks; from tests.sinks.foreign_sinks import CARDS"
        return f"{declare}; sinks.SHIPPED[CARDS.name] = CARDS\n{super().code()}"


def test_a_job_with_another_packages_sink(tmp_path: Path) -> None:
    """It is asked for by its word and delivered to like ours. Without the package the job stops and says what is
    missing, nothing of it is lost, and no other job can ask for it; with the package again it goes on."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    out.mkdir()
    write_photos(folder, 4)
    env = {"PYTHONPATH": str(ROOT)}
    asked = {**META, "sinks": [f"cards:{out}/cards"], "name": "photos"}
    with DaemonWithCards(tmp_path / "home", {}, env=env) as daemon:
        assert daemon.ingest(folder, **asked)["status"] == "completed"
        (status,) = daemon.job()["sinks"]
        assert (status["kind"], status["place"]) == ("cards", f"{out}/cards")
        cards = [json.loads(path.read_text()) for path in out.glob("cards/*.card")]
        assert {card["paths"][0] for card in cards} == {str(path) for path in folder.iterdir()}

    write_photos(folder / "later", 2, seed=9)
    with HastyDaemon(tmp_path / "home", {}, env=env) as daemon:
        with pytest.raises(RpcError, match="cannot use the sink cards: there is no sink of this kind"):
            daemon.ingest(folder, wait=False, **{**META, "name": "photos"})
        (status,) = daemon.job()["sinks"]
        assert (status["state"], status["place"]) == ("trouble", f"{out}/cards")
        assert "Install the package that has it" in status["message"]
        with pytest.raises(RpcError, match="there is no sink of this kind"):
            daemon.call("start", sources=[str(folder)], **{**asked, "name": "another"})
    assert len(list(out.glob("cards/*.card"))) == 4

    with DaemonWithCards(tmp_path / "home", {}, env=env) as daemon:
        assert daemon.ingest(folder, **{**META, "name": "photos"})["status"] == "completed"
        assert len(list(out.glob("cards/*.card"))) == 6
