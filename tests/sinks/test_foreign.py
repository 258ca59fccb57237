"""A kind of sink that another package declares: it works like ours, under its own lock, and fails in words."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from ingestd.errors import EXIT_OK, Misconfigured
from ingestd.kinds.sinks import SinkKind
from ingestd.lockdown import landlock
from ingestd.protocol.sink import Delivered, FromSink
from ingestd.protocol.work import Fatal, Finish, Hello, Locked
from ingestd.sinks import base
from ingestd.sinks.sandbox import access
from ingestd.testing.feed import Feed, feed_of
from tests.childkit import running
from tests.sinks.doctorkit import look
from tests.sinks.foreign_sinks import CARDS, MARK

SINKS = "ingestd.sinks"


def changed(**values: str) -> SinkKind:
    return msgspec.structs.replace(CARDS, **values)


def test_a_locked_process_runs_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its code is found, its place is written, its settings arrive; nothing else can be read, written or reached."""
    if landlock.kernel().abi < 4:
        pytest.skip("this kernel's landlock does not know files and ports: the lock was not tested")
    for folder in ("state", "out", "home"):
        (tmp_path / folder).mkdir()
    secret = tmp_path / "home" / "secret"
    secret.write_text("s")
    with feed_of(tmp_path / "state", 600) as feed, running(SINKS, FromSink, words=("--lockdown", "auto")) as child:
        child.expect(Hello)
        setup = feed.setup(CARDS, tmp_path / "out" / "cards")
        child.send(msgspec.structs.replace(setup, settings={"cards_pry": str(secret)}))
        assert "no TCP" in child.expect(Locked).force
        *_, last = child.until(lambda message: isinstance(message, Delivered) and message.seq == 600)
        child.send(Finish())
        assert child.wait() == EXIT_OK
    assert last.token == json.loads((tmp_path / "out" / "cards" / MARK).read_text())["token"]
    assert len(list((tmp_path / "out" / "cards").glob("*.card"))) == 600
    said = next(line for line in capfd.readouterr().out.splitlines() if line.startswith("pried"))
    found = json.loads(said.removeprefix("pried"))
    assert {found[name] for name in ("read", "write", "connect")} == {"PermissionError"}


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("tests.sinks.gone_sinks:CardSink", "No module named 'tests.sinks.gone_sinks'"),
        ("tests.sinks.broken_sinks:CardSink", "made for another version"),
        ("tests.sinks.foreign_sinks:Gone", "has no attribute 'Gone'"),
        ("tests.sinks.foreign_sinks:NoSink", "is no sink"),
    ],
)
def test_code_that_cannot_be_loaded(feed: Feed, tmp_path: Path, module: str, says: str) -> None:
    """A person must mend it: which package it is from is said, by the process and by the doctor."""
    setup = feed.setup(changed(module=module), tmp_path / "cards")
    with pytest.raises(Misconfigured) as caught:
        base.make(setup)
    assert says in caught.value.message
    assert "ingestd-cards" in caught.value.remedy
    with running(SINKS, FromSink) as child:
        child.expect(Hello)
        child.send(setup)
        fatal = child.expect(Fatal)
        assert (fatal.kind, fatal.object) == ("misconfigured", "cards")
        assert says in fatal.message
    seen = look(feed, changed(module=module, doctor=""), tmp_path / "cards")
    assert (seen.level, says in seen.finding, "ingestd-cards" in seen.remedy) == ("fail", True, True)


def test_its_own_check(feed: Feed, tmp_path: Path) -> None:
    """What it finds is told as it says; its errors, and its mistakes, are failures of this sink alone."""
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "a.card").write_text("{}")
    good = look(feed, CARDS, tmp_path / "cards")
    assert (good.level, good.finding) == ("ok", f"{tmp_path}/cards: 1 cards")
    assert look(feed, CARDS, tmp_path).remedy == "Wait for the first one"
    away = look(feed, CARDS, tmp_path / "away")
    assert (away.level, away.remedy) == ("fail", "Call somebody")
    assert away.finding == f"cannot open {tmp_path}/away: nobody is there"
    broken = look(feed, CARDS, tmp_path / "broken")
    assert (broken.level, "ZeroDivisionError: no luck" in broken.finding) == ("fail", True)
    gone = look(feed, changed(doctor="tests.sinks.gone_checks"), tmp_path / "cards")
    assert (gone.level, "gone_checks cannot be loaded" in gone.finding) == ("fail", True)


def test_without_a_check(feed: Feed, tmp_path: Path) -> None:
    """That there is none is said, once its code could be loaded."""
    plain = look(feed, changed(doctor=""), tmp_path / "cards")
    assert plain.level == "ok"
    assert "of ingestd-cards, has no check of its own" in plain.finding


def test_what_its_process_may_touch(feed: Feed, tmp_path: Path) -> None:
    """Its own code, the ledger and its place; a kind that nobody declares, nothing at all."""
    setup = feed.setup(CARDS, "/out/cards")
    found = access(setup)
    assert found is not None
    ledger = str(feed.path.parent).encode()
    assert ledger in found.read
    assert str(Path(__file__).parent.parent).encode() in found.read
    assert (found.write, found.ports, found.anywhere) == ((b"/out",), (), False)
    nothing = access(feed.setup("punchcards", "/out/deck"))
    assert nothing is not None
    assert (nothing.read, nothing.write, nothing.change, nothing.ports, nothing.anywhere) == ((), (), (), (), False)
