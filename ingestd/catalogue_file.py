"""The catalogue of kinds, made anew when other packages were installed or removed.

What is installed is seen by the folders that packages lie in: a process that loads the declarations is begun only when
one of them has changed since the catalogue was written.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from ingestd.kinds.catalogue import Catalogue, package_places, read
from ingestd.lockdown.environment import of_child

LOAD_S: Final = 30.0
"""Seconds for the declarations of all packages to be loaded: the import of one may bring a large library along."""


class Looked(NamedTuple):
    """The catalogue as it is now; ``trouble``: why it could not be made anew, empty when it could or need not."""

    catalogue: Catalogue
    trouble: str = ""


def up_to_date(state: Path, lockdown: str = "auto") -> Looked:
    """The catalogue of a state folder, which exists. Takes some 0.2 s when packages have changed, up to ``LOAD_S``."""
    found = read(state)
    if found.places == package_places():
        return Looked(found)
    command = [sys.executable, "-m", "ingestd.catalogue", str(state), "--lockdown", lockdown]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LOAD_S, stdin=subprocess.DEVNULL,
            env=of_child(os.environ, (), online=False), start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Looked(found, f"the declarations of other packages were not loaded within {LOAD_S:.0f} seconds")
    except OSError as error:
        return Looked(found, f"no process could be begun: {error.strerror or error}")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        return Looked(found, f"the declarations of other packages were not loaded: {last}")
    return Looked(read(state))


def known_kinds(state: Path) -> Catalogue:
    """What other packages declare, for the settings: kinds have keys. The state folder need not exist yet."""
    if state.is_dir():
        return up_to_date(state).catalogue
    with tempfile.TemporaryDirectory(prefix="ingestd-kinds-") as folder:
        return up_to_date(Path(folder)).catalogue
