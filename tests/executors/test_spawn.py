"""What is true of processes alone: their environment, their output's pipes, their group."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import psutil
import pytest

from ingestd.executors import spawn
from ingestd.executors.base import ChildSpec, Ending
from ingestd.executors.spawn import Spawned, SpawnExecutor
from ingestd.testing.sample_children import FromTestChild, ToTestChild

START = """
import os, subprocess, sys, time
fd = int(sys.argv[sys.argv.index("--fd") + 1])
"""


class Run:
    """One child, from its start to its end."""

    def __init__(self) -> None:
        self.child: Spawned | None = None
        self.endings: list[Ending] = []
        self.lines: list[str] = []
        self.seen = anyio.Event()

    def line(self, stream: str, line: str) -> None:
        self.lines.append(line)
        self.seen.set()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Make a module that a child can be."""

    def make(code: str) -> str:
        (tmp_path / "childs_code.py").write_text(START + code)
        return "childs_code"

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    return make


def play(module: str, scene: Callable[[Run], Awaitable[None]] | None = None, **spec: object) -> Run:
    """Run a child to its end."""

    async def main() -> Run:
        run = Run()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                what = ChildSpec(module, "child", ToTestChild, FromTestChild, **spec)  # type: ignore[arg-type]
                run.child = SpawnExecutor(tasks).start(what, lambda _: None, run.endings.append, on_line=run.line)
                if scene is not None:
                    await scene(run)
        return run

    return anyio.run(main)


def test_it_gets_its_own_secrets_and_no_others(module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``ChildSpec.secrets`` are the names of those that it needs."""
    monkeypatch.setenv("INGESTD_QDRANT_KEY", "hers")
    monkeypatch.setenv("SOMEBODYS_TOKEN", "his")
    code = "print([os.environ.get(name) for name in ('INGESTD_QDRANT_KEY', 'SOMEBODYS_TOKEN')])"
    run = play(module(code), secrets=frozenset(("INGESTD_QDRANT_KEY",)))
    assert run.lines == ["['hers', None]"]
    assert run.endings[0].clean


def test_a_child_that_closes_its_socket_and_goes_on_is_ended(
    module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hears it any more, so nobody would ever end it."""
    monkeypatch.setattr(spawn, "EXIT_S", 0.2)
    run = play(module("os.close(fd)\nwhile True: time.sleep(3600)"))
    assert "it closed its socket and went on" in run.endings[0].cause()


def test_a_grandchild_that_holds_its_output_open_keeps_nobody(
    module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the child itself has printed is heard; its end does not wait for a program that it left behind."""
    monkeypatch.setattr(spawn, "PRINTED_S", 0.2)
    code = """
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
print(left.pid, flush=True)
"""
    run = play(module(code))
    assert run.endings[0].clean
    left = psutil.Process(int(run.lines[0]))
    left.kill()


def test_kill_ends_its_whole_group(module: Callable[[str], str]) -> None:
    """Programs that a library has started go with it."""
    code = """
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print(helper.pid, flush=True)
time.sleep(3600)
"""

    async def scene(run: Run) -> None:
        await run.seen.wait()
        assert run.child is not None
        helper = psutil.Process(int(run.lines[0]))
        assert run.child.facts["pid"] == helper.ppid()
        run.child.kill()
        while helper.is_running() and helper.status() != psutil.STATUS_ZOMBIE:
            await anyio.sleep(0.01)

    run = play(module(code), scene)
    assert run.endings[0].cause() == "it was ended by SIGKILL"


def test_a_process_that_cannot_be_made_is_an_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has no memory or no processes left: the cause is the system's own words."""
    monkeypatch.setattr(spawn.sys, "executable", "/nonexistent/python")
    run = play("childs_code")
    assert (run.endings[0].code, run.child.facts if run.child else None) == (1, {})
    assert "/nonexistent/python" in run.endings[0].cause()
