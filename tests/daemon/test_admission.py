"""Slots are taken, given up and given back: crowds at the control socket, and the socket itself when it is lost."""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from ingestd.protocol.rpc import MAX_CLIENTS
from tests.daemon.house import HastyDaemon, Wire, defects, run_ingestd
from tests.daemonkit import META, Daemon
from tests.needs import program
from tests.pictures import write_photos


def test_the_65th_who_asks_takes_the_slot_of_the_oldest_idle_one(shared: Daemon) -> None:
    """When all 64 slots are taken, who has nothing under way longest gives way; who looks on stays."""
    wires = [Wire(shared) for _ in range(MAX_CLIENTS)]
    try:
        wires[0].ask("subscribe")
        assert "result" in (wires[0].line() or {})
        for wire in wires[1:]:
            assert "result" in wire.reply("hello")
        with Wire(shared) as late, Wire(shared) as later:
            assert "result" in late.reply("hello")
            assert "result" in later.reply("hello")
            assert wires[1].line() is None
            assert wires[2].line() is None
            assert "result" in wires[3].reply("hello")
            wires[0].sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                wires[0].line()
    finally:
        for wire in wires:
            wire.sock.close()


def test_the_silent_give_way_to_who_asks(tmp_path: Path) -> None:
    """Who has not sent a whole line holds no slot, and the oldest of too many is closed; who asks then is answered."""
    constants = {"ingestd.control.transport.accept.SILENT_MAX": 5, "ingestd.control.transport.accept.BEGUN_MAX": 3}
    with HastyDaemon(tmp_path / "home", constants) as daemon:
        silent = [Wire(daemon) for _ in range(8)]
        assert [wire.line() for wire in silent[:3]] == [None] * 3
        begun = [Wire(daemon) for _ in range(4)]
        for number, wire in enumerate(begun):
            wire.send(b'{"id":%d,' % number)
            assert daemon.call("hello"), "what came before is heard by then"
        assert begun[0].line() is None
        for number in (1, 2, 3):
            begun[number].send(b'"method":"hello"}\n')
            assert (begun[number].line() or {})["id"] == number
        assert "result" in silent[-1].reply("hello")
        for wire in [*silent, *begun]:
            wire.sock.close()
    assert not defects(daemon)


BEGINNINGS = (
    b"",
    b"{",
    b'{"id":1,"method":"hello"}\n',
    b'{"id":1,"method":"subscribe"}\n',
    b'{"id":1,"method":"wait"}\n',
)


def test_clients_that_come_and_go_harm_nobody(daemon: Daemon) -> None:
    """Many at once that hang up, at whatever moment: the daemon goes on, and gives back every descriptor."""
    process = psutil.Process(daemon.pid)
    before = process.num_fds()
    for beginning in BEGINNINGS:
        socks = [socket.socket(socket.AF_UNIX) for _ in range(300)]
        for sock in socks:
            sock.connect(daemon.socket)
            try:
                sock.sendall(beginning)
            except (BrokenPipeError, ConnectionResetError):
                pass  # pushed out already
        for sock in socks:
            sock.close()
        assert daemon.call("hello")["pid"] == daemon.pid
    daemon.wait_for(lambda: process.num_fds() <= before, 30)


def test_who_waits_and_hangs_up_is_missed(daemon: Daemon, tmp_path: Path) -> None:
    """Nobody sends anything to one who waits, so its end is looked for: its descriptor comes back by itself."""
    write_photos(tmp_path / "photos", 3)
    daemon.call("start", sources=[str(tmp_path / "photos")], cooldown="60", batch_size=1, **META)
    process = psutil.Process(daemon.pid)

    def admitted() -> int:
        return sum(connection.laddr == daemon.socket for connection in process.net_connections("unix"))

    before = 1  # the socket that listens has that name too
    daemon.wait_for(lambda: admitted() == before)  # the connection that asked for the start goes by itself
    with Wire(daemon) as stays:
        wires = [Wire(daemon) for _ in range(20)]
        for wire in wires:
            wire.ask("wait", job="photos")
        stays.ask("wait", job="photos")
        daemon.wait_for(lambda: admitted() == before + 21)
        for wire in wires:
            wire.sock.close()
        daemon.wait_for(lambda: admitted() == before + 1, 30)
        daemon.call("pause")
        assert (stays.line() or {})["result"]["job"]["status"] == "paused"


def test_with_few_descriptors_the_silent_go_first(tmp_path: Path) -> None:
    """A daemon that may open 64 files is not stopped by 200 clients; that some were not accepted is logged once."""
    program("prlimit", "a low limit on open files")
    constants = {"ingestd.control.transport.accept.SILENT_SHARE": 1}
    with HastyDaemon(tmp_path / "home", constants, ["prlimit", "--nofile=64"]) as daemon:
        silent = []
        for _ in range(200):
            silent.append(Wire(daemon))
            if len(silent) % 20 == 0:
                assert daemon.call("status")["daemon"]["pid"] == daemon.pid
        for wire in silent:
            wire.sock.close()
        assert daemon.call("status")["daemon"]["pid"] == daemon.pid
        said = [line for line in daemon.log() if "could not be accepted" in line]
    assert len(said) == 1
    assert not defects(daemon)


