"""Downloads that are cut, killed, doubled or spoilt on the way."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from ingestd.errors import Unavailable
from ingestd.protocol.models import Planned, Pulled, PullModel
from ingestd.protocol.work import Fetching, Hello
from ingestd.worker.models.hub.fetch import Hub
from ingestd.worker.models.hub.names import Wanted
from tests import hubkit
from tests.worker.hub.ourside import ID, WEIGHTS, ask, fetch, last, partials, until


@pytest.mark.parametrize("cuts", [1, 2])
def test_a_cut_download_goes_on_where_it_was(served: hubkit.Hub, ours: Hub, cuts: int) -> None:
    """After a cut the rest alone is asked for by Range, and the file is right in the end."""
    files = hubkit.clip()
    served.publish(ID, files)
    served.faults = hubkit.Faults(cut_after=1_000_000, cuts=cuts)
    assert (fetch(ours).folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    first, *rest = served.asked(WEIGHTS)
    assert first.range is None
    assert len(rest) == cuts
    assert all(request.range and request.range != "bytes=0-" and request.status == 206 for request in rest)
    # A cut may take with it what was still on its way.
    assert served.sent(WEIGHTS) < 1.5 * len(files[WEIGHTS])


def test_a_line_that_only_drops_is_given_up_for_now_and_resumed_later(served: hubkit.Hub, ours: Hub) -> None:
    """Patience ends with ``Unavailable``; nothing can be used by then; the next attempt keeps what had come."""
    files = hubkit.clip()
    served.publish(ID, files)
    served.faults = hubkit.Faults(cut_after=hubkit.PIECE, cuts=1000)
    with pytest.raises(Unavailable, match="cut the connection") as raised:
        fetch(ours)
    assert "goes on from there" in raised.value.remedy
    assert ours.here(Wanted(ID, ID)) is None
    assert not ours.store.snapshots(ID)
    (partial,) = partials(ours)
    came = partial.stat().st_size
    assert came > 0
    served.faults = hubkit.Faults()
    assert (fetch(ours).folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert served.asked(WEIGHTS)[-1].range == f"bytes={came}-"
    assert not partials(ours)


def coming(blobs: Path) -> list[int]:
    """The sizes of the files that are not whole yet."""
    sizes = []
    for path in blobs.glob("*.incomplete"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue  # it has just become whole, under its own name
    return sizes


def test_a_killed_process_is_resumed_by_the_next(served: hubkit.Hub, tmp_path: Path) -> None:
    """SIGKILL in the middle loses nothing that was on the disk, and the half model is never taken for a whole one."""
    files = hubkit.clip(4_000_000)
    served.publish(ID, files)
    gate = threading.Event()
    served.faults = hubkit.Faults(gate=gate)
    with ask(served, tmp_path) as child:
        child.expect(Hello)
        child.send(PullModel("siglip2"))
        blobs = tmp_path / "hf" / "hub" / f"models--{ID.replace('/', '--')}" / "blobs"
        until(lambda: any(size > 500_000 for size in coming(blobs)))
        os.kill(child.process.pid, signal.SIGKILL)
        child.wait()
    came = max(coming(blobs))
    assert not (blobs.parent / "snapshots").exists()
    gate.set()
    served.faults = hubkit.Faults()
    with ask(served, tmp_path) as child:
        child.expect(Hello)
        child.send(PullModel("siglip2"))
        planned = child.expect(Planned)
        assert planned.here == planned.total - len(files[WEIGHTS]) + came
        pulled = last(child)
    assert isinstance(pulled, Pulled), pulled
    assert pulled.fetched == len(files[WEIGHTS]) - came
    assert served.asked(WEIGHTS)[-1].range == f"bytes={came}-"
    assert (Path(pulled.folder or "") / WEIGHTS).read_bytes() == files[WEIGHTS]


def test_two_processes_share_one_download(served: hubkit.Hub, tmp_path: Path) -> None:
    """Both have the whole model in the end, and the weights went over the line once."""
    files = hubkit.clip(2_000_000)
    served.publish(ID, files)
    served.faults = hubkit.Faults(gate=threading.Event())
    gate = served.faults.gate
    assert gate is not None
    with ask(served, tmp_path) as one, ask(served, tmp_path) as two:
        for child in (one, two):
            child.expect(Hello)
        one.send(PullModel("siglip2"))
        until(lambda: served.sent(WEIGHTS) > 0)
        two.send(PullModel("siglip2"))
        two.expect(Planned)
        for _ in range(3):  # the second tells what the first brings
            assert two.expect(Fetching).total > len(files[WEIGHTS])
        gate.set()
        results = [last(one), last(two)]
    assert all(isinstance(result, Pulled) for result in results), results
    assert len({result.folder for result in results}) == 1
    assert (Path(results[0].folder) / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert served.sent(WEIGHTS) == len(files[WEIGHTS])
