"""The client around the verbs: places, absence of a daemon, logs, speed, imports."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ingestctl
import msgspec
import pytest
from ingestctl import argument_values, locations, terminal_text
from ingestctl.main import ALONE, VERBS

import ingestd
from ingestd import errors, paths
from ingestd.protocol import control as c
from tests.ctl.ctlkit import COMMAND, ROOT, Home, daemon_status, until


def test_one_version() -> None:
    """Client and daemon are one distribution; the client cannot import the other's number."""
    assert ingestctl.__version__ == ingestd.__version__


def test_exit_codes_are_the_daemons() -> None:
    """The table of exit codes exists twice, and is one."""
    from ingestctl import rpc

    names = [name for name in vars(errors) if name.startswith("EXIT_")]
    assert {name: getattr(errors, name) for name in names} == {name: getattr(rpc, name) for name in names}


LONG = "/tmp/" + "long/" * 30
ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"INGESTD_HOME": "/srv/ingest"},
    {"INGESTD_HOME": "~/ingest"},
    {"INGESTD_HOME": "relative/../folder//x/"},
    {"INGESTD_HOME": LONG},
    {"INGESTD_HOME": LONG, "XDG_RUNTIME_DIR": "/tmp"},
    {"INGESTD_HOME": "/tmp/" + "ö" * 45},
    {"INGESTD_HOME": "/tmp/\udcff" + "x" * 80},
    {"INGESTD_HOME": "", "XDG_STATE_HOME": "/state//a/./b/"},
    {"XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c", "XDG_RUNTIME_DIR": "/tmp"},
    {"XDG_RUNTIME_DIR": "/not/there"},
    {"XDG_RUNTIME_DIR": "//tmp/./"},
    {"XDG_RUNTIME_DIR": "/tmp" + "/." * 60},
    {"HOME": LONG, "XDG_RUNTIME_DIR": ""},
    {"HOME": "/home/ü/"},
]


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_place_is_the_daemons(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], platform: str) -> None:
    """Client and daemon find each other by the environment alone: the two rules give the same bytes."""
    for name in ("INGESTD_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    daemon = paths.places()
    ours = (locations.state(), locations.socket(), locations.log(), locations.log_file(), locations.config())
    assert ours == tuple(str(at) for at in (daemon.state, daemon.socket, daemon.log, daemon.log_file, daemon.config))
    assert locations.MAX_SOCKET_PATH == paths.MAX_SOCKET_PATH


@pytest.mark.parametrize(
    ("typed", "first", "last"),
    [
        ("2024", "2024-01-01T00:00:00Z", "2024-12-31T23:59:59.999999Z"),
        ("2023-12", "2023-12-01T00:00:00Z", "2023-12-31T23:59:59.999999Z"),
        ("2024-02", "2024-02-01T00:00:00Z", "2024-02-29T23:59:59.999999Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z", "2024-02-29T23:59:59.999999Z"),
        ("2024-05-17T18:30:00Z", "2024-05-17T18:30:00Z", "2024-05-17T18:30:00Z"),
        ("2024-05-17T18:30:00+02:00", "2024-05-17T16:30:00Z", "2024-05-17T16:30:00Z"),
        ("2024-05-17 18:30", "2024-05-17T18:30:00Z", "2024-05-17T18:30:00Z"),
    ],
)
def test_dates(typed: str, first: str, last: str) -> None:
    """``--since`` means the first moment of what was typed, ``--until`` the last: a named day is included."""
    assert (argument_values.since(typed), argument_values.until(typed)) == (first, last)


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (terminal_text.duration(0.44), "0.4 s"),
        (terminal_text.duration(45), "45 s"),
        (terminal_text.duration(720), "12 min"),
        (terminal_text.duration(12000), "3 h 20 min"),
        (terminal_text.duration(3600 * 52), "2 days 4 h"),
        (terminal_text.span(3 * 3600, 3.6 * 3600), "3 h to 4 h"),
        (terminal_text.span(40, 58), "40 s to 60 s"),
        (terminal_text.span(0, 2), "1 s to 5 s"),
        (terminal_text.span(1195, 1200), "19 min to 20 min"),
        (terminal_text.span(7200, 7200), "about 2 h"),
        (terminal_text.span(3 * 86400, 4.5 * 86400), "3 days to 5 days"),
        (terminal_text.percent(99.99), "99.9 %"),
        (terminal_text.percent(100.0), "100 %"),
        (terminal_text.size(999), "999 bytes"),
        (terminal_text.size(61_000_000), "61 MB"),
        (terminal_text.size(1_240_000_000), "1.2 GB"),
        (terminal_text.many(1, "copy", "copies"), "1 copy"),
        (terminal_text.many(2000, "copy", "copies"), "2,000 copies"),
        (terminal_text.cut("/a/very/long/path.jpg", 11), "/a/ve…h.jpg"),
        (terminal_text.cut("日本語の写真", 7), "日…写真"),
        (terminal_text.bar(0.999, 4), "███░"),
        (
            terminal_text.clean("a\x1b[31m\n\udcff\u202e é 日\u202f👩\u200d👦"),
            "a\\x1b[31m\\n\\udcff\\u202e é 日\u202f👩\u200d👦",
        ),
    ],
)
def test_words_for_people(shown: str, wanted: str) -> None:
    """Numbers, durations, sizes and names as a person reads them."""
    assert shown == wanted


