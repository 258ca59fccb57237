"""A daemon and login sessions that come and go around it: this user's client finds it, in a session and without."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingestctl import daemon_process, locations, rpc

from tests.daemon.house import HastyDaemon

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sessions with a folder are Linux's")

NOBODY = 65534


class Machine:
    """Folders in the place of ``/run/user``, ``/tmp`` and ``/run/ingestd``, for a daemon and for this process as the
    client; as short as those, for a socket's path must be."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.session = folder / "user" / str(os.getuid())
        self.shared = folder / "tmp" / f"ingestd-{os.getuid()}"
        self.session.parent.mkdir()
        self.shared.parent.mkdir()
        self.shared.parent.chmod(0o1777)
        self.constants = {
            "SESSIONS": str(folder / "user"),
            "SHARED": str(folder / "tmp"),
            "SERVICES": str(folder / "s"),
        }
        for name, value in self.constants.items():
            monkeypatch.setattr(locations, name, value)
        for name in ("INGESTD_HOME", "INGESTD_SOCKET", "XDG_RUNTIME_DIR"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, str(folder / "home"))

    def log_in(self) -> None:
        """As sshd and logind do it."""
        self.session.mkdir(mode=0o700)
        self.monkeypatch.setenv("XDG_RUNTIME_DIR", str(self.session))

    def log_out(self) -> None:
        """The last session ends; from now on this process is as cron would start it."""
        shutil.rmtree(self.session)
        self.monkeypatch.delenv("XDG_RUNTIME_DIR")

    def sockets(self) -> list[str]:
        """What daemons left beside empty folders."""
        found = [path for base in (self.session, self.shared) for path in base.rglob("*") if not path.is_dir()]
        return [str(path.relative_to(self.folder)) for path in found]


class Roamer(HastyDaemon):
    """Begun with the environment of the moment, on that machine; found by the client's rule."""

    def __init__(self, machine: Machine) -> None:
        constants = {f"ingestd.paths.{name}": value for name, value in machine.constants.items()}
        super().__init__(machine.folder / "home", constants | {"ingestd.control.transport.server.LISTENER_S": 0.1})
        self.env["INGESTD_HOME"] = ""

    @property
    def socket(self) -> str:
        return locations.socket()

    def is_found(self) -> bool:
        """Whether the client reaches this very daemon, and would not begin another one."""
        try:
            return bool(rpc.call("hello", {})["pid"] == self.pid) and daemon_process.ensure() == ""
        except rpc.Away as away:
            if not away.absent:  # never so: what is in the way of a client is no mere absence
                raise
            return False


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="ing-", dir="/tmp") as folder:
        yield Machine(Path(folder), monkeypatch)


def test_begun_without_a_session(machine: Machine) -> None:
    """What ``@reboot`` began is found from the first moment of a session, under ssh as under su, and can be ended from
    there; it leaves no socket, and the next daemon has the session's place."""
    with Roamer(machine) as daemon:
        began = locations.socket()
        assert began.startswith(str(machine.shared))
        machine.log_in()
        assert daemon.is_found()
        machine.monkeypatch.delenv("XDG_RUNTIME_DIR")
        assert daemon.is_found()
        rpc.call("shutdown", {})
        assert daemon.process is not None
        assert daemon.process.wait(30) == 0
    assert machine.sockets() == []
    with Roamer(machine) as daemon:
        assert locations.socket().startswith(str(machine.session))
        assert daemon.is_found()
    assert machine.sockets() == []


def test_begun_in_a_session(machine: Machine) -> None:
    """It outlives its session: soon cron's client finds it, and the next session's does at once. One socket at a time,
    and none at the end."""
    machine.log_in()
    with Roamer(machine) as daemon:
        assert locations.socket().startswith(str(machine.session))
        machine.log_out()
        daemon.wait_for(daemon.is_found, 30)
        listening = f"tmp/{machine.shared.name}/ingestd/ingestd.sock"
        machine.log_in()
        assert daemon.is_found()
        assert sorted(machine.sockets()) == [listening, f"{listening}.lock"]
    assert machine.sockets() == []
    assert "Traceback" not in daemon.stderr()


def test_a_killed_one_is_in_nobodys_way(machine: Machine) -> None:
    """The socket that it leaves stays the place: the next daemon clears it away, in a session or not, and is found."""
    with Roamer(machine) as killed:
        killed.kill()
    machine.log_in()
    with pytest.raises(rpc.Away, match="no daemon is running") as caught:
        rpc.call("hello", {})
    assert caught.value.absent
    with Roamer(machine) as daemon:
        assert daemon.is_found()
    assert machine.sockets() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away: an impostor was not tested")
def test_an_impostor_where_there_is_no_session(machine: Machine) -> None:
    """Who is first in the shared folder draws no client away from a session; and the daemon, which refuses that place
    after a logout, is back in the next session's."""
    machine.folder.chmod(0o711)
    theirs = machine.shared / "ingestd"
    theirs.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(theirs / "ingestd.sock"))
        listener.listen()
        for path in (machine.shared, theirs, theirs / "ingestd.sock"):
            os.chown(path, NOBODY, NOBODY)
        machine.log_in()
        with Roamer(machine) as daemon:
            assert daemon.is_found()
            machine.log_out()
            daemon.wait_for(lambda: "cannot be put back yet" in Path(locations.log_file()).read_text(), 30)
            machine.log_in()
            daemon.wait_for(daemon.is_found, 30)
        assert (theirs / "ingestd.sock").is_socket()
        assert not list(machine.session.rglob("ingestd.sock*"))
