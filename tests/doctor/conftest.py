"""A healthy home and a sick one, each looked at once for all tests of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ingestd.kinds.sinks import SinkSpec
from ingestd.protocol.work import Step
from tests.ctl.ctlkit import Home, home as make_home
from tests.daemon.house import NOT_ROOT
from tests.doctor.clinic import Books, Findings, examine
from tests.inhibitkit import Inhibitor
from tests.pictures import write_photos
from tests.qdrantkit import QdrantKit

FUTURE_MS = 4_000_000_000_000
"""The year 2096."""


@pytest.fixture(name="home")
def _home() -> Iterator[Home]:
    with make_home() as made:
        yield made


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Findings]:
    """A job with a folder, builtin models, a server that answers, a file; sleep can be held off. No daemon runs."""
    folder = tmp_path_factory.mktemp("healthy")
    write_photos(folder / "photos", 2)
    inhibitor = Inhibitor(folder / "bin")
    server = QdrantKit(folder / "qdrant")
    with make_home() as home:
        books = Books(home)
        sinks = [SinkSpec("qdrant", "qdrant"), SinkSpec("server", "qdrant-server", server.url)]
        sinks.append(SinkSpec("file", "jsonl", str(folder / "items.jsonl")))
        books.add("photos", folder / "photos", sinks=sinks, describe="builtin", embed="builtin", status="paused")
        books.close()
        yield examine(home, env={"PATH": inhibitor.path})
    server.close()
    assert sorted(path.name for path in folder.iterdir()) == ["bin", "photos", "qdrant"], "it left something behind"


@pytest.fixture(scope="session")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Findings]:
    """Everything that can be wrong at once: see the tests."""
    folder = tmp_path_factory.mktemp("sick")
    shut = folder / "shut"
    write_photos(shut, 2)
    inhibitor = Inhibitor(folder / "bin")
    inhibitor.refuses("sleep", "idle")
    with socket.socket() as nobody, make_home() as home:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: the port refuses, and is nobody else's meanwhile
        away = SinkSpec("away", "qdrant-server", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        books = Books(home)
        books.add("shut", shut)
        books.add("lost", folder / "unplugged", status="completed")
        books.add("gone", folder / "gone", changed=FUTURE_MS)
        books.add("delivering", folder, sinks=[away, SinkSpec("file", "jsonl", str(folder / "no" / "items.jsonl"))])
        moved = {"model": "/models/clip", "folder": str(folder / "models" / "clip"), "dim": 8}
        books.add("captions", folder, embed="/models/clip", steps=[Step(0, "embed", "f1", moved)])
        books.add("never", folder, describe="smolvlm")
        (folder / "half").mkdir()
        (folder / "half" / "config.json").write_text("{}")
        books.add("torn", folder, embed=str(folder / "half"))
        books.close()
        (home.folder / "config.toml").write_text('lockdown = "no"\n')
        shut.chmod(0)
        try:
            few = ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh", *NOT_ROOT]
            yield examine(home, prefix=few, env={"PATH": inhibitor.path, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)})
        finally:
            shut.chmod(0o700)
