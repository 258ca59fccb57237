"""Credit bounds what is under way; Finish ends a walk at once; nothing outlives the daemon."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ingestd.protocol.walk import Credit, FromWalker, Listing, ScanEnd
from ingestd.protocol.work import Finish, Hello
from ingestd.walker.outbox import Outbox
from tests.childkit import running
from tests.walker.ledgerkit import MODULE, Ledger


@pytest.fixture
def many(photos: Path) -> Path:
    for i in range(10):
        (photos / f"d{i}").mkdir()
        for j in range(60):
            (photos / f"d{i}" / f"{j:02}.jpg").touch()
    return photos


def test_never_more_listings_than_credit(many: Path, ledger: Ledger) -> None:
    """With credit 3, three listings come and no fourth until credit is given, and then as many as were given."""
    with running(MODULE, FromWalker) as child:
        child.expect(Hello)
        child.send(ledger.setup(ledger.root(many), credit=3))
        for _ in range(3):
            child.expect(Listing)
        with pytest.raises(TimeoutError):
            child.receive(0.5)
        child.send(Credit(2))
        for _ in range(2):
            child.expect(Listing)
        with pytest.raises(TimeoutError):
            child.receive(0.5)
        child.send(Credit(5))
        for _ in range(5):
            child.expect(Listing)
        end = child.expect(ScanEnd)  # needs no credit
        assert (end.complete, end.found) == (True, 600)
        assert child.wait() == 0


def test_finish_while_it_waits_for_credit(many: Path, ledger: Ledger) -> None:
    """It ends at once; what was not sent is not counted, and the walk is not complete."""
    with running(MODULE, FromWalker) as child:
        child.expect(Hello)
        child.send(ledger.setup(ledger.root(many), credit=2))
        child.expect(Listing)
        child.expect(Listing)
        child.send(Finish())
        end = child.expect(ScanEnd)
        assert (end.complete, end.limited, end.found) == (False, False, 120)
        assert child.wait() == 0


def test_a_finished_walk_marks_nothing_gone_that_it_did_not_come_to(many: Path, ledger: Ledger) -> None:
    """An early end leaves the folders it did not list as they are known."""
    root = ledger.root(many)
    ledger.walk(root)
    for i in (0, 9):
        (many / f"d{i}" / "00.jpg").unlink()
    with running(MODULE, FromWalker) as child:
        child.expect(Hello)
        child.send(ledger.setup(root, credit=1))
        listing = child.expect(Listing)
        assert (listing.rel, len(listing.gone)) == (b"d0", 1)
        child.send(Finish())
        assert not child.expect(ScanEnd).complete


def test_it_ends_with_the_daemon(many: Path, ledger: Ledger) -> None:
    """A walker whose socket ends, ends, also while it waits for credit."""
    with running(MODULE, FromWalker) as child:
        child.expect(Hello)
        child.send(ledger.setup(ledger.root(many), credit=1))
        child.expect(Listing)
        child.close_socket()
        assert child.wait(5) != 0


def test_a_long_walk_without_a_difference_gives_signs_of_life() -> None:
    """After five seconds without a listing an empty one goes out, under credit like any other."""
    now, sent = [0.0], list[msgspec.Struct]()
    outbox = Outbox(sent.append, lambda timeout: None, 2, clock=lambda: now[0])
    outbox.begin(1, b"sub")
    outbox.add_unchanged(7)
    outbox.poll()
    assert sent == []
    now[0] = 5.0
    outbox.poll()
    outbox.poll()
    assert sent == [Listing(1, b"sub", [], [], 7)]
    now[0] = 10.0
    outbox.add_unchanged(1)
    outbox.end()
    assert len(sent) == 1
    outbox.poll()
    assert sent[1:] == [Listing(1, b"sub", [], [], 1)]
    assert outbox.found == 8
