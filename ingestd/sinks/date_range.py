"""The dates of a search: RFC 3339 dates or times become one half-open span of moments."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple


class Period(NamedTuple):
    """Moments from ``start`` (inclusive) to ``end`` (exclusive); None is open. Both carry a zone."""

    start: datetime | None
    end: datetime | None


def period(since: str | None, until: str | None) -> Period:
    """From the beginning of ``since`` to the end of ``until``: a date means its whole day, a time that moment.

    What has no zone is read as UTC. Raises ``ValueError`` with a sentence for what is no date.
    """
    return Period(_span(since).start if since else None, _span(until).end if until else None)


def _span(text: str) -> Period:
    try:
        if len(text) == len("2020-01-31"):
            day = date.fromisoformat(text)
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            return Period(start, start + timedelta(days=1))
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text}' is no date: write 2020-01-31 or 2020-01-31T08:00:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    # A moment is the end of a span that still holds it: microseconds are the finest that a payload carries.
    return Period(moment, moment + timedelta(microseconds=1))
