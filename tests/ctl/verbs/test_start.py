"""``start``: what is asked of the daemon, lists from stdin, following to the end, starting a daemon."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ingestd.protocol import control as c
from ingestd.protocol.pathtext import PathB64
from tests.ctl.ctlkit import (
    UUID,
    FakeDaemon,
    Home,
    daemon_status,
    finished,
    job,
    on_terminal,
    plain,
    refuse,
    until,
)


def started(status: c.JobStatus | None = None, outcome: str = "created") -> c.StartReply:
    return c.StartReply(outcome, status or job(), ["the model runs on the processor"])


def test_start_sends_only_what_was_typed(home: Home) -> None:
    """A field that was not given by hand is left out: it must not be compared with what a known job has."""
    daemon = home.daemon(start=started())
    ran = home.run("start", "a/../b", b"/n\xff")
    assert ran.code == 0, ran
    raw = {"b64": base64.b64encode(b"/n\xff").decode()}
    assert daemon.asked("start") == [c.Start(sources=[f"{home.cwd}/b", PathB64(raw["b64"])], actor="ada")]
    assert ran.out == (
        "photos: created\n  source  /photos\n  qdrant  /state/sinks/u/qdrant\n  jsonl   /state/sinks/u/photos.jsonl\n"
    )
    assert ran.err == "Note: the model runs on the processor\nlook on with: ingestctl status --watch\n"


def test_a_sinks_file_at_home(home: Home) -> None:
    """No shell expands ``~`` behind a colon, and a folder named ``~`` is what nobody means."""
    daemon = home.daemon(start=started())
    assert home.run("start", "/p", "--sink", "jsonl:~/x.jsonl", env={"HOME": "/home/ada"}).code == 0
    (asked,) = daemon.asked("start")
    assert asked.sinks == ["jsonl:/home/ada/x.jsonl"]


def test_start_sends_all_that_was_typed(home: Home) -> None:
    """Every flag arrives; relative files of sinks and models are made absolute, names are left alone."""
    daemon = home.daemon(start=started())
    words = "/p --name n --describe builtin --embed ./clip --batch-size 10 --cooldown auto --workers 2 --limit 1,000"
    words += " --include *.jpg --include *.png --exclude tmp --sink qdrant --sink jsonl:out/x.jsonl /q"
    words += " --embed-text minilm --prompt Why? --max-tokens 40 --temperature 0.5 --seed 0 --exact --passes 1"
    words += " --device cuda:1 --concurrency 8"
    ran = home.run("start", *words.split())
    assert ran.code == 0, ran
    assert daemon.asked("start") == [
        c.Start(
            sources=["/p", "/q"],
            name="n",
            describe="builtin",
            embed=f"{home.cwd}/clip",
            batch_size=10,
            cooldown="auto",
            workers=2,
            limit=1000,
            include=["*.jpg", "*.png"],
            exclude=["tmp"],
            sinks=["qdrant", f"jsonl:{home.cwd}/out/x.jsonl"],
            embed_text="minilm",
            prompt="Why?",
            max_tokens=40,
            temperature=0.5,
            seed=0,
            exact=True,
            passes=1,
            device="cuda:1",
            concurrency=8,
            actor="ada",
        )
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["/p", "-"],
        ["-0", "/p"],
        ["/p", "--limit", "0"],
        ["/p", "--cooldown", "soon"],
        ["/p", "--cooldown", "-1"],
        ["--name", "x"],
        ["/p", "--nam", "x"],
        ["/p", "--include", b"\xff"],
        ["/p" * 40_000],
        ["-"],
    ],
)
def test_usage_errors(home: Home, words: list[Any]) -> None:
    """What cannot be meant exits with 2, says why, and starts no daemon."""
    ran = home.run("start", *words)
    assert (ran.code, ran.out) == (2, ""), ran
    assert "rror: " in ran.err
    assert not home.socket.exists()


@pytest.mark.parametrize(("flag", "separator", "suffix"), [([], b"\n", "list"), (["-0"], b"\0", "nul")])
def test_a_list_from_stdin_is_spooled(home: Home, flag: list[str], separator: bytes, suffix: str) -> None:
    """Paths are made absolute byte by byte, whole and once on the disk, before the daemon hears of them."""
    daemon = home.daemon(start=started())
    names = [b"/p/a.jpg", b"b \xff.jpg", b"./sub/../c.jpg", b"", b"/p//d.jpg"]
    names += [b"new\nline.jpg"] if flag else []
    ran = home.run("start", *flag, "-", stdin=separator.join(names))
    assert ran.code == 0, ran
    here = os.fsencode(home.cwd)
    wanted = [b"/p/a.jpg", here + b"/b \xff.jpg", here + b"/c.jpg", b"/p/d.jpg"] + [here + b"/new\nline.jpg"] * len(
        flag
    )
    (asked,) = daemon.asked("start")
    spooled = Path(asked.list_file).read_bytes()
    assert spooled == b"".join(name + separator for name in wanted)
    assert asked.list_sha256 == hashlib.sha256(spooled).hexdigest()
    assert asked.list_file == f"{home.folder}/state/spool/list-{asked.list_sha256[:16]}.{suffix}"
    assert len(os.listdir(home.folder / "state" / "spool")) == 1
    assert f"read {len(wanted)} paths from stdin" in ran.err


def test_an_empty_line_from_windows_is_no_path(home: Home) -> None:
    """Made absolute, it would be the folder where the client stands, and everything in it would be taken."""
    daemon = home.daemon(start=started())
    assert home.run("start", "-", stdin=b"/p/a.jpg\r\n\r\n/p/b.jpg\r\n\r\n").code == 0
    assert Path(daemon.asked("start")[0].list_file).read_bytes() == b"/p/a.jpg\r\n/p/b.jpg\r\n"


def test_a_million_paths_are_not_held(home: Home) -> None:
    """A list of a million paths passes through in little memory."""
    daemon = home.daemon(start=started())
    # Python's own allocations: the kernel's peak of a fresh process starts at its parent's, whatever that one holds.
    script = (
        "import sys, tracemalloc; from ingestctl.main import main; tracemalloc.start(); code = main(['start', '-']);"
        "print(tracemalloc.get_traced_memory()[1], file=sys.stderr); sys.exit(code)"
    )
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            for block in range(100):
                pipe.write(b"".join(b"/photos/%d/IMG_%d.JPG\n" % (block, i) for i in range(10_000)))

    thread = threading.Thread(target=write)
    thread.start()
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", script], stdin=reader, capture_output=True, env=home.env(), timeout=170
    )
    os.close(reader)
    thread.join()
    assert done.returncode == 0, done
    assert daemon.asked("start")[0].list_file is not None
    assert b"read 1,000,000 paths" in done.stderr
    assert int(done.stderr.splitlines()[-1]) < 20_000_000


@pytest.mark.parametrize(
    ("stdin", "flag", "hint"),
    [(b"a\0b\0", [], "add -0"), (b"x" * 70_000, [], "one path a line"), (b"\n\n", [], "pipe")],
)
def test_what_is_no_list_is_refused(home: Home, stdin: bytes, flag: list[str], hint: str) -> None:
    """A wrong separator or a photo on stdin is noticed, and nothing is left in the spool."""
    ran = home.run("start", *flag, "-", stdin=stdin)
    assert ran.code == 2, ran
    assert hint in ran.err
    assert os.listdir(home.folder / "state" / "spool") == []


class Progress:
    """Status replies that go from begun to done, one step a question, and stay at ``hold`` until told."""

    def __init__(self, end: c.JobStatus, steps: int = 2) -> None:
        self.asked = 0
        self._end = end
        self._steps = steps

    def __call__(self, _: Any) -> c.StatusReply:
        self.asked += 1
        return c.StatusReply(daemon_status(), [self._end if self.asked > self._steps else job()])


@pytest.mark.parametrize(
    ("end", "code"), [(finished(), 0), (finished(failed=2), 3), (job(status="failed", reason="no model"), 1)]
)
def test_follow_in_a_pipe(home: Home, end: c.JobStatus, code: int) -> None:
    """A line at the beginning, one at the end, no control characters; the exit code is the job's result."""
    home.daemon(start=started(), status=Progress(end))
    ran = home.run("start", "/p", "--follow")
    assert ran.code == code, ran
    lines = ran.out.splitlines()[4:]
    assert lines[0].startswith("photos: working, 48.2 % so far, 12,300 of 25,600 done")
    assert lines[-1].startswith(f"photos: {end.status}")
    assert "\r" not in ran.out
    assert "\x1b" not in ran.out


