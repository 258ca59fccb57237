"""Answers without a running daemon: its program is run once, ``python -m ingestd --oneshot VERB``, and replies."""

from __future__ import annotations

import json
import subprocess

from ingestctl import daemon_program
from ingestctl.rpc import EXIT_ERROR, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

ONESHOT_S = 60.0
"""Seconds for the whole answer."""

_REMEDY = "start one with: ingestctl start"


def reply(verb: str) -> dict[str, Any]:
    """The result of ``verb`` from the ledger and the configuration on the disk.

    Raises ``CommandError``, with the program's own message where it has one.
    """
    daemon_program.check_own("ask")
    try:
        done = subprocess.run(
            daemon_program.command("--oneshot", verb),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=daemon_program.environment(),
            timeout=ONESHOT_S,
            check=False,
        )
        document = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise _failed(verb, f"no answer within {ONESHOT_S:.0f} s", _REMEDY) from None
    except ValueError:
        said = daemon_program.last_lines(done.stderr) or f"it exited with {done.returncode} and said nothing"
        raise _failed(verb, said, _REMEDY) from None
    error = document.get("error") if isinstance(document, dict) else None
    if error is not None:
        raise _told(verb, error, done.returncode or EXIT_ERROR)
    result: dict[str, Any] = document
    return result


def lines(verb: str, *arguments: str) -> Generator[dict[str, Any], None, None]:
    """What ``verb`` prints, one JSON document a line, each as it comes. The process ends with this iterator.

    Raises ``CommandError`` with the program's own message.
    """
    process = subprocess.Popen(
        daemon_program.command("--oneshot", verb, "--", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=daemon_program.environment(),
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            document = json.loads(line)
            if "error" in document:
                raise _told(verb, document["error"], EXIT_ERROR)
            yield document
        stderr = process.communicate()[1]
        if process.returncode:
            said = daemon_program.last_lines(stderr) or f"its process ended with {process.returncode}"
            raise _failed(verb, said, "try it again")
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def _failed(verb: str, message: str, remedy: str) -> CommandError:
    return CommandError(message, operation=f"answer {verb!r}", object="without a daemon", remedy=remedy)


def _told(verb: str, error: dict[str, Any], code: int) -> CommandError:
    """The error that the program printed as JSON."""
    data = error.get("data") or error
    return CommandError(
        str(error.get("message", "no reason given")),
        operation=str(data.get("operation", f"answer {verb!r}")),
        object=str(data.get("object", "without a daemon")),
        remedy=str(data.get("remedy", "")),
        exit=int(data.get("exit", code)),
    )
