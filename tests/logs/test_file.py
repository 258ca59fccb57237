"""The log file: whole lines, rotated by size, found again when somebody moved it, waiting for space on a full disk."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from pathlib import Path

import pytest

from ingestd.logs.log_queue import LogQueue
from ingestd.logs.opening import open_log
from ingestd.logs.rotated import RotatedFile
from tests.logs.logkit import line
from tests.mountkit import run_on_small_disk


def events(path: Path) -> list[str]:
    return [json.loads(text)["event"] for text in path.read_text().splitlines()]


def test_lines_are_appended(tmp_path: Path) -> None:
    """A second daemon goes on where the first ended; nobody else may read the log."""
    path = tmp_path / "log" / "ingestd.log"
    for name in ("first", "second"):
        log = open_log(path, "info", False, {})
        log.logger.info(name)
        assert log.close()
    assert events(path) == ["first", "second"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rotation_keeps_so_many_and_loses_no_line(tmp_path: Path) -> None:
    """No file grows past the limit, the oldest goes, and no line is cut or written twice on the way."""
    path = tmp_path / "ingestd.log"
    target = RotatedFile(path, rotate_bytes=2000, keep=3)
    for number in range(100):
        target.write(line(str(number)))
    target.close()
    files = [path, *(path.with_name(f"ingestd.log.{n}") for n in (1, 2, 3))]
    assert sorted(tmp_path.iterdir()) == files
    assert all(file.stat().st_size <= 2000 for file in files)
    kept = [int(event) for file in reversed(files) for event in events(file)]
    assert kept == list(range(100 - len(kept), 100))
    assert len(kept) > 60


def test_a_line_longer_than_a_file(tmp_path: Path) -> None:
    """It is written all the same, alone."""
    path = tmp_path / "ingestd.log"
    target = RotatedFile(path, rotate_bytes=500, keep=2)
    for event, text in (("a", ""), ("b", "x" * 5000), ("c", "")):
        target.write(line(event, text=text))
    target.close()
    assert [events(path.with_name(name)) for name in ("ingestd.log.2", "ingestd.log.1", "ingestd.log")] == [
        ["a"],
        ["b"],
        ["c"],
    ]


@pytest.mark.parametrize("signalled", [True, False])
def test_a_log_that_was_moved(tmp_path: Path, signalled: bool) -> None:
    """After logrotate's rename what comes goes into a new file, with SIGHUP (``reopen``) or without."""
    path = tmp_path / "ingestd.log"
    log = open_log(path, "info", False, {})
    log.logger.info("before")
    until(lambda: events(path) == ["before"])
    path.rename(tmp_path / "moved")
    if signalled:
        log.reopen()
        until(path.exists)
    log.logger.info("after")
    assert log.close()
    assert (events(tmp_path / "moved"), events(path)) == (["before"], ["after"])


def until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_log_that_was_deleted_with_its_folder(tmp_path: Path) -> None:
    """It comes back with the next line."""
    path = tmp_path / "log" / "ingestd.log"
    target = RotatedFile(path)
    target.write(line("before"))
    path.unlink()
    path.parent.rmdir()
    target.write(line("after"))
    target.close()
    assert events(path) == ["after"]


def test_a_log_that_was_cut(tmp_path: Path) -> None:
    """``copytruncate``: the next line begins the file, without a hole before it."""
    path = tmp_path / "ingestd.log"
    target = RotatedFile(path)
    target.write(line("before"))
    os.truncate(path, 0)
    target.write(line("after"))
    target.close()
    assert events(path) == ["after"]