def test_interrupt_only_detaches(home: Home) -> None:
    """Ctrl-C in ``--follow`` leaves the job running, says so and exits with 130."""
    progress = Progress(finished(), steps=10**9)
    daemon = home.daemon(start=started(), status=progress)
    client = home.popen("start", "/p", "--follow")
    until(lambda: progress.asked > 0)
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=20)
    assert client.returncode == 130
    assert b"the job photos goes on; see it with: ingestctl status photos" in err
    assert {verb for verb, _ in daemon.requests} == {"hello", "start", "status"}


def test_a_reader_that_goes_only_detaches(home: Home) -> None:
    """``start --follow | head -1`` ends quietly."""
    home.daemon(start=started(), status=Progress(finished()))
    client = home.popen("start", "/p", "--follow")
    assert client.stdout is not None
    client.stdout.readline()
    client.stdout.close()
    assert client.stderr is not None
    err = client.stderr.read()
    client.stderr.close()
    assert client.wait(20) == 0
    assert b"Traceback" not in err
    assert b"goes on" in err


def test_follow_survives_a_restart(home: Home) -> None:
    """The daemon goes and comes back: both are said, and the following ends with the job."""
    progress = Progress(finished(), steps=10**9)
    daemon = home.daemon(start=started(), status=progress)
    client = home.popen("start", "/p", "--follow")
    until(lambda: progress.asked > 0)
    daemon.end()
    daemon.replies["status"] = c.StatusReply(daemon_status(), [finished()])
    assert client.stderr is not None
    said = b""
    while b"away" not in said:
        said = client.stderr.readline()
        assert said, "the client ended"
    assert said == b"the daemon is away; waiting up to 30 s for it\n"
    daemon.begin()
    out, err = client.communicate(timeout=20)
    assert client.returncode == 0, err
    assert b"the daemon is back\n" in err
    assert out.splitlines()[-1].startswith(b"photos: completed")


