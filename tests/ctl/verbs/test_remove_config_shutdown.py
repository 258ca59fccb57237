"""``remove``, ``config`` and ``shutdown``."""

from __future__ import annotations

import json
import threading
from typing import Any

from ingestd.protocol import control as c
from tests.ctl.ctlkit import UUID, Home, until


def test_remove_config_shutdown(home: Home) -> None:
    """The small verbs print what is now true; ``shutdown`` returns when the daemon's process is gone."""
    daemon = home.daemon(
        remove=c.RemoveReply("photos", UUID, 12345, ["/home/u/photos.jsonl"]),
        config=c.ConfigReply([c.ConfigRow("workers", "1", "default"), c.ConfigRow("x", "2", "environment")]),
        hello=c.HelloReply(c.PROTOCOL, "0.1.0", 2**22 + 1),
    )
    assert home.run("remove", "photos").out == "photos: removed, 12,345 items forgotten\n  kept  /home/u/photos.jsonl\n"
    places = {"state": "state", "socket": "run/ingestd.sock", "log": "log/ingestd.log", "file": "config.toml"}
    told = "".join(f"{key:<7}  {home.folder}/{place}\n" for key, place in places.items())
    assert home.run("config").out == f"workers  1  default\nx        2  environment\n\n{told}"
    assert json.loads(home.run("config", "--json").out)["places"]["socket"] == str(home.socket)

    def end_soon(_: Any) -> c.ShutdownReply:
        threading.Timer(0.2, daemon.end).start()
        return c.ShutdownReply(2**22 + 1)

    def end_now(_: Any) -> None:
        daemon.end()
        raise OSError

    for ending in (end_soon, end_now):
        daemon.replies["shutdown"] = ending
        ran = home.run("shutdown")
        assert (ran.code, ran.out) == (0, f"the daemon (pid {2**22 + 1}) has ended\n"), ran
        until(lambda: not daemon.alive)
        daemon.begin()


def test_shutdown_without_a_daemon_is_no_error(home: Home) -> None:
    """What was asked for is true already."""
    ran = home.run("shutdown")
    assert (ran.code, ran.out, ran.err) == (0, "", "no daemon is running\n")
