"""The sandbox that all of these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.sandbox import Refused, Sandbox
from tests.system.unit import Unit


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Booted, with this checkout's wheel in it, and ``tester`` who lingers."""
    folder = tmp_path_factory.mktemp("sandbox")
    made = Sandbox(folder / "log")
    try:
        try:
            made.start()
        except Refused as reason:
            pytest.skip(f"no real systemd to test against: {reason}")
        made.install(folder / "dist")
        made.add_user("tester", 4321, linger=True)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module", params=["system", "user"])
def unit(sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Unit]:
    """The system's service for ``tester``, then that user's own; installed and started as a person does it."""
    made = Unit(sandbox, request.param)
    made.install()
    yield made
    made.uninstall()
    sandbox.run("rm", "-r", f"{made.home}/.local/state/ingestd")  # what uninstalling leaves: the jobs
