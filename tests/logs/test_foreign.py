"""What the interpreter and libraries say by themselves goes into the log: printed, it could block the event loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, sys, threading, warnings
from pathlib import Path
from ingestd.logs import adopted, open_log

class Bad:
    def __del__(self):
        raise ValueError("in a finalizer")

def fail():
    raise ValueError("in a thread")

log = open_log(Path(sys.argv[1]), "info", False, {"INGESTD_ENDPOINT_KEY": "a secret key"})
with adopted(log.logger):
    for number in range(100):
        logging.getLogger("asyncio").warning("slow callback %s", "x" * 1000)
    logging.getLogger("asyncio").error("task exception", exc_info=ValueError("in a task with a secret key"))
    logging.getLogger("library").warning("%s and %s", "too few")
    logging.getLogger("library").info("not of interest")
    warnings.warn("deprecated", UserWarning)
    Bad()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
assert log.close(20)
assert sys.unraisablehook is sys.__unraisablehook__ and logging.getLogger().handlers == []
"""


def test_libraries_speak_into_the_log(tmp_path: Path) -> None:
    """With a stderr that is a full pipe nobody reads, nothing waits; each word is in the log once, with its level."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    path = tmp_path / "ingestd.log"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stderr=writer) as process:
        os.close(writer)
        assert process.wait(60) == 0
    os.close(reader)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert {entry["event"] for entry in entries} == {"library"}
    told = [(entry["level"], entry.get("source"), entry["message"]) for entry in entries]
    assert told[:100] == [("warning", "asyncio", "slow callback " + "x" * 1000)] * 100
    assert told[100:102] == [("error", "asyncio", "task exception"), ("error", "library", "%s and %s")]
    assert (told[102][:2], "UserWarning: deprecated" in told[102][2]) == (("warning", "py.warnings"), True)
    assert [level for level, _, _ in told[103:]] == ["error", "error"]
    assert "ValueError: in a task with [hidden]" in entries[100]["exception"]
    assert "ValueError: in a finalizer" in entries[103]["exception"]
    assert "ValueError: in a thread" in entries[104]["exception"]
    assert len(entries) == 105
