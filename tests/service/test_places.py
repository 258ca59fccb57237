"""Where client and daemon meet when a service manager runs the daemon: one place for both, whether logged in or not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from ingestctl import place

from ingestd import paths

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runtime folders of users are Linux's")


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the system's manager would make its folders."""
    for name in ("INGESTD_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "SERVICES", str(tmp_path / "services"))
    monkeypatch.setattr(place, "SERVICES", str(tmp_path / "services"))
    return tmp_path / "services"


@pytest.mark.parametrize("session", [False, True])
def test_the_system_services_folder_is_found(
    services: Path, session: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the service runs its folder is there, and it is what counts; without it all is as ever."""
    import pwd

    if session:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    before = place.socket()
    assert before == str(paths.places().socket)
    (services / pwd.getpwuid(os.getuid()).pw_name).mkdir(parents=True)
    assert place.socket() == str(paths.places().socket)
    assert place.socket().startswith(str(services))
    assert place.socket() != before


def test_a_folder_of_somebody_else_is_not_ours(services: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name alone proves nothing: the owner has to be this user."""
    import pwd

    before = place.socket()
    (services / pwd.getpwuid(os.getuid()).pw_name).mkdir(parents=True)
    owner = os.getuid()
    if owner != 0:
        pytest.skip("NOT TESTED: only root can give a folder to somebody else")
    os.chown(services / pwd.getpwuid(os.getuid()).pw_name, 4321, 4321)
    assert place.socket() == str(paths.places().socket) == before
