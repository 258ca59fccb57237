"""The contract suite of executors, run by those that ship.

``python -m pytest --pyargs ingestd.testing.test_executors`` needs no more than an installed wheel and pytest.
"""

from __future__ import annotations

import sys

import pytest
from anyio.abc import TaskGroup

if "ingestd.testing.executor" not in sys.modules:
    pytest.register_assert_rewrite("ingestd.testing.executor")

from ingestd.executors.spawn import SpawnExecutor
from ingestd.testing import sample_children
from ingestd.testing.executor import ExecutorContract
from ingestd.testing.fake_executor import FakeExecutor


class TestSpawn(ExecutorContract):
    """Processes of this machine."""

    def executor(self, tasks: TaskGroup) -> SpawnExecutor:
        return SpawnExecutor(tasks)


class TestFake(ExecutorContract):
    """Threads of this process."""

    def executor(self, tasks: TaskGroup) -> FakeExecutor:
        return FakeExecutor(tasks, {sample_children.MODULE: sample_children.main})