def test_follow_on_a_terminal_draws_one_line(home: Home) -> None:
    """The bar is redrawn in place, fits the width, and gives way to the result."""
    home.daemon(start=started(), status=Progress(finished()))
    code, drawn = on_terminal(home.cwd, home.env(TERM="xterm", COLUMNS="60"), "start", "/p", "--follow")
    assert code == 0
    bars = [line for line in drawn if "█" in line]
    assert bars
    assert all(len(line) < 60 for line in bars), bars
    assert plain(drawn[-1]).startswith("photos: completed, 100 of 100 done")


def test_start_without_source_shows_the_jobs(home: Home) -> None:
    """With a daemon there, ``start`` alone is ``status``."""
    home.daemon()
    ran = home.run("start")
    assert (ran.code, ran.err) == (0, "the daemon is running already\n")
    assert "photos  running" in ran.out


FAKE_DAEMON = """
import os, sys, threading
sys.path.insert(0, os.environ["CTLKIT"])
sys.stdout.reconfigure(line_buffering=True)
if "{fault}":
    print("a warning\\nError: cannot use the folder {home}: pid 17 holds it\\nTry: ingestctl status", file=sys.stderr)
    sys.exit(75)
from pathlib import Path
from tests.ctl.ctlkit import FakeDaemon
Path("{home}/pid").write_text(str(os.getpid()))
open("{home}/fds", "w").write(" ".join(os.readlink(f"/proc/self/fd/{{i}}") for i in range(3)) + " " + os.getcwd())
FakeDaemon(Path("{home}/run/ingestd.sock"), {{}})
threading.Event().wait(30)
"""


def stand_in(home: Home, fault: str = "") -> dict[str, str]:
    """The environment of a client that finds a package ``ingestd`` of ours first: a daemon that starts at once."""
    package = home.folder / "stand-in" / "ingestd"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    # The real package must be what the fake daemon's own imports find.
    head = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r}); sys.modules.pop('ingestd', None)\n"
    (package / "__main__.py").write_text(head + FAKE_DAEMON.format(home=home.folder, fault=fault))
    path = os.pathsep.join([str(package.parent), home.env()["PYTHONPATH"]])
    return {"PYTHONPATH": path, "CTLKIT": str(Path(__file__).parents[1])}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the daemon's descriptors through /proc")
def test_start_starts_a_daemon(home: Home) -> None:
    """In a session of its own, holding neither this terminal's streams nor its folder, so that ``start | tee`` ends."""
    ran = home.run("start", env=stand_in(home))
    try:
        assert ran.code == 0, ran
        assert "started the daemon" in ran.err
        assert "does not come back after a reboot" in ran.err
        assert "photos  running" in ran.out
        log = f"{home.folder}/log/ingestd.stderr"
        assert (home.folder / "fds").read_text().split() == ["/dev/null", log, log, "/"]
    finally:
        os.kill(int((home.folder / "pid").read_text()), signal.SIGKILL)


def test_a_daemon_that_will_not_start_says_why(home: Home) -> None:
    """Its own sentence and remedy are shown, once; EX_TEMPFAIL is this client's 5."""
    ran = home.run("start", env=stand_in(home, fault="held"))
    assert (ran.code, ran.out) == (5, ""), ran
    assert ran.err == f"Error: cannot use the folder {home.folder}: pid 17 holds it\nTry: ingestctl status\n"


def test_the_daemons_refusal_reaches_the_person(home: Home) -> None:
    """An absent source is the daemon's to judge; its words and exit code come through."""
    home.daemon(start=refuse("there is no such folder", "start", "/nowhere", "check the spelling"))
    ran = home.run("start", "/nowhere")
    assert ran.code == 1
    assert ran.err == "Error: cannot start /nowhere: there is no such folder\nTry: check the spelling\n"


def test_uuid_is_what_follow_asks_for(home: Home) -> None:
    """A stopped job's name is free again, so a name could come to mean another job."""
    daemon: FakeDaemon = home.daemon(start=started(), status=Progress(finished()))
    home.run("start", "/p", "--follow")
    assert {params.job for params in daemon.asked("status")} == {UUID}
