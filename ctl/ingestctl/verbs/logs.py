"""``logs``: the daemon's log, read from its file or from the journal, so that no daemon need run.

Which of the two it is, the daemon notes in its log folder (``ingestd.host.log_note``).
"""

from __future__ import annotations

import json
import os
import sys
import time

from ingestctl import argument_values, locations, rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import IO, BinaryIO

_BLOCK = 1 << 16
_LOOK_S = 0.25
_NOTE = "journal.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "On a terminal lines are made readable; into a file or pipe goes the log as it is, one JSON object a line.\n\n"
        "examples:\n  ingestctl logs\n  ingestctl logs -f\n  ingestctl logs -n 1000 | grep 'item failed'\n"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written, until Ctrl-C")
    parser.add_argument(
        "-n", "--lines", type=argument_values.count, default=50, metavar="N", help="lines to begin with (50)"
    )
    parser.add_argument("--json", action="store_true", help="the log as it is, also on a terminal")


def run(args: argparse.Namespace) -> int:
    if locations.is_anothers():
        raise rpc.CommandError(
            "INGESTD_SOCKET names it, and a log is found by its daemon's folders alone",
            operation="read",
            object=f"the log of the daemon at {locations.chosen()}",
            remedy="Set its INGESTD_HOME if it is yours; for your usual daemon's: env -u INGESTD_SOCKET ingestctl logs",
        )
    note = _note()
    try:
        return _follow_file(args) if note is None else _ask_journal(args, note)
    except KeyboardInterrupt:
        return rpc.EXIT_INTERRUPTED


def _note() -> dict[str, object] | None:
    """The unit whose journal holds the log; None where the log is a file."""
    try:
        with open(f"{locations.log()}/{_NOTE}", "rb") as file:
            found = json.loads(file.read(4096))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


# ------------------------------------------------------------------------------------------------------- the journal


def _ask_journal(args: argparse.Namespace, note: dict[str, object]) -> int:
    """What ``journalctl`` has of the daemon's unit: its log, and the service manager's messages about it."""
    import subprocess

    unit = str(note.get("unit") or "")
    whose = f"--{'user-' if note.get('user') else ''}unit={unit}" if unit else "SYSLOG_IDENTIFIER=ingestd"
    command = ["journalctl", "--quiet", "--no-pager", "--all", "--output=cat", f"--lines={args.lines}", whose]
    if args.follow:
        command.append("--follow")
    # Root's own ``--user-unit`` would look for units of root's manager.
    for_root = f"_SYSTEMD_USER_UNIT={unit} _UID={os.getuid()}" if unit and note.get("user") else whose
    place_of_it = f"the journal of {unit}" if unit else "the journal"
    try:
        reader = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise rpc.CommandError(
            f"journalctl cannot be run: {error.strerror}",
            operation="read",
            object=place_of_it,
            remedy="run it where systemd is, or start the daemon without systemd: it then writes a file",
        ) from None
    assert reader.stdout is not None
    assert reader.stderr is not None
    try:
        with reader.stdout, reader.stderr:
            lines = _copy(reader.stdout, args, flush=args.follow)
            words = reader.stderr.read().decode("utf-8", "replace").strip().splitlines()
    finally:
        if reader.poll() is None:
            reader.terminate()
        code = reader.wait()
    if code == 0 and not lines:
        print(f"{place_of_it} holds nothing of it that this user may read", file=sys.stderr)
    if code != 0:
        raise rpc.CommandError(
            words[-1] if words else f"journalctl ended with {code}",
            operation="read",
            object=place_of_it,
            remedy=f"sudo journalctl {for_root}, or join the group that may: sudo usermod -aG systemd-journal $USER",
        )
    return rpc.EXIT_OK


# ---------------------------------------------------------------------------------------------------------- the file


def _follow_file(args: argparse.Namespace) -> int:
    path = locations.log_file()
    try:
        begun = False
        while True:
            with open(path, "rb") as file:
                # Of a log that took the place of this one, every line is new.
                file.seek(0 if begun else _last_lines(file, args.lines))
                begun = True
                _copy(file, args)
                if not args.follow:
                    return rpc.EXIT_OK
                while not _replaced(file, path):
                    _copy(file, args)
                # What was written between the last look and the rotation.
                _copy(file, args)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        absent = isinstance(error, FileNotFoundError)
        raise rpc.CommandError(
            "there is no log yet" if absent else error.strerror or str(error),
            operation="read",
            object=path,
            remedy="start the daemon with: ingestctl start" if absent else "check who owns this file, and INGESTD_HOME",
        ) from None


def _last_lines(file: BinaryIO, lines: int) -> int:
    """Offset at which the last ``lines`` lines begin, found from the end: a log may be large."""
    end = at = file.seek(0, os.SEEK_END)
    wanted = lines
    while at > 0:
        begin = max(0, at - _BLOCK)
        file.seek(begin)
        block = file.read(at - begin)
        # The newline at the very end ends the last line and begins none.
        stop = len(block) - 1 if at == end and block.endswith(b"\n") else len(block)
        while (stop := block.rfind(b"\n", 0, stop)) >= 0:
            wanted -= 1
            if wanted == 0:
                return begin + stop + 1
        at = begin
    return 0


def _replaced(file: BinaryIO, path: str) -> bool:
    """After a short sleep, whether ``path`` is another file (rotated). A shortened file is read from its start."""
    time.sleep(_LOOK_S)
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return False  # between the two renames of a rotation
    if now.st_ino != os.fstat(file.fileno()).st_ino:
        return True
    if now.st_size < file.tell():
        file.seek(0)
    return False


def _copy(source: BinaryIO | IO[bytes], args: argparse.Namespace, *, flush: bool = False) -> int:
    """Copy to a file or pipe as it is, to a terminal as readable text. Returns how many pieces there were."""
    count = 0
    if args.json or not sys.stdout.isatty():
        while data := source.readline() if flush else source.read(_BLOCK):
            sys.stdout.buffer.write(data)
            count += 1
            if flush:
                sys.stdout.flush()
    else:
        from ingestctl.logline import shown
        from ingestctl.terminal_text import paint_for

        paint = paint_for(sys.stdout, args.color)
        while data := source.readline():
            print(shown(data.decode("utf-8", "replace").rstrip("\n"), paint), flush=flush)
            count += 1
    sys.stdout.flush()
    return count
