"""Programs that are run as the user whose service is installed: a trial start, folders, the client."""

from __future__ import annotations

import os
import subprocess
import sys

from ingestctl import daemon_program
from ingestctl.rpc import CommandError
from ingestctl.service import variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRIAL_S = 60.0
"""Seconds for the program to print its version."""


def trial(environment: dict[str, str], account: Any = None) -> None:
    """Start the program once as the service will (``account``: as that user's), to print its version.

    Raises ``CommandError`` with the reason when it cannot: a folder that this user may not enter, a missing package.
    """
    who = None if account is None else account.pw_name
    home = os.path.expanduser("~") if account is None else account.pw_dir
    as_user = {} if account is None or os.geteuid() == account.pw_uid else _as(account)
    command = daemon_program.command("--version")
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, **environment}
    try:
        done = subprocess.run(
            command, env=env, cwd="/", capture_output=True, text=True, errors="replace", timeout=TRIAL_S, **as_user
        )
        words = (
            "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        )
    except subprocess.TimeoutExpired:
        words = f"no answer within {TRIAL_S:.0f} s"
    except OSError as error:
        words = error.strerror or str(error)
    if words:
        raise CommandError(
            words,
            operation="run",
            object=f"{sys.executable} -m ingestd" + (f" as {who}" if who else ""),
            remedy=(
                f"install ingestd into an environment that {who} may enter (/opt/ingestd, say), and install from there"
                if who
                else f"{sys.executable} -m pip install ingestd"
            ),
        )


def make_folders(folders: list[str], account: Any) -> None:
    """Make the folders that the service may write, as its user: root makes nothing in another user's home."""
    command = ["mkdir", "-p", "-m", "700", "--", *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **_as(account))
    if done.returncode:
        raise CommandError(
            done.stderr.strip() or "it said nothing",
            operation="make",
            object=f"the state folder of {account.pw_name}",
            remedy="give that folder to its user, or set INGESTD_HOME to another one",
        )


def _as(account: Any) -> dict[str, Any]:
    if os.geteuid() == account.pw_uid:
        return {}
    return {
        "user": account.pw_uid,
        "group": account.pw_gid,
        "extra_groups": os.getgrouplist(account.pw_name, account.pw_gid),
    }


def client(account: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``ingestctl arguments`` as another user would run it from a login shell."""
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": account.pw_dir,
        "LOGNAME": account.pw_name,
        **variables.kept(variables.SYSTEM),
    }
    runtime = f"/run/user/{account.pw_uid}"
    if os.path.isdir(runtime):
        env["XDG_RUNTIME_DIR"] = runtime
    command = [sys.executable, "-m", "ingestctl", *arguments]
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False, **_as(account))
