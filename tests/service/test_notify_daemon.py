"""What a real daemon tells its service manager, and that its signs of life stop when it stands and only then."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemonkit import META
from tests.needs import needs
from tests.pictures import write_photos
from tests.service.managed import Managed, managed, threads_stopped

PHOTOS = 800
WATCHDOG_S = 1.2
"""So a sign of life comes about every 0.3 s."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short: a notification socket lies in it."""
    made = Path(tempfile.mkdtemp(prefix="told-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def photos(folder: Path) -> Path:
    write_photos(folder / "photos", PHOTOS)
    return folder / "photos"


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[Managed]:
    with managed(folder / "home", WATCHDOG_S) as made:
        made.start()
        made.wait_for(lambda: bool(made.messages("READY")))
        yield made


def test_ready_comes_after_the_socket_answers(folder: Path) -> None:
    """First that it starts, then READY once, and signs of life and a status from then on, never before."""
    with managed(folder / "first", WATCHDOG_S) as daemon:
        daemon.start()
        daemon.more_beats()
        words = [text.partition("=")[0] for _, text in daemon.heard]
        assert daemon.heard[0][1] == "STATUS=starting"
        assert words.count("READY") == 1
        assert words.index("READY") < words.index("WATCHDOG")
        assert daemon.messages("STATUS")[-1] == "idle: no job yet"
        assert daemon.call("hello")["pid"] == daemon.pid


def test_the_watchdog_stops_with_the_event_loop(daemon: Managed) -> None:
    """SIGSTOP stands for a loop that hangs: no sign of life; when it goes on, they come again."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        daemon.no_beats(WATCHDOG_S)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    daemon.more_beats()


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: stops single threads by ptrace")
def test_the_watchdog_stops_with_the_ledgers_thread(daemon: Managed) -> None:
    """The event loop answers, and yet no sign of life comes while the thread that writes stands still."""
    with ExitStack() as stack:
        try:
            stack.enter_context(threads_stopped(daemon.pid))
        except PermissionError:
            pytest.skip("NOT TESTED: this machine lets nobody stop single threads (ptrace)")
        daemon.no_beats(WATCHDOG_S)
        assert daemon.call("hello")["pid"] == daemon.pid, "the event loop should go on"
    daemon.more_beats()


def test_a_slow_model_is_no_wedge(daemon: Managed, photos: Path) -> None:
    """While a worker stands in the middle of its work, signs of life go on; the status says how the job stands."""
    daemon.call("start", sources=[str(photos)], name="holidays", **META)
    daemon.wait_for(lambda: bool(daemon.children("worker")) and daemon.job()["counts"]["done"] > 0)
    (worker,) = daemon.children("worker")
    worker.suspend()
    try:
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{worker.pid}/environ").read_bytes()
        daemon.more_beats(6)
        status = re.compile(r"holidays: [\d,]+ of [\d,]+, .*(working|scanning)")
        daemon.wait_for(lambda: bool(status.fullmatch(daemon.messages("STATUS")[-1])))
    finally:
        worker.resume()
    assert daemon.call("wait")["job"]["counts"]["done"] == PHOTOS
    daemon.wait_for(lambda: daemon.messages("STATUS")[-1] == "idle: 1 job")
    seen = [status for status in daemon.messages("STATUS") if status.startswith("holidays: ")]
    assert any("/s" in status for status in seen), seen


def test_a_reload_reads_the_configuration_again(daemon: Managed) -> None:
    """RELOADING with its moment, then READY; a new value holds for the next job, a mistake changes nothing."""
    config = daemon.home / "config.toml"

    def reloaded() -> str:
        before = len(daemon.messages("READY"))
        daemon.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        daemon.wait_for(lambda: len(daemon.messages("READY")) > before)
        return daemon.log()[-1]

    config.write_text('batch_size = 17\nlog_level = "debug"\nlockdown = "no"\n')
    assert '"changed":["batch_size"],"at_the_next_start":["lockdown","log_level"]' in reloaded().replace(
        ", ", ","
    ).replace('": ', '":')
    config.write_text("batch_size = 0\n")
    assert "batch_size is '0'" in reloaded()
    (stamp, _) = daemon.messages("MONOTONIC_USEC")
    assert int(stamp) > 0
    rows = {row["key"]: row["value"] for row in daemon.call("config")["rows"]}
    assert rows["batch_size"] == "17"
    config.unlink()
    reloaded()


@pytest.mark.parametrize(("number", "ready"), [(signal.SIGTERM, 0), (signal.SIGHUP, 1)])
def test_a_signal_before_it_is_ready(folder: Path, number: signal.Signals, ready: int) -> None:
    """Told to stop while it looks whether its socket answers, it is not ready any more; a reload makes it no sooner."""

    in_the_middle_of_that_look = f"""\
import os, anyio, ingestd.daemon as d
answers = d._answers
async def late(socket):
    os.kill(os.getpid(), {int(number)})
    await anyio.sleep(0.03)
    await answers(socket)
d._answers = late"""
    daemon = Managed(folder / f"early-{number.name}", rig=in_the_middle_of_that_look)
    try:
        daemon.begin()
        last = "ended" if number == signal.SIGTERM else "idle: no job yet"
        daemon.wait_for(lambda: last in daemon.messages("STATUS"))
        assert len(daemon.messages("READY")) == ready
        assert daemon.messages("RELOADING") == []
    finally:
        daemon.close()


def test_a_clean_stop(folder: Path, photos: Path) -> None:
    """SIGTERM in the middle of a job: STOPPING, nothing left running, exit 0; the next start goes on to the end."""
    with managed(folder / "stopped") as daemon:
        daemon.start()
        daemon.call("start", sources=[str(photos)], **META)
        daemon.wait_for(lambda: daemon.job()["counts"]["done"] > 0)
        daemon.end()
        assert daemon.process is not None
        assert daemon.process.returncode == 0
        words = [text for _, text in daemon.heard]
        assert words.index("STOPPING=1") < words.index("STATUS=ended") == len(words) - 1
        done = dict(daemon.query("SELECT state, count(*) FROM item GROUP BY state"))
        assert set(done) == {"done", "pending"}, "SIGTERM came too late to show anything"
        assert daemon.query("SELECT count(*) FROM batch WHERE ended IS NULL") == [(0,)]
        daemon.start()
        assert daemon.call("wait")["job"]["counts"]["done"] == PHOTOS
        assert daemon.query("SELECT sum(deaths) FROM item") == [(0,)], "released, not taken for victims"


def test_a_disk_too_full_for_its_folders_is_waited_out(folder: Path) -> None:
    """The very first start on a full disk: its folders, its lock and its log wait like the ledger. An exit would be
    ten restarts within half a minute, and then the manager has given up."""

    full_at_the_first_try_of_each_step = """\
import errno, ingestd.daemon as d
def crowded(step, tried=[]):
    def tries(*args):
        if step not in tried:
            tried.append(step)
            raise d._not_writable('write', args[0].state, OSError(errno.ENOSPC, step.__name__))
        return step(*args)
    return tries
d.prepare, d.take_lock, d._log = map(crowded, (d.prepare, d.take_lock, d._log))"""
    hasty = {"ingestd.daemon.AGAIN_S": 0.05}
    daemon = Managed(folder / "crowded", constants=hasty, rig=full_at_the_first_try_of_each_step)
    try:
        daemon.begin()
        daemon.wait_for(lambda: bool(daemon.messages("READY")))
        waits = [told for told in daemon.messages("STATUS") if told.startswith("waiting: ")]
        assert len(waits) == 3
        assert all("Free some space" in told for told in waits)
    finally:
        daemon.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_waits_can_be_stopped(folder: Path, number: signal.Signals) -> None:
    """A person or a manager who has enough of waiting for a disk ends it as cleanly as any other daemon."""

    full_for_ever = """\
import errno, ingestd.daemon as d
def full(places):
    raise d._not_writable('write', places.state, OSError(errno.ENOSPC, 'full'))
d.prepare = full"""
    daemon = Managed(folder / f"waits-{number.name}", rig=full_for_ever)
    try:
        daemon.begin()
        daemon.wait_for(lambda: any(told.startswith("waiting: ") for told in daemon.messages("STATUS")))
        assert daemon.process is not None
        daemon.process.send_signal(number)
        assert daemon.process.wait(10) == 0
        daemon.wait_for(lambda: daemon.messages("STATUS")[-1] == "ended")
        assert [text for _, text in daemon.heard][-2:] == ["STOPPING=1", "STATUS=ended"]
        assert daemon.stderr() == ""
    finally:
        daemon.close()


@needs("prlimit", "a full disk at the start, under a manager")
def test_a_full_disk_is_waited_out_and_told(folder: Path) -> None:
    """Under a manager a start on a full disk waits, says so and is not ready; with space again it is."""
    hasty = {"ingestd.daemon.OPEN_S": 0.2, "ingestd.daemon.AGAIN_S": 0.2}
    with managed(folder / "full", constants=hasty) as daemon:
        daemon.start()
        daemon.end()
        daemon.heard.clear()
        daemon.prefix = ["prlimit", "--fsize=30000:", "--"]
        daemon.begin()
        daemon.wait_for(lambda: any(told.startswith("waiting: ") for told in daemon.messages("STATUS")))
        assert "ledger" in daemon.messages("STATUS")[-1]
        assert not daemon.messages("READY")
        with pytest.raises((FileNotFoundError, ConnectionRefusedError)), socket.socket(socket.AF_UNIX) as client:
            client.connect(daemon.socket)
        _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (hard, hard))
        daemon.wait_for(lambda: bool(daemon.messages("READY")))
        assert daemon.call("hello")["pid"] == daemon.pid
