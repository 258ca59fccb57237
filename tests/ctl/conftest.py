"""The client's own fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ctl.ctlkit import Home, home


@pytest.fixture(name="home")
def _home() -> Iterator[Home]:
    with home() as made:
        yield made
