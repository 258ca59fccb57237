"""The connection to the daemon: none, one that ends, one that answers with an error."""

from __future__ import annotations

from typing import Any

import pytest
from ingestctl.main import ALONE, VERBS

from ingestd import errors
from ingestd.protocol import rpc
from tests.ctl.ctlkit import Home, refuse


def test_exit_codes_are_the_daemons() -> None:
    """The table of exit codes exists twice, and is one."""
    from ingestctl import rpc

    names = [name for name in vars(errors) if name.startswith("EXIT_")]
    assert {name: getattr(errors, name) for name in names} == {name: getattr(rpc, name) for name in names}


ARGUMENTS = {"show": ["x"], "search": ["cat"], "remove": ["photos"]}


@pytest.mark.parametrize("verb", sorted(set(VERBS) - ALONE - {"start", "status", "config", "shutdown", "logs"}))
def test_without_a_daemon(home: Home, verb: str) -> None:
    """Exit 4, with what to do."""
    ran = home.run(verb, *ARGUMENTS.get(verb, []))
    assert (ran.code, ran.out) == (4, ""), ran
    assert ran.err.startswith("Error: cannot reach the daemon: no daemon is running")
    assert ran.err.endswith("Try: start it with: ingestctl start\n")


def test_a_daemon_that_dies_in_the_middle(home: Home) -> None:
    """A connection that ends without an answer is exit 4, not a traceback."""
    daemon = home.daemon()

    def die(_: Any) -> None:
        daemon.end()
        raise OSError

    daemon.replies["summary"] = die
    ran = home.run("summary")
    assert ran.code == 4, ran
    assert "Traceback" not in ran.err


def test_a_folder_that_may_not_be_entered(home: Home) -> None:
    """Not every failure to connect means that no daemon runs."""
    home.socket.parent.mkdir()
    (home.socket.parent / "x").touch()
    home.socket.symlink_to(home.socket)
    ran = home.run("status")
    assert ran.code == 4
    assert "INGESTD_HOME" in ran.err


def test_errors_say_operation_object_remedy(home: Home) -> None:
    """The daemon's error is shown in two lines and decides the exit code."""
    home.daemon(pause=refuse("two jobs are active: a, b", "pause", "the job", "name one: ingestctl pause a", 2))
    ran = home.run("pause")
    expected = "Error: cannot pause the job: two jobs are active: a, b\nTry: name one: ingestctl pause a\n"
    assert (ran.code, ran.out, ran.err) == (2, "", expected)


def test_an_error_without_data_still_has_a_way_on(home: Home) -> None:
    """A daemon that is older than the client answers in JSON-RPC's own codes."""
    home.daemon(summary=rpc.Error(rpc.UNKNOWN_METHOD, "no such method"))
    ran = home.run("summary")
    assert ran.code == 1
    assert "Try: the daemon is older than this client" in ran.err
