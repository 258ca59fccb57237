"""What holds for every test."""

from __future__ import annotations

import os
import signal
from collections import Counter

import hypothesis
import pytest

# A suite begun in the background inherits an ignored SIGINT, and so would every client that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What this machine tells pip (an index, a constraint, a folder of wheels) is its own: tests that run pip say all of it.
for variable in [name for name in os.environ if name.startswith("PIP_")]:
    del os.environ[variable]
os.environ["PIP_CONFIG_FILE"] = os.devnull

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With ``INGESTD_SKIPPED=FILE``, what was not tested and why goes there, a line each with its count."""
    if not (place := os.environ.get("INGESTD_SKIPPED")):
        return
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    lines = [f"{count:5}  {reason}" for reason, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))]
    with open(place, "w", encoding="utf-8") as file:
        file.write("\n".join([f"skipped: {len(reports)}", *lines]) + "\n")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((n for n, part in enumerate(LONGEST) if part in item.nodeid), len(LONGEST)))
