"""The files of a service on the disk: compared, written whole or not at all, removed."""

from __future__ import annotations

import os
import sys

from ingestctl.rpc import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def changed(files: Mapping[str, str]) -> list[str]:
    """Paths of ``files`` (path: text) that differ on the disk; a file that may not be read counts as equal."""
    found = []
    for path, text in files.items():
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                same = file.read() == text
        except PermissionError:
            same = True
        except OSError:
            same = False
        if not same:
            found.append(path)
    return found


def read(path: str) -> str | None:
    """The text of a file, or None when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused("read", path, error) from None


def write(path: str, text: str) -> None:
    """Put ``text`` at ``path``, readable for everybody (a manager of another user may have to); folders are made."""
    new = f"{path}.new"
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(new, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, path)
    except OSError as error:
        raise _refused("write", path, error) from None


def remove(path: str) -> bool:
    """Remove a file; whether it was there. Folders that were made for it are removed as well when they are empty."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _refused("remove", path, error) from None
    folder = os.path.dirname(path)
    if folder.endswith((".service.d", "/systemd/user")):
        remove_empty(folder)
    if folder.endswith("/systemd/user"):
        remove_empty(os.path.dirname(folder))
    return True


def remove_empty(folder: str) -> None:
    """Remove a folder if it is empty."""
    try:
        os.rmdir(folder)
    except OSError:
        pass  # there is something in it, or it is not there


def show(files: Mapping[str, str]) -> None:
    """Print every file with its path on stdout, for ``--print``."""
    for path, text in files.items():
        print(f"# {path}")
        sys.stdout.write(text + "\n")


def _refused(operation: str, path: str, error: OSError) -> CommandError:
    return CommandError(
        error.strerror or str(error),
        operation=operation,
        object=path,
        remedy="check who owns this folder; a system service is installed by root (sudo)",
    )
