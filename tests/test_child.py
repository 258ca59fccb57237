"""How a child's errors become messages: what the daemon decides by is the kind, not the class."""

from __future__ import annotations

import pytest

from ingestd.child import fatal
from ingestd.errors import AlreadyRunning, IngestError, Misconfigured, Unavailable


class ServerAway(Unavailable):
    """A sink of another package may tell its own troubles apart."""


class WrongKey(Misconfigured):
    """Likewise for what a person must change."""


class ServerAwayAtNight(ServerAway):
    """However deep."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unavailable, "unavailable"),
        (ServerAway, "unavailable"),
        (ServerAwayAtNight, "unavailable"),
        (Misconfigured, "misconfigured"),
        (WrongKey, "misconfigured"),
        (IngestError, "crash"),
        (AlreadyRunning, "crash"),
    ],
)
@pytest.mark.parametrize("child", ["sink", "worker"])
def test_a_subclass_is_of_its_bases_kind(error: type[IngestError], kind: str, child: str) -> None:
    """A subclass of ``Unavailable`` is waited out and one of ``Misconfigured`` stops the job; neither is a crash."""
    message = fatal(error("no route", operation="reach", object="the server", remedy="Start it"), child)
    assert message.kind == kind
    assert (message.message, message.operation, message.object, message.remedy) == (
        "no route",
        "reach",
        "the server",
        "Start it",
    )
