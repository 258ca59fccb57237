"""Environment variables that a service must be given from the shell that it is installed from."""

from __future__ import annotations

import os

from ingestctl import daemon_program

KEPT = ("INGESTD_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "PYTHONPATH")
"""Variables that name folders. A shell's other settings are not the service's: it has ``config.toml``."""

SYSTEM = ("INGESTD_HOME", "PYTHONPATH")
"""Of those, what root's environment may say for another user's service."""


def kept(names: tuple[str, ...] = KEPT) -> dict[str, str]:
    """Those of ``names`` that are set, with absolute folders: a service runs in another working folder."""
    here = daemon_program.environment()
    return {name: here[name] for name in names if here.get(name)}


def settings_left_out() -> list[str]:
    """Settings of this shell that the service will not have."""
    return sorted(name for name in os.environ if name.startswith("INGESTD_") and name != "INGESTD_HOME")
