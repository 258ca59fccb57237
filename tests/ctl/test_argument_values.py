"""What was typed, as it is sent: dates, paths."""

from __future__ import annotations

import pytest
from ingestctl import argument_values

from tests.ctl.ctlkit import Home


@pytest.mark.parametrize(
    ("typed", "first", "last"),
    [
        ("2024", "2024-01-01T00:00:00Z", "2024-12-31T23:59:59.999999Z"),
        ("2023-12", "2023-12-01T00:00:00Z", "2023-12-31T23:59:59.999999Z"),
        ("2024-02", "2024-02-01T00:00:00Z", "2024-02-29T23:59:59.999999Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z", "2024-02-29T23:59:59.999999Z"),
        ("2024-05-17T18:30:00Z", "2024-05-17T18:30:00Z", "2024-05-17T18:30:00Z"),
        ("2024-05-17T18:30:00+02:00", "2024-05-17T16:30:00Z", "2024-05-17T16:30:00Z"),
        ("2024-05-17 18:30", "2024-05-17T18:30:00Z", "2024-05-17T18:30:00Z"),
    ],
)
def test_dates(typed: str, first: str, last: str) -> None:
    """``--since`` means the first moment of what was typed, ``--until`` the last: a named day is included."""
    assert (argument_values.since(typed), argument_values.until(typed)) == (first, last)


@pytest.mark.parametrize(
    "words",
    [["start", ""], ["show", ""], ["search", "x", "--path", ""], ["retry", "photos", ""], ["start", "x", "--name", ""]],
)
def test_an_empty_path_is_not_this_folder(home: Home, words: list[str]) -> None:
    """What a script's unset variable leaves is refused, before any daemon is asked."""
    daemon = home.daemon()
    ran = home.run(*words)
    assert (ran.code, ran.out) == (2, ""), ran
    assert not [verb for verb, _ in daemon.requests if verb != "hello"]
