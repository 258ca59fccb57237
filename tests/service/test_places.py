"""Where client and daemon meet, whether logged in or not, and who runs the daemon: one place for both."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ingestctl import locations

from ingestd import paths

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runtime folders of users are Linux's")


@pytest.fixture
def short() -> Iterator[Path]:
    """A short folder: from pytest's own, which are long, every socket would move under a hash."""
    with tempfile.TemporaryDirectory(prefix="ing-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def services(short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the system's manager would make its folders; no session's folder and no shared one is the machine's."""
    for name in ("INGESTD_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for rule in (paths, locations):
        for constant in ("SERVICES", "SESSIONS", "SHARED"):
            monkeypatch.setattr(rule, constant, str(short / constant.lower()))
    return short / "services"


def own_name() -> str:
    """The name of the user who runs the tests."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        pytest.skip("NOT TESTED: the user who runs the tests has no name, so no service of the system's either")


@pytest.mark.parametrize("session", [False, True])
def test_the_system_services_folder_is_found(
    services: Path, session: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the service runs its folder is there, and it is what counts; without it all is as ever."""
    if session:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    before = locations.socket()
    assert before == str(paths.places().socket)
    (services / own_name()).mkdir(parents=True)
    assert locations.socket() == str(paths.places().socket)
    assert locations.socket().startswith(str(services))
    assert locations.socket() != before


def test_a_folder_of_somebody_else_is_not_ours(services: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name alone proves nothing: the owner has to be this user."""
    before = locations.socket()
    (services / own_name()).mkdir(parents=True)
    owner = os.getuid()
    if owner != 0:
        pytest.skip("NOT TESTED: only root can give a folder to somebody else")
    os.chown(services / own_name(), 4321, 4321)
    assert locations.socket() == str(paths.places().socket) == before


# ------------------------------------------------------------------------------------------------------- login sessions


def same() -> Path:
    """The socket's place, which is the client's and the daemon's."""
    assert locations.socket() == str(paths.places().socket)
    return Path(locations.socket())


def put(door: Path) -> None:
    """What a listening daemon leaves to see; no path is too long for it."""
    door.parent.mkdir(parents=True)
    os.mknod(door, stat.S_IFSOCK | 0o600)


@pytest.fixture(params=["named", "unnamed", "long home"])
def session(services: Path, short: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this user's session, which has not begun; ssh names it in a variable, and su does not."""
    folder = short / "sessions" / str(os.getuid())
    if request.param == "named":
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{folder.parent}/./{folder.name}/")
    if request.param == "long home":
        monkeypatch.setenv("INGESTD_HOME", str(short / ("h" * 100)))
    return folder


def test_a_daemon_from_before_the_session_is_looked_for_where_it_is(session: Path, short: Path) -> None:
    """While a socket lies in the shared folder that is the place; it goes with its daemon, and the session's counts."""
    before = same()
    assert before.is_relative_to(short / "shared" / f"ingestd-{os.getuid()}")
    put(before)
    session.mkdir(parents=True)
    assert same() == before
    before.unlink()
    assert same() == session / before.parent.name / "ingestd.sock"


def another_folder(door: Path) -> None:
    door.parent.parent.rename(door.parents[2] / "elsewhere")
    door.parent.parent.symlink_to("elsewhere")


def another_room(door: Path) -> None:
    door.parent.rename(door.parents[1] / "elsewhere")
    door.parent.symlink_to("elsewhere")


def another_socket(door: Path) -> None:
    door.rename(door.with_name("elsewhere"))
    door.symlink_to("elsewhere")


def a_file(door: Path) -> None:
    door.unlink()
    door.touch()


def somebody_elses(*above: int) -> Callable[[Path], None]:
    def give(door: Path) -> None:
        for level in above:
            os.chown([door, *door.parents][level], 4321, 4321)

    return give


@pytest.mark.parametrize(
    "impostor",
    [another_folder, another_room, another_socket, a_file]
    + [
        pytest.param(
            somebody_elses(*above), id=f"anothers-{above}",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away: an impostor not tested"),
        )
        for above in [(0,), (1,), (2,), (0, 1, 2)]
    ],
)  # fmt: skip
def test_only_this_users_own_socket_leads_away_from_the_session(
    session: Path, impostor: Callable[[Path], None]
) -> None:
    """Everybody may write into the shared folder: links, and what belongs to somebody else at any level, count for
    nothing there."""
    door = same()
    put(door)
    impostor(door)
    session.mkdir(parents=True)
    assert same().is_relative_to(session)


def test_a_folder_that_was_named_is_obeyed(services: Path, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_RUNTIME_DIR with another folder than the session's names a daemon of its own: no other one is found then."""
    put(same())
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    assert same() == short / "ingestd" / "ingestd.sock"


def test_a_socket_follows_its_session_alone(session: Path, short: Path) -> None:
    """What was in the session's folder goes to the shared one with the logout; nothing else ever moves."""
    shared = same()
    session.mkdir(parents=True)
    door = same()
    assert paths.socket_now(door) == door
    session.rmdir()
    assert paths.socket_now(door) == shared
    put(shared)
    session.mkdir()
    assert paths.socket_now(door) == same() == shared, "where clients look, the session's folder being there or not"
    shared.unlink()
    session.rmdir()
    for other in (shared, short / "home" / "run" / "ingestd.sock"):
        session.mkdir()
        assert paths.socket_now(other) == other
        session.rmdir()
        assert paths.socket_now(other) == other
