"""What holds for every test."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest

# A suite begun in the background inherits an ignored SIGINT, and so would every client that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Side by side, torch gets one thread, here and in the workers that tests start: its threads wait for each other in a
# busy loop, which costs several times the work when more of them run than there are cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

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
    "test_qdrant_server",
    "worker/test_builtin",
    "tests/fuzz/",
    "tests/system/",
)
"""Files that begin first: one that took a minute and came last would keep a core to itself."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((n for n, part in enumerate(LONGEST) if part in item.nodeid), len(LONGEST)))
