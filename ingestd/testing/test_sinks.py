"""The contract suite of sinks, run by the fake and by one that ships and needs no other library.

``python -m pytest --pyargs ingestd.testing.test_sinks`` needs no more than an installed wheel and pytest.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if "ingestd.testing.sink" not in sys.modules:
    pytest.register_assert_rewrite("ingestd.testing.sink")

from ingestd.testing.sink import DocumentContract
from ingestd.testing.sink_places import FakePlace, JsonlPlace, SinkPlace


class TestFakeSink(DocumentContract):
    """The fake, which others test with."""

    def make_place(self, folder: Path) -> SinkPlace:
        return FakePlace(folder)


class TestJsonlSink(DocumentContract):
    """The file of JSON lines, which needs nothing else."""

    def make_place(self, folder: Path) -> SinkPlace:
        return JsonlPlace(folder)