def test_replies_that_nobody_takes_are_bounded_together(tmp_path: Path) -> None:
    """When clients together leave too much unread, the one that has done so longest is closed; readers get theirs."""
    failing = tmp_path / "failing"
    failing.mkdir()
    for number in range(500):
        (failing / f"{number:04}-{'long' * 40}.jpg").write_bytes(b"no image")
    with HastyDaemon(tmp_path / "home", {"ingestd.control.transport.server.OWED_MAX": 400_000}) as daemon:
        assert daemon.ingest(failing, name="kept", batch_size=1000, **META)["counts"]["failed"] == 500
        deaf = [Wire(daemon) for _ in range(12)]
        for wire in deaf:  # each leaves what the kernel does not hold of 250 KB with the daemon
            wire.sock.sendall(b'{"id":1,"method":"failed","params":{"job":"kept"}}\n' * 3)
            assert select.select([wire.sock], [], [], 60)[0], "in this order, the first has owed longest"
        with Wire(daemon) as reading:
            for _ in range(3):
                assert len(reading.reply("failed", job="kept")["result"]["rows"]) == 500
        ends = [_reads_to_its_end(wire.sock) for wire in deaf]
        assert not ends[0], "the first was closed before it had its three replies"
        assert ends[-1], "the last was served"
        for wire in deaf:
            wire.sock.close()
    assert not defects(daemon)


def _reads_to_its_end(sock: socket.socket) -> bool:
    """Whether three whole replies came."""
    lines = 0
    try:
        while lines < 3 and (data := sock.recv(1 << 20)):
            lines += data.count(b"\n")
    except ConnectionResetError:
        pass
    return lines == 3


@pytest.mark.parametrize("loss", ["socket", "folder"])
def test_a_socket_that_was_removed_comes_back(tmp_path: Path, loss: str) -> None:
    """A logout removes the runtime folder with the socket in it: after the next login the client finds the daemon."""
    with HastyDaemon(tmp_path / "home", {"ingestd.control.transport.server.LISTENER_S": 0.1}) as daemon:
        place = Path(daemon.socket)
        with Wire(daemon) as connected:
            assert connected.reply("hello")["result"]
            if loss == "folder":
                shutil.rmtree(place.parent)
            else:
                place.unlink()
            daemon.wait_for(place.exists, 30)
            daemon.wait_for(daemon._answers, 30)
            assert connected.reply("hello")["result"], "who was connected stays so"
    assert not place.exists()
    assert not defects(daemon)


def test_two_daemons_do_not_share_a_runtime_folder(tmp_path: Path) -> None:
    """With a state of its own and the same runtime folder, the second is refused; the first keeps its socket."""
    with tempfile.TemporaryDirectory(prefix="run-", dir="/tmp") as folder:
        envs = [
            {"XDG_STATE_HOME": str(tmp_path / name), "XDG_CONFIG_HOME": str(tmp_path / name)}
            | {"XDG_RUNTIME_DIR": folder, "INGESTD_HOME": ""}
            for name in "ab"
        ]
        place = Path(folder) / "ingestd" / "ingestd.sock"
        first = Daemon(tmp_path / "a", envs[0])
        first.home.mkdir()
        with open(first.home / "stderr", "ab") as stderr:
            first.process = subprocess.Popen([sys.executable, "-m", "ingestd"], env=first.env, stderr=stderr)
        try:
            first.wait_for(place.exists, 60)
            identity = place.stat().st_ino
            ended = run_ingestd(tmp_path / "b", env=envs[1])
            assert ended.returncode != 0
            assert "another ingestd listens there" in ended.stderr
            assert place.stat().st_ino == identity
        finally:
            first.end()
    assert first.stderr() == ""


def test_a_request_whose_client_has_gone_is_still_carried_out(shared: Daemon, tmp_path: Path) -> None:
    """``start`` is not cut off halfway when who asked has hung up: the job is there, whole, and is done."""
    write_photos(tmp_path / "orphan", 2)
    with Wire(shared) as gone:
        gone.send(
            json.dumps({"id": 1, "method": "start", "params": {"sources": [str(tmp_path / "orphan")], **META}}).encode()
        )
        gone.send(b"\n")
    shared.wait_for(lambda: any(job["name"] == "orphan" for job in shared.call("status")["jobs"]))
    assert shared.call("wait", job="orphan")["job"]["counts"]["done"] == 2
