"""The contract suite of executors, run by those that ship. It is part of the package; here it runs with the others."""

from __future__ import annotations

from ingestd.testing.test_executors import TestFake, TestSpawn

__all__ = ["TestFake", "TestSpawn"]
