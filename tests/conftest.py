"""What holds for every test."""

from __future__ import annotations

import os
import shutil
import signal

import hypothesis
import pytest

from tests import isolation

# Before anything else is imported: a library may read the environment when it is.
_home = isolation.isolate(os.environ)

# A suite begun in the background inherits an ignored SIGINT, and so would every client that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Side by side, each process of the suite keeps to a core of its own, and so do the workers that it starts: torch's
# threads wait for each other in a busy loop, which costs several times the work when two suites share the cores.
if (name := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(name.removeprefix("gw")) % len(cores)]})

# An example that took long took it from another test: machines are shared.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

LONGEST = (
    "tests/chaos/",
    "test_readme",
    "test_real_models",
    "daemon/test_search",
    "daemon/test_jobs",
    "test_demo",
    "transformers/test_parity",
    "daemon/test_qdrant_server",
    "sinks/qdrant/test_server_sink",
    "worker/test_builtin",
    "tests/fuzz/",
    "tests/system/",
)
"""Files that begin first: one that took a minute and came last would keep a core to itself."""


def pytest_collection() -> None:
    # Not before: the processes of xdist, which have been started by now, read it as well.
    isolation.forget_pytest(os.environ)


def pytest_unconfigure() -> None:
    shutil.rmtree(_home, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((n for n, part in enumerate(LONGEST) if part in item.nodeid), len(LONGEST)))
