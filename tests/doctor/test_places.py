"""Room on the disk against what is still to come, the socket's place, and whose key a refusal is about."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import anyio
import pytest

from ingestd import config
from ingestd.control.transport.listener import check_place
from ingestd.doctor import context, places
from ingestd.doctor.context import Context, Daemon
from ingestd.errors import Misconfigured
from ingestd.ledger.reader import open_reader
from ingestd.paths import Places
from ingestd.protocol import control as c
from tests.ctl.ctlkit import Home, daemon_status
from tests.doctor.clinic import Books


def known(home: Home, left: int, item_bytes: float) -> Context:
    """A job with so many items left, of so many bytes each."""
    books = Books(home)
    books.add("photos", home.folder)
    books.close()
    db = open_reader(home.folder / "state" / "ledger.db")
    (job,) = context._read(db)
    db.close()
    facts = dataclasses.replace(job.facts, tally=job.facts.tally._replace(pending=left))
    at = home.folder
    job = dataclasses.replace(job, facts=facts, item_bytes=item_bytes)
    return Context(Places(at / "state", at / "run", at / "log", at / "config.toml"), jobs=[job])


@pytest.mark.parametrize(
    ("left", "item_bytes", "level", "says"),
    [
        (0, 0.0, "ok", "free"),
        (1_000, 2_000.0, "ok", "about 5.3 MB still to come"),
        (10**9, 0.0, "ok", "free"),  # nothing is done yet: nobody knows how large results are
        (10**9, 2_000.0, "fail", "are still to come"),
    ],
)
def test_room_for_what_is_to_come(home: Home, left: int, item_bytes: float, level: str, says: str) -> None:
    """The measure is the daemon's own, so that the doctor names what would make a job wait."""
    (found,) = anyio.run(places.state, known(home, left, item_bytes))
    assert (found.level, says in found.finding) == (level, True), found
    if level == "fail":
        assert "no disk" in found.finding
        assert found.remedy


def test_the_sockets_place_is_checked_and_not_made(tmp_path: Path) -> None:
    """The rules are the door's; a folder that is not there yet stays so."""
    place = tmp_path / "a" / "b" / "ingestd.sock"
    check_place(place)
    with pytest.raises(Misconfigured, match="no such group"):
        check_place(place, "nobodys-group-at-all")
    tmp_path.chmod(0o777)
    with pytest.raises(Misconfigured, match="everybody may write"):
        check_place(place)
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_only_the_daemon_has(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service has its key in its own environment: that this shell is refused says nothing of it."""
    found = Context(Places(*[home.folder] * 4))
    refusal = "Put the server's API key into the file that qdrant_key_file names, or into INGESTD_QDRANT_KEY"
    monkeypatch.delenv("INGESTD_QDRANT_KEY", raising=False)
    assert not found.maybe_keyless(refusal), "without a daemon this shell's is the one that counts"
    hello = c.HelloReply(1, "0", os.getpid())
    found.daemon = Daemon(hello, c.StatusReply(daemon_status(), []), c.ConfigReply([]))
    assert found.maybe_keyless(refusal)
    assert not found.maybe_keyless("Check that the server runs")
    monkeypatch.setenv("INGESTD_QDRANT_KEY", "wrong")
    assert not found.maybe_keyless(refusal)
    monkeypatch.delenv("INGESTD_QDRANT_KEY")
    found.settings = config.load({"INGESTD_QDRANT_KEY_FILE": "/key"}, None, "")
    assert not found.maybe_keyless(refusal), "a file is read by both"
