"""How the daemon's program is run from here: its environment, what its exit codes mean, what it printed last."""

from __future__ import annotations

import os
import sys

from ingestctl import locations
from ingestctl.rpc import EXIT_ERROR, EXIT_TEMPORARY, EXIT_USAGE, Away, CommandError

_EX_USAGE, _EX_TEMPFAIL, _EX_CONFIG = 64, 75, 78

_HOMES = ("INGESTD_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
_CACHES = ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE")
"""Variables that name a folder, which may be relative to where the client runs; the daemon runs elsewhere.

In those of the models' cache, the hub's library expands other variables as well.
"""


def command(*arguments: str) -> list[str]:
    """The daemon's program, run by the interpreter that runs this client."""
    return [sys.executable, "-m", "ingestd", *arguments]


def check_own(operation: str) -> None:
    """Raise ``Away`` where ``INGESTD_SOCKET`` names a daemon: only its owner runs that program on its files."""
    if locations.chosen():
        raise Away(
            f"nobody listens on {locations.socket()}, which INGESTD_SOCKET names",
            operation=operation,
            remedy="ask its owner to start it, or unset INGESTD_SOCKET for a daemon of your own",
        )


def environment() -> dict[str, str]:
    """This process's environment, made true for another working folder: every folder in it is absolute.

    Raises ``CommandError`` where the package ``ingestd`` is not installed beside this client.
    """
    from importlib.util import find_spec

    spec = find_spec("ingestd")
    if spec is None or spec.origin is None:
        raise CommandError(
            "its package is not installed beside this client",
            operation="start",
            object="the daemon",
            remedy=f"{sys.executable} -m pip install ingestd",
        )
    env = dict(os.environ)
    for name in (*_HOMES, *_CACHES):
        if env.get(name):
            folder = os.path.expandvars(env[name]) if name in _CACHES else env[name]
            env[name] = os.path.abspath(os.path.expanduser(folder))
    folders = [os.path.abspath(folder) for folder in env.get("PYTHONPATH", "").split(os.pathsep) if folder]
    package_folder = os.path.dirname(os.path.dirname(os.path.abspath(spec.origin)))
    if not package_folder.endswith(("site-packages", "dist-packages")) and package_folder not in folders:
        folders.insert(0, package_folder)
    if folders:
        env["PYTHONPATH"] = os.pathsep.join(folders)
    return env


def exit_code(code: int, object: str) -> int:
    """This client's exit code for the daemon's, whose own are those of sysexits(3): see ``ingestd.errors``.

    ``object`` is what the daemon's error was about: a wrong configuration is a usage error, a folder that cannot be
    used is not, though both have the same code.
    """
    if code == _EX_CONFIG:
        return EXIT_USAGE if object.startswith("the configuration") else EXIT_ERROR
    return {_EX_USAGE: EXIT_USAGE, _EX_TEMPFAIL: EXIT_TEMPORARY}.get(code, EXIT_ERROR)


def last_lines(raw: bytes) -> str:
    """The end of what the program printed, without the frames of a traceback; empty when it printed nothing."""
    lines = [line for line in raw.decode("utf-8", "replace").splitlines() if line.strip()]
    return "\n".join([line for line in lines[-12:] if not line.startswith(("  ", "Traceback "))])[:4000]
