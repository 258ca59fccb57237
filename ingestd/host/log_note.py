"""Where the log is, for those who have no daemon to ask: a note in the log folder while the journal takes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

NOTE: Final = "journal.json"
_UNIT: Final = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:service|scope)")
_USER_MANAGER: Final = re.compile(r"user@\d+\.service")


class Note(msgspec.Struct, frozen=True):
    """``unit`` is the unit whose journal it is, empty where it has none; ``user``: a user's manager runs it."""

    unit: str
    user: bool

    def command(self) -> str:
        """The command that shows this log."""
        if not self.unit:
            return "journalctl SYSLOG_IDENTIFIER=ingestd"
        return f"journalctl --{'user-' if self.user else ''}unit {self.unit}"


def where(log_file: Path) -> str:
    """The log's place in words: the file, or the command that reads the journal."""
    try:
        note = msgspec.json.decode((log_file.parent / NOTE).read_bytes(), type=Note)
    except (OSError, msgspec.DecodeError):
        return str(log_file)
    return f"in the journal: {note.command()}"


def take_note(log_file: Path, note: Note | None) -> None:
    """Leave the note, or take it away. It is a help, so what the disk refuses is not an error."""
    path = log_file.parent / NOTE
    try:
        if note is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.encode(note) + b"\n")
    except OSError:
        pass


def own_unit(cgroup: str) -> Note:
    """The unit of this process, from the text of ``/proc/self/cgroup``: the innermost service or scope."""
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers not in ("", "name=systemd"):
            continue
        parts = path.split("/")
        for at in range(len(parts) - 1, -1, -1):
            if _UNIT.fullmatch(parts[at]) and not _USER_MANAGER.fullmatch(parts[at]):
                return Note(parts[at], any(_USER_MANAGER.fullmatch(part) for part in parts[:at]))
    return Note("", False)
