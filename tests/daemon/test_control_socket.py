"""The control socket takes whatever bytes come: each request gets its answer, and the daemon goes on."""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
import time
from pathlib import Path

import pytest

from ingestd.errors import EX_CONFIG
from ingestd.protocol.rpc import MAX_CLIENTS
from tests.daemon.house import HastyDaemon, Wire, defects, run_ingestd
from tests.daemonkit import META, Daemon
from tests.pictures import write_photos

PARSE, INVALID, UNKNOWN, PARAMS, OURS = -32700, -32600, -32601, -32602, -32000


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", PARSE),
        (b"hello", PARSE),
        (b'{"method": "\xff\xfe"}', PARSE),
        (b"\x00\x01\x02", PARSE),
        (b'{"method": "hello", "params": ' + b"[" * 9000 + b"]" * 9000 + b"}", PARSE),
        (b"[]", INVALID),
        (b'"status"', INVALID),
        (b"7", INVALID),
        (b"{}", INVALID),
        (b'{"method": 7, "id": 1}', INVALID),
        (b'{"method": "hello", "id": 1e300}', INVALID),
        (b'{"method": "hello", "id": 1%s}' % (b"0" * 30), INVALID),
        (b'{"method": "hello", "id": {"a": 1}}', INVALID),
        (b'{"method": "dance", "id": 1}', UNKNOWN),
        (b'{"method": "status", "id": 1, "params": []}', PARAMS),
        (b'{"method": "status", "id": 1, "params": {"jobb": "x"}}', PARAMS),
        (b'{"method": "status", "id": 1, "params": {"job": 7}}', PARAMS),
        (b'{"method": "status", "id": 1, "params": null}', PARAMS),
        (b'{"method": "remove", "id": 1}', PARAMS),
        (b'{"method": "show", "id": 1, "params": {"path": {"b64": "!"}}}', PARAMS),
        (b'{"method": "subscribe", "id": 1, "params": {"x": 1}}', PARAMS),
        (b'{"method": "subscribe", "id": 1, "params": {"job": "nobody"}}', OURS),
        (b'{"method": "failed", "id": 1, "params": {"job": "nobody"}}', OURS),
    ],
)
def test_a_bad_request_gets_a_framed_error(shared: Daemon, line: bytes, code: int) -> None:
    """Every bad line is answered with its code and a remedy, and the same connection goes on."""
    with Wire(shared) as wire:
        wire.send(line + b"\n")
        answer = wire.line()
        assert answer is not None
        assert answer["error"]["code"] == code, answer
        assert answer["error"]["data"]["remedy"]
        assert wire.reply("hello")["result"]["pid"] == shared.pid


def test_an_unknown_verb_is_told_the_verbs(shared: Daemon) -> None:
    """The error of a mistyped verb lists those that there are."""
    with Wire(shared) as wire:
        message = wire.reply("statsu")["error"]["message"]
    assert "status" in message
    assert "subscribe" in message


def test_a_line_of_70_kb_is_refused_once(shared: Daemon) -> None:
    """A line over 64 KiB is one error, however it arrives, and the next request is answered."""
    with Wire(shared) as wire:
        wire.send(b"x" * 35_000)
        time.sleep(0.05)
        wire.send(b"x" * 35_000 + b"\n")
        first = wire.line()
        assert first is not None
        assert first["error"]["code"] == INVALID
        assert "65536" in first["error"]["message"]
        assert wire.reply("hello")["id"] == 1


def test_requests_in_one_packet_and_in_pieces(shared: Daemon) -> None:
    """The stream has no packets: several requests in one, or one in several, are all answered in order."""
    with Wire(shared) as wire:
        requests = [json.dumps({"id": n, "method": "hello", "params": {}}).encode() for n in (1, 2, 3)]
        wire.send(b"\n".join(requests) + b"\r\n\n  \n")
        assert [(wire.line() or {})["id"] for _ in requests] == [1, 2, 3]
        for byte in b'{"id": "slow", "method": "hello"}\n':
            wire.send(bytes([byte]))
        assert (wire.line() or {})["id"] == "slow"


def test_a_half_closed_connection_is_answered(shared: Daemon) -> None:
    """``printf … | socat``: a request without newline before the end of the stream is answered, then the end."""
    with Wire(shared) as wire:
        wire.send(b'{"id": 5, "method": "hello"}')
        wire.sock.shutdown(socket.SHUT_WR)
        assert (wire.line() or {})["id"] == 5
        assert wire.line() is None


def test_a_notification_gets_no_reply(shared: Daemon) -> None:
    """A request without id is carried out and not answered."""
    with Wire(shared) as wire:
        wire.ask("status", ident=None)
        wire.ask("dance", ident=None)
        wire.ask("hello", ident=9)
        assert (wire.line() or {})["id"] == 9


