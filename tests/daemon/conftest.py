"""Fixtures: a daemon that a module's tests share, and one of a test's own; both must leave a log without defects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.house import defects
from tests.daemonkit import Daemon


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for the tests of a module that do not disturb each other."""
    with Daemon(tmp_path_factory.mktemp("home")) as daemon:
        yield daemon
    assert not defects(daemon)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of the test's own."""
    with Daemon(tmp_path / "home") as daemon:
        yield daemon
    assert not defects(daemon)
