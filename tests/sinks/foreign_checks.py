"""The check of the cards, as another package would bring it."""

from __future__ import annotations

from pathlib import Path

from ingestd.errors import Unavailable
from ingestd.protocol.sink import SinkSetup
from ingestd.sinks.base import Checked


def check(setup: SinkSetup, served: bool) -> Checked:
    place = Path(setup.place)
    match place.name:
        case "away":
            raise Unavailable("nobody is there", operation="open", object=str(place), remedy="Call somebody")
        case "broken":
            raise ZeroDivisionError("no luck")
    count = len(list(place.glob("*.card")))
    return Checked("ok" if count else "warn", f"{place}: {count} cards", "" if count else "Wait for the first one")
