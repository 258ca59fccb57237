"""Which service manager this machine has, and whether a service is installed for this user."""

from __future__ import annotations

import os
import sys

from ingestctl.rpc import CommandError, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from ingestctl.service.launchd import Launchd
    from ingestctl.service.systemd import Systemd

    Service: TypeAlias = Systemd | Launchd

ASK_S = 2.0
"""Seconds for a service manager to answer somebody who only wants to look."""


def service(*, system: bool, user: str | None) -> Service:
    """The service that ``--system`` and ``--for`` mean. Raises ``CommandError`` where this machine cannot have it."""
    if sys.platform == "darwin":
        if system:
            raise usage(
                "launchd has agents of a user here, begun at login, and no more",
                operation="use", object="--system", remedy="ingestctl service install",
            )  # fmt: skip
        from ingestctl.service.launchd import Launchd

        return Launchd()
    from ingestctl.service.systemd import Systemd

    return Systemd(_account(user)) if system else Systemd()


def installed() -> Service | None:
    """The service that runs this user's daemon; None where none is installed, so that it is a background process."""
    if sys.platform == "darwin":
        from ingestctl.service.launchd import Launchd

        agent = Launchd()
        return agent if agent.installed() and agent.same_home() else None
    # Where no systemd runs there is nothing to ask; this costs a client that starts a daemon one look at a folder.
    if not os.path.isdir("/run/systemd/system"):
        return None
    from ingestctl.service.systemd import mine

    return mine()


def start_command() -> str:
    """The command that starts this user's daemon. No service manager is asked."""
    found = _installed()
    return "ingestctl start" if found is None else found.start_command()


def start_hint() -> str:
    """How a daemon that does not run will come back: its service manager is starting it, or the command to type."""
    found = _installed()
    if found is not None and (now := found.show(ASK_S))["ActiveState"] == "activating":
        again = " again" if now["SubState"].startswith(("auto-restart", "spawn")) or int(now["NRestarts"] or 0) else ""
        return f"{found.name} is starting it{again}: ask again in some seconds"
    return f"start it with: {'ingestctl start' if found is None else found.start_command()}"


def _installed() -> Service | None:
    """As ``installed``, for a hint alone: what cannot be found out is no error."""
    try:
        return installed()
    except CommandError:  # its file may not be read; this user has no name
        return None


def _account(user: str | None) -> Any:
    import pwd

    name = user or os.environ.get("SUDO_USER")
    if name is None and os.geteuid() != 0:
        try:
            return pwd.getpwuid(os.getuid())
        except KeyError:
            raise CommandError(
                "this user has no name", operation="use", object=f"uid {os.getuid()}", remedy="add --for USER"
            ) from None
    if name is None:
        raise usage(
            "root has no photos: say whose daemon it is", operation="use", object="--system",
            remedy=f"ingestctl {' '.join(sys.argv[1:])} --for USER",
        )  # fmt: skip
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise CommandError("there is no such user", operation="use", object=f"--for {name}", remedy="id USER") from None