ARGUMENTS = {"show": ["x"], "search": ["cat"], "remove": ["photos"]}


@pytest.mark.parametrize("verb", sorted(set(VERBS) - ALONE - {"start", "status", "config", "shutdown", "logs"}))
def test_without_a_daemon(home: Home, verb: str) -> None:
    """Exit 4, with what to do."""
    ran = home.run(verb, *ARGUMENTS.get(verb, []))
    assert (ran.code, ran.out) == (4, ""), ran
    assert ran.err.startswith("Error: cannot reach the daemon: no daemon is running")
    assert ran.err.endswith("Try: start it with: ingestctl start\n")


def test_shutdown_without_a_daemon_is_no_error(home: Home) -> None:
    """What was asked for is true already."""
    ran = home.run("shutdown")
    assert (ran.code, ran.out, ran.err) == (0, "", "no daemon is running\n")


ONESHOT = """
import json, sys
reply = {reply!r}
assert sys.argv[1] == "--oneshot"
print(reply if isinstance(reply, str) else json.dumps(reply[sys.argv[2]]))
sys.exit({code})
"""


def oneshot(home: Home, reply: Any, code: int = 0) -> dict[str, str]:
    package = home.folder / "stand-in" / "ingestd"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(ONESHOT.format(reply=reply, code=code))
    return {"PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT / "ctl")])}


def test_status_and_config_without_a_daemon(home: Home) -> None:
    """They ask the program itself, and say that no daemon runs; a job that is not there is an error."""
    from tests.ctl.ctlkit import finished

    status = json.loads(msgspec.json.encode(c.StatusReply(daemon_status(), [finished()])))
    env = oneshot(home, {"status": status, "config": {"rows": [{"key": "a", "value": "1", "source": "default"}]}})
    ran = home.run("status", env=env)
    assert ran.code == 0, ran
    assert "photos  completed" in ran.out
    assert ran.err.startswith("no daemon is running: ")
    assert json.loads(home.run("status", "photos", "--json", env=env).out) == status
    assert home.run("status", "other", env=env).code == 1
    assert home.run("config", env=env).out.startswith("a       1  default\n\nstate   /")


def test_an_error_without_a_daemon(home: Home) -> None:
    """The program's own sentence and exit code come through; so do words that are no JSON."""
    data = {"operation": "open", "object": "the ledger", "remedy": "update ingestd", "exit": 1}
    ran = home.run(
        "status", env=oneshot(home, {"status": {"error": {"code": -32000, "message": "newer", "data": data}}}, 1)
    )
    assert (ran.code, ran.err) == (1, "Error: cannot open the ledger: newer\nTry: update ingestd\n")


def test_a_daemon_that_dies_in_the_middle(home: Home) -> None:
    """A connection that ends without an answer is exit 4, not a traceback."""
    daemon = home.daemon()

    def die(_: Any) -> None:
        daemon.end()
        raise OSError

    daemon.replies["summary"] = die
    ran = home.run("summary")
    assert ran.code == 4, ran
    assert "Traceback" not in ran.err


def test_a_folder_that_may_not_be_entered(home: Home) -> None:
    """Not every failure to connect means that no daemon runs."""
    home.socket.parent.mkdir()
    (home.socket.parent / "x").touch()
    home.socket.symlink_to(home.socket)
    ran = home.run("status")
    assert ran.code == 4
    assert "INGESTD_HOME" in ran.err


def log_of(home: Home, lines: int) -> Path:
    log = home.folder / "log" / "ingestd.log"
    log.parent.mkdir()
    log.write_text("".join(f"line {i} {'x' * 50}\n" for i in range(lines)))
    return log


@pytest.mark.parametrize("lines", [0, 1, 3, 5000])
def test_logs_show_the_end(home: Home, lines: int) -> None:
    """The last lines of the file itself, without a daemon, whatever its length."""
    log = log_of(home, lines)
    ran = home.run("logs", "-n", "3")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == log.read_text().splitlines()[-3:]
    assert home.run("logs", "-n", "9999").out == log.read_text()


def test_logs_follow_through_a_rotation(home: Home) -> None:
    """``-f`` gives every line, once, also those of a log that takes the place of this one; Ctrl-C ends it."""
    log = log_of(home, 2)
    client = home.popen("logs", "-f")
    assert client.stdout is not None
    assert client.stdout.readline().startswith(b"line 0")
    assert client.stdout.readline().startswith(b"line 1")
    with log.open("a") as file:
        file.write("more\n")
    assert client.stdout.readline() == b"more\n"
    log.rename(log.with_suffix(".1"))
    log.write_text("new\n")
    assert client.stdout.readline() == b"new\n"
    client.send_signal(signal.SIGINT)
    rest, err = client.communicate(timeout=20)
    assert (client.returncode, rest) == (130, b""), err


def test_logs_without_a_log(home: Home) -> None:
    """No log is an error with its place."""
    ran = home.run("logs")
    assert ran.code == 1
    assert f"cannot read {home.folder}/log/ingestd.log: there is no log yet" in ran.err


def test_a_reader_that_has_enough(home: Home) -> None:
    """``failed | head`` ends quietly."""
    rows = [
        c.FailedRow(i, f"/p/{i}" + "x" * 100, "corrupt", "m" * 100, "d", "all", 1, time.time(), "", "")
        for i in range(500)
    ]
    home.daemon(failed=lambda params: c.FailedReply("photos", 10**6, rows, params.after + 500))
    client = home.popen("failed")
    assert client.stdout is not None
    assert client.stderr is not None
    client.stdout.readline()
    client.stdout.close()
    assert client.wait(20) == 0
    assert client.stderr.read() == b""
    client.stderr.close()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "usage: ingestctl"),
        (["statsu"], 2, "Try: ingestctl status"),
        (["--colour"], 2, "no option"),
        (["--version"], 0, "ingestctl 0"),
        (["help"], 0, "in a hurry"),
        (["help", "pause"], 0, "usage: ingestctl pause"),
        (["pause", "a", "b"], 2, "unrecognized"),
        (["status", "--watch"], 2, "no terminal"),
    ],
)
def test_the_argument_line(home: Home, words: list[str], code: int, said: str) -> None:
    """Mistakes exit with 2 on stderr, help with 0 on stdout."""
    ran = home.run(*words)
    assert ran.code == code, ran
    assert said in (ran.err if code else ran.out)
    assert (ran.out if code else ran.err) == ""


