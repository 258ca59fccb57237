"""What a worker is refused is no failure: where a link leads is found out, and the next worker may read there."""

from __future__ import annotations

import pytest

from ingestd.policy import messages as w
from ingestd.protocol.walk import ResolvedRoot
from ingestd.protocol.work import Drain
from ingestd.supervisor.read_scope import way_to, where
from tests.policy.views import decide, kinds, working

ROOT = b"/photos"


def folder(path: bytes) -> ResolvedRoot:
    return ResolvedRoot(path, 1, "ext4", True)


def file(path: bytes) -> ResolvedRoot:
    return ResolvedRoot(path, 1, "ext4", False)


@pytest.mark.parametrize(
    ("way", "place"),
    [
        ([file(b"/else/original.jpg")], b"/else"),
        # What a link to a folder leads to, whole: the next item may lie in another folder of it.
        ([folder(b"/mnt/nas"), folder(b"/mnt/nas/2019"), file(b"/mnt/nas/2019/a.jpg")], b"/mnt/nas"),
        ([folder(b"/photos/sub"), folder(b"/mnt/nas"), file(b"/mnt/nas/a.jpg")], b"/mnt/nas"),
        # A link within the source is nobody's business.
        ([folder(b"/photos/other"), file(b"/photos/other/a.jpg")], None),
        # A folder beside the source whose name begins with the source's.
        ([file(b"/photos-2/a.jpg")], b"/photos-2"),
        ([ResolvedRoot(b"/photos/a.jpg", 0, "", False, "there is no such file")], None),
        ([], None),
    ],
)
def test_the_first_place_outside_is_what_a_link_leads_to(way: list[ResolvedRoot], place: bytes | None) -> None:
    """By what a walker found on the way down to the item."""
    assert where(way, [ROOT]) == place


@pytest.mark.parametrize(
    ("path", "within", "way"),
    [
        (b"/photos/a/b.jpg", [b"/photos"], [b"/photos/a", b"/photos/a/b.jpg"]),
        (b"/photos/b.jpg", [b"/photos"], [b"/photos/b.jpg"]),
        (b"/photos/a/b.jpg", [b"/"], [b"/photos", b"/photos/a", b"/photos/a/b.jpg"]),
        (b"/photos/a/b.jpg", [b"/photos", b"/photos/a"], [b"/photos/a/b.jpg"]),
        # Found by a walk after the worker had begun: nothing above the file is looked at, least of all allowed.
        (b"/photos/a/b.jpg", [b"/other"], [b"/photos/a/b.jpg"]),
        (b"/photos/b.jpg", [b"/photos/b.jpg"], [b"/photos/b.jpg"]),
        (b"/b.jpg", [], [b"/b.jpg"]),
    ],
)
def test_the_way_to_an_item_begins_in_its_source(path: bytes, within: list[bytes], way: list[bytes]) -> None:
    """What lies between is looked at for links, and nothing above."""
    assert way_to(path, within) == way


def test_a_worker_that_was_refused_makes_room_for_the_next() -> None:
    """It ends what is in its model and goes; what it holds goes back, is nobody's fault and counts no death."""
    v, worker = working(3)
    decide(v, w.ItemBegan(1, 1), 0.0)
    assert decide(v, w.WorkerRefused(1), 0.0) == [w.Send(1, Drain())]
    assert worker.state == "draining"
    assert decide(v, w.WorkerRefused(1), 0.0) == []
    (back, *_) = decide(v, w.WorkerGone(1, True, "", ""), 0.0)
    assert isinstance(back, w.GiveBack)
    assert not back.lost
    assert v.jobs[1].deaths_in_row == 0
    assert v.jobs[1].status == "running"


def test_a_batch_that_is_ending_goes_as_well() -> None:
    """``Finish`` alone would wait for ever for the item that the worker holds."""
    v, worker = working(1)
    worker.state = "finishing"
    assert kinds(decide(v, w.WorkerRefused(1), 0.0)) == ["Send"]
    assert worker.state == "draining"
