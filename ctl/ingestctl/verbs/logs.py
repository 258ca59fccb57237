"""``logs``: the daemon's log, read from its file, so that it can be read when the daemon is the trouble."""

from __future__ import annotations

import os
import sys
import time

from ingestctl import argument, place, rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import BinaryIO

_BLOCK = 1 << 16
_LOOK_S = 0.25


def logs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "examples:\n  ingestctl logs\n  ingestctl logs -f\n  ingestctl logs -n 1000 | grep failed\n"
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written, until Ctrl-C")
    parser.add_argument("-n", "--lines", type=argument.count, default=50, metavar="N", help="lines to begin with (50)")


def logs(args: argparse.Namespace) -> int:
    path = place.log_file()
    try:
        begun = False
        while True:
            with open(path, "rb") as file:
                # Of a log that took the place of this one, every line is new.
                file.seek(0 if begun else _last_lines(file, args.lines))
                begun = True
                _copy(file)
                if not args.follow:
                    return rpc.EXIT_OK
                while not _replaced(file, path):
                    _copy(file)
                # What was written between the last look and the rotation.
                _copy(file)
    except KeyboardInterrupt:
        return rpc.EXIT_INTERRUPTED
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        absent = isinstance(error, FileNotFoundError)
        raise rpc.Failure(
            "there is no log yet" if absent else error.strerror or str(error),
            operation="read",
            object=path,
            remedy="start the daemon with: ingestctl start" if absent else "check who owns this file, and INGESTD_HOME",
        ) from None


def _last_lines(file: BinaryIO, lines: int) -> int:
    """Where the last ``lines`` lines begin, read from the end: a log may be large."""
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
    """After a short sleep: whether ``path`` is another file by now (rotated). A shortened one is begun anew."""
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


def _copy(file: BinaryIO) -> None:
    """To a file or pipe byte by byte; to a terminal without what could steer it."""
    terminal = sys.stdout.isatty()
    while data := file.readline() if terminal else file.read(_BLOCK):
        if terminal:
            from ingestctl.text import clean

            print(clean(data.decode("utf-8", "replace").rstrip("\n")))
        else:
            sys.stdout.buffer.write(data)
    sys.stdout.flush()