def test_status_imports_the_standard_library_alone(home: Home) -> None:
    """``sys.modules`` after ``status`` holds nothing of ours but the client, and nothing that is not Python's own."""
    home.daemon()
    script = (
        "import sys; before = set(sys.modules); from ingestctl.main import main; code = main(['status']);"
        "print(*sorted(set(sys.modules) - before), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=home.env(), timeout=60, text=True)
    assert done.returncode == 0, done
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded - set(sys.stdlib_module_names) == {"ingestctl"}
    # Each of these costs milliseconds, and the status needs none of them.
    assert loaded.isdisjoint(
        {"typing", "pathlib", "inspect", "dataclasses", "subprocess", "tempfile", "shutil", "hashlib"}
    )


def test_status_takes_three_bare_interpreters_at_most(home: Home) -> None:
    """Wall time of ``ingestctl status`` ÷ ``python -c pass`` ≤ 3, both with compiled bytecode, runs alternating."""
    home.daemon()
    env = home.env(PYTHONPYCACHEPREFIX=str(home.folder / "pycache"))

    def wall(command: list[str]) -> float:
        begun = time.perf_counter()
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, cwd=home.cwd)
        return time.perf_counter() - begun

    # As the installed console script begins; ``-m`` alone would add Python's runpy.
    script = "import re, sys; from ingestctl.main import main; sys.exit(main(['status']))"
    bare, status = [sys.executable, "-c", "pass"], [sys.executable, "-c", script]
    wall(status)
    pairs: list[tuple[float, float]] = []
    ratio = 99.0
    # The fastest of each: what else the machine does only ever adds, and on a busy one a quiet moment must be found.
    while len(pairs) < 15 or (ratio > 3 and len(pairs) < 150):
        pairs.append((wall(bare), wall(status)))
        ratio = min(pair[1] for pair in pairs) / min(pair[0] for pair in pairs)
    print(f"status ÷ bare interpreter: {ratio:.2f}, medians {statistics.median(p[1] for p in pairs) * 1000:.0f} ms")
    assert ratio <= 3


def test_watch_on_a_terminal_survives_a_restart(home: Home) -> None:
    """The screen is drawn by rich, says when the daemon is away, goes on when it is back; Ctrl-C detaches with 130."""
    import pty

    daemon = home.daemon()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home.cwd)
        env = home.env(TERM="xterm-256color", COLUMNS="100", LINES="40")
        os.execve(sys.executable, [*COMMAND, "status", "--watch"], env)
    seen = b""

    def sees(words: bytes) -> bool:
        nonlocal seen
        try:
            seen += os.read(terminal, 1 << 16)
        except OSError:
            pass  # Linux says EIO at the end of a terminal
        return words in seen

    until(lambda: sees(b"12,300 of 25,600 done"))
    daemon.end()
    until(lambda: sees(b"the daemon is away"))
    daemon.begin()
    seen = b""
    until(lambda: sees(b"drawn anew"))
    os.kill(pid, signal.SIGINT)
    seen = b""
    until(lambda: sees(b"the jobs go on"))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    os.close(terminal)