def test_half_a_line_of_a_power_cut(tmp_path: Path) -> None:
    """What an earlier end cut short stays alone on its line."""
    path = tmp_path / "ingestd.log"
    path.write_bytes(b'{"event":"whole"}\n{"event":"ha')
    target = RotatedFile(path)
    target.write(line("next"))
    target.close()
    assert path.read_text().splitlines()[1] == '{"event":"ha'
    assert json.loads(path.read_text().splitlines()[2])["event"] == "next"


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """A log that cannot be rotated grows; no line is lost."""
    path = tmp_path / "ingestd.log"
    target = RotatedFile(path, rotate_bytes=500, keep=2)
    target.write(line("a", text="x" * 450))
    os.mkdir(f"{path}.1")  # a folder where the older log is to go
    (Path(f"{path}.1") / "x").touch()
    os.mkdir(f"{path}.2")
    (Path(f"{path}.2") / "x").touch()
    target.write(line("b"))
    target.close()
    assert events(path) == ["a", "b"]


def test_older_logs_stay_when_the_current_one_cannot_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may only be appended to cannot be renamed: each line tries it anew, and pushes nothing out."""
    path = tmp_path / "ingestd.log"
    target = RotatedFile(path, rotate_bytes=500, keep=3)
    for number in range(40):
        target.write(line("before", number=number))
    older = {log.name: log.read_bytes() for log in tmp_path.glob("*.[123]")}
    rename = os.replace

    def replace(source: str, place: str) -> None:
        if source == str(path):
            raise PermissionError(errno.EPERM, "append only")
        rename(source, place)

    monkeypatch.setattr(os, "replace", replace)
    for number in range(40):
        target.write(line("after", number=number))
    target.close()
    assert len(older) == 3
    assert {log.name: log.read_bytes() for log in tmp_path.glob("*.[123]")} == older


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """The daemon is told at its start, not at the first line."""
    path = tmp_path / "ingestd.log"
    path.mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        open_log(path, "info", False, {})


FULL_DISK = """
import json, os, sys, time
from pathlib import Path
from ingestd.logs.log_queue import LogQueue
from ingestd.logs.rotated import RotatedFile
from ingestd.logs.lines import make_line

place = Path(sys.argv[1])
ballast = place / "ballast"
path = place / "ingestd.log"
queue = LogQueue(RotatedFile(path), 50, 1 << 20)
with ballast.open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError as error:
        assert error.errno == 28
    # One page is left, so that a line is cut in its middle.
    os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size // 4096 * 4096 - 4096)
deadline = time.monotonic() + 60
longest = 0.0
number = 0
while queue.dropped < 20:
    assert time.monotonic() < deadline
    began = time.thread_time()
    queue.put(make_line("info", {"event": str(number), "text": "x" * 300}))
    longest = max(longest, time.thread_time() - began)
    number += 1
time.sleep(0.3)
lines = path.read_bytes().splitlines(keepends=True)
assert 5 < len(lines) < 20 and all(json.loads(line) for line in lines), lines[-1]
lost = queue.dropped
ballast.unlink()
while not any(json.loads(line)["event"] == "log lines dropped" for line in path.read_bytes().splitlines()):
    assert time.monotonic() < deadline
    time.sleep(0.01)
assert queue.close(time.monotonic() + 20)
events = [json.loads(line) for line in path.read_bytes().splitlines()]
assert [e["event"] for e in events] == [*map(str, range(number - lost)), "log lines dropped"], events
assert events[-1]["lines"] == lost == queue.dropped
print("longest", longest < 0.05)
"""


def test_a_full_disk_loses_only_what_it_counts(tmp_path: Path) -> None:
    """No call waits for space; every line is whole; with space the queued ones come, then how many are lost."""
    ran = run_on_small_disk(FULL_DISK, tmp_path / "small", "256k")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "longest True"


def test_the_limits_of_a_file(tmp_path: Path) -> None:
    """20 MiB and five older ones, as the README says."""
    target = RotatedFile(tmp_path / "ingestd.log")
    assert (target._rotate_bytes, target._keep) == (20 << 20, 5)
    queue = LogQueue(target, 10, 1 << 20)
    assert queue.close(time.monotonic() + 20)