def test_a_client_without_a_whole_line_is_closed(tmp_path: Path) -> None:
    """The bound holds for the first whole line: neither silence nor a byte now and then keeps a place."""
    constants = {"ingestd.protocol.rpc.FIRST_LINE_S": 0.5}
    with (
        HastyDaemon(tmp_path / "home", constants) as daemon,
        Wire(daemon) as silent,
        Wire(daemon) as dripping,
        Wire(daemon) as asking,
    ):
        assert "result" in asking.reply("hello")
        began = time.monotonic()
        dripped = False
        while time.monotonic() - began < 20 and not dripped:
            try:
                dripping.send(b"x")
                time.sleep(0.05)
            except (BrokenPipeError, ConnectionResetError):
                dripped = True
        assert dripped
        assert silent.line() is None
        assert "result" in asking.reply("hello"), "who has asked once may be silent"
    assert not defects(daemon)


def test_a_client_that_does_not_read_stops_nobody(shared: Daemon, tmp_path: Path) -> None:
    """Replies that nobody fetches fill one connection's buffer; the others are answered."""
    write_photos(tmp_path / "unread", 1)
    shared.ingest(tmp_path / "unread", **META)
    with Wire(shared) as deaf:
        deaf.sock.setblocking(False)
        request = json.dumps({"id": 1, "method": "status", "params": {}}).encode() + b"\n"
        sent = 0
        try:
            while sent < 5_000_000:
                sent += deaf.sock.send(request * 100)
        except BlockingIOError:
            pass  # the daemon reads no further requests of one who takes no replies
        assert sent < 5_000_000
        began = time.monotonic()
        assert shared.call("hello")["pid"] == shared.pid
        assert time.monotonic() - began < 5


def test_the_socket_is_for_this_user_alone(shared: Daemon) -> None:
    """Socket 0600 in a folder 0700, whatever the umask was."""
    place = os.lstat(shared.socket)
    assert stat.S_ISSOCK(place.st_mode)
    assert stat.S_IMODE(place.st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(shared.socket)).st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user: the peer's uid was not tested")
def test_another_user_is_turned_away(shared: Daemon) -> None:
    """The kernel says who is at the other end: another user's connection is closed without an answer."""
    run = Path(shared.socket).parent
    opened = [path for path in (run, *run.parents) if path.stat().st_uid == os.getuid() and path != Path("/")]
    modes = [(path, stat.S_IMODE(path.stat().st_mode)) for path in (*opened, Path(shared.socket))]
    pid = -1
    try:
        for path, mode in modes:
            os.chmod(path, mode | 0o7)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(20)
                sock.connect(shared.socket)
                try:
                    sock.sendall(b'{"id": 1, "method": "hello"}\n')
                    code = 0 if sock.recv(100) == b"" else 2
                except (BrokenPipeError, ConnectionResetError):
                    code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        for path, mode in modes:
            os.chmod(path, mode)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """What a killed daemon left behind does not keep the next one from listening."""
    daemon = Daemon(tmp_path / "home")
    daemon.start()
    daemon.kill()
    assert os.path.exists(daemon.socket)
    daemon.start()
    assert daemon.call("hello")["pid"] == daemon.pid
    daemon.end()
    assert not os.path.exists(daemon.socket)
    assert not defects(daemon)


def test_a_file_in_the_sockets_place_is_not_removed(tmp_path: Path) -> None:
    """Something that is no socket is somebody's: the daemon says so, exits with EX_CONFIG, and leaves it."""
    home = tmp_path / "home"
    place = Path(Daemon(home).socket)
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    ended = run_ingestd(home)
    assert ended.returncode == EX_CONFIG
    assert f"cannot listen on {place}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert place.read_text() == "mine"


def test_a_folder_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    """In a world-writable folder another user could put a socket of his own in ours' place."""
    home = tmp_path / "home"
    run = Path(Daemon(home).socket).parent
    run.mkdir(parents=True)
    os.chmod(run, 0o777)
    ended = run_ingestd(home)
    assert ended.returncode == EX_CONFIG
    assert "everybody may write it" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_long_home_moves_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of 150 characters does not fit ``sun_path``: the socket lies in the runtime folder, and works."""
    home = tmp_path / ("h" * max(1, 150 - len(str(tmp_path))))
    with tempfile.TemporaryDirectory(prefix="run-", dir="/tmp") as folder:  # as short as a real one
        _long_home(home, Path(folder), monkeypatch)


def _long_home(home: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with Daemon(home) as daemon:
        place = Path(daemon.socket)
        assert place.parent.parent == runtime
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert not place.exists()
    assert not defects(daemon)


def test_clients_that_went_give_their_places_first(daemon: Daemon, tmp_path: Path) -> None:
    """Whoever asked to wait and went away still holds a place: one that looks on is not closed for it."""
    write_photos(tmp_path / "photos", 5)
    daemon.call("start", sources=[str(tmp_path / "photos")], cooldown="60", batch_size=1, **META)
    with Wire(daemon) as looking:
        assert looking.reply("subscribe")["result"]
        for _ in range(MAX_CLIENTS + 5):
            with Wire(daemon) as waiting:
                waiting.ask("wait", job="photos")
        daemon.call("pause")
        while (event := looking.line()) is not None:
            if event["params"]["job"]["status"] == "paused":
                break
        assert event is not None, "it was closed"
