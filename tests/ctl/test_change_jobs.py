"""``pause``, ``resume`` and ``stop``: what is asked, and the status that is printed."""

from __future__ import annotations

import pytest

from ingestd.protocol import control as c
from tests.ctl.ctlkit import UUID, Home


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
def test_control_verbs_say_what_is_now_true(home: Home, verb: str) -> None:
    """The new status is printed; a repetition is no error; who asked is passed on."""
    daemon = home.daemon(
        **{verb: c.ChangeReply([c.JobChange("photos", UUID, "paused", True), c.JobChange("b", "u2", "paused", False)])}
    )
    ran = home.run(verb, "--all")
    assert (ran.code, ran.out) == (0, "photos: paused\nb: was already paused\n"), ran
    home.run(verb, "photos")
    params = c.VERBS[verb][0]
    assert daemon.asked(verb) == [params(all=True, actor="ada"), params(job="photos", actor="ada")]
    assert home.run(verb, "photos", "--all").code == 2
