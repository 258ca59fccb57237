"""What the suite takes from the machine that runs it, and what it does not.

Every test, and every program that a test starts, sees the environment that ``isolate`` makes: the few variables that a
program needs to run at all, and fixed values for the rest. So neither pip's settings nor a language, a time zone, a
home folder, a proxy or a desktop session of the machine can change what a test finds.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, MutableMapping

KEPT = frozenset(
    {
        # To find and run programs at all.
        "PATH", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONPYCACHEPREFIX",
        # Settings of the suite itself.
        "INGESTD_CHAOS", "INGESTD_SEED", "INGESTD_EXAMPLES", "CI",
    }
)  # fmt: skip
"""Variables that are taken over. Every other one is dropped: a list of those that harm would never be complete."""

KEPT_PREFIXES = ("PYTEST_", "COV", "LD_", "DYLD_", "CUDA_", "NVIDIA_", "OMP_", "MKL_")
"""The same, by how they begin: pytest's and coverage's own, the loader's, and those of the accelerator's libraries."""

OF_PYTEST = frozenset(
    {
        "PYTEST_ADDOPTS", "PYTEST_PLUGINS",
        "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS",
    }
)  # fmt: skip
"""What pytest is given, and how it draws on the terminal: dropped as soon as it and its processes have read it."""

FIXED: Mapping[str, str] = {
    # With this value, and no other, pip reads no configuration file: neither the machine's nor the user's.
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "LANG": "C.UTF-8",
    # In POSIX's form, which needs no time zone database.
    "TZ": "UTC0",
    "HF_HUB_OFFLINE": "1",
}
"""Variables that have the same value on every machine."""

UMASK = 0o022


def isolated(environ: Mapping[str, str], home: str) -> dict[str, str]:
    """The environment of the tests, made of the machine's ``environ``; ``home`` becomes ``HOME``."""
    kept = {name for name in environ if name in KEPT or name.startswith(KEPT_PREFIXES)} - OF_PYTEST
    return {name: environ[name] for name in kept} | FIXED | {"HOME": home}


def isolate(environ: MutableMapping[str, str]) -> str:
    """Give this process the environment of the tests, their umask and time zone; the folder that is its new home.

    What pytest itself reads stays until ``forget_pytest``. The caller removes the folder.
    """
    home = tempfile.mkdtemp(prefix="home-")
    made = isolated(environ, home) | {name: value for name, value in environ.items() if name in OF_PYTEST}
    for name in set(environ) - set(made):
        del environ[name]
    environ.update(made)
    time.tzset()
    os.umask(UMASK)
    return home


def forget_pytest(environ: MutableMapping[str, str]) -> None:
    """Drop what pytest has read by now: a client in a test draws for a pipe, or for a terminal that the test makes."""
    for name in OF_PYTEST & set(environ):
        del environ[name]
