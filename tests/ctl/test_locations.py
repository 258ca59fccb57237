"""Where the client looks for the daemon: the same places as the daemon's own rule."""

from __future__ import annotations

import sys

import pytest
from ingestctl import locations

from ingestd import paths

LONG = "/tmp/" + "long/" * 30


ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"INGESTD_HOME": "/srv/ingest"},
    {"INGESTD_HOME": "~/ingest"},
    {"INGESTD_HOME": "relative/../folder//x/"},
    {"INGESTD_HOME": LONG},
    {"INGESTD_HOME": LONG, "XDG_RUNTIME_DIR": "/tmp"},
    {"INGESTD_HOME": "/tmp/" + "ö" * 45},
    {"INGESTD_HOME": "/tmp/\udcff" + "x" * 80},
    {"INGESTD_HOME": "", "XDG_STATE_HOME": "/state//a/./b/"},
    {"XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c", "XDG_RUNTIME_DIR": "/tmp"},
    {"XDG_RUNTIME_DIR": "/not/there"},
    {"XDG_RUNTIME_DIR": "//tmp/./"},
    {"XDG_RUNTIME_DIR": "/tmp" + "/." * 60},
    {"HOME": LONG, "XDG_RUNTIME_DIR": ""},
    {"HOME": "/home/ü/"},
]


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_place_is_the_daemons(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], platform: str) -> None:
    """Client and daemon find each other by the environment alone: the two rules give the same bytes."""
    for name in ("INGESTD_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    daemon = paths.places()
    ours = (locations.state(), locations.socket(), locations.log(), locations.log_file(), locations.config())
    assert ours == tuple(str(at) for at in (daemon.state, daemon.socket, daemon.log, daemon.log_file, daemon.config))
    assert locations.MAX_SOCKET_PATH == paths.MAX_SOCKET_PATH
