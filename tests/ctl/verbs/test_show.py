"""``show``: one file, asked for by its absolute path."""

from __future__ import annotations

import base64

from ingestd.protocol import control as c
from ingestd.protocol.pathtext import PathB64
from tests.ctl.ctlkit import Home, shown


def test_show(home: Home) -> None:
    """A relative path is asked for absolutely; file, results and copies are shown."""
    daemon = home.daemon(show=shown())
    ran = home.run("show", "a.jpg")
    assert daemon.asked("show") == [c.Show(path=f"{home.cwd}/a.jpg")]
    for words in (
        "done, job photos",
        "4000 × 3000",
        "camera: X100",
        "text: a cat\\x1b[31m",
        "tags: tabby 0.61, lynx 0.10",
        "and 4 more",
    ):
        assert words in ran.out, ran


def test_base64_is_for_what_is_not_utf8(home: Home) -> None:
    """A path that is no UTF-8 arrives with its true bytes."""
    daemon = home.daemon(show=shown())
    assert home.run("show", b"/p/\xff\xfe.jpg").code == 0
    assert daemon.asked("show") == [c.Show(path=PathB64(base64.b64encode(b"/p/\xff\xfe.jpg").decode()))]
