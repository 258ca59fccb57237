"""Every kind that is known on this machine: what ships, and what other packages declare.

Their code is loaded by a child alone (``ingestd.catalogue``). It writes what it found into ``kinds.json`` in the state
folder, and the daemon and the client read that file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ingestd.kinds.sinks import SHIPPED as SHIPPED_SINKS, SinkKind, SinkKinds
from ingestd.kinds.steps import API, SHIPPED, StepKind

FILE: Final = "kinds.json"
"""The file's name in the state folder."""

STEPS: Final = "ingestd.steps"
SINKS: Final = "ingestd.sinks"
"""Groups of entry points. What an entry point names is a declaration: a ``StepKind``, a ``SinkKind``."""


class RefusedKind(msgspec.Struct, frozen=True):
    """A declaration that is not used: which, from which package, and why, in a sentence."""

    package: str
    name: str
    why: str


class Catalogue(msgspec.Struct, frozen=True):
    """What other packages declare. ``packages`` maps each distribution to its version; ``places`` maps each folder that
    packages are installed in to when it last changed (``st_mtime_ns``): another time means that it is to be made
    anew."""

    api: int = API
    packages: dict[str, str] = {}
    places: dict[str, int] = {}
    steps: tuple[StepKind, ...] = ()
    sinks: tuple[SinkKind, ...] = msgspec.field(default=(), name="sink_declarations")
    refused: tuple[RefusedKind, ...] = ()

    @property
    def declared(self) -> tuple[object, ...]:
        """What is declared, by which packages: all of it but when it was looked at."""
        return self.packages, self.steps, self.sinks, self.refused

    @property
    def step_kinds(self) -> Mapping[str, StepKind]:
        """Every kind of step by its name; what ships comes first and cannot be replaced."""
        return {**SHIPPED, **{kind.name: kind for kind in self.steps if kind.name not in SHIPPED}}

    @property
    def sink_kinds(self) -> SinkKinds:
        """Every kind of sink by its name; what ships comes first and cannot be replaced."""
        return {**SHIPPED_SINKS, **{kind.name: kind for kind in self.sinks if kind.name not in SHIPPED_SINKS}}


NOTHING: Final = Catalogue()
"""No other package declares anything."""


def read(state: Path) -> Catalogue:
    """The catalogue of a state folder. Without one, or with one that cannot be read, there is what ships."""
    try:
        found = msgspec.json.decode((state / FILE).read_bytes(), type=Catalogue)
    except (OSError, msgspec.MsgspecError):
        return NOTHING
    return found if found.api == API else NOTHING


def package_places() -> dict[str, int]:
    """The folders that packages are installed in, as this process sees them, and when each last changed."""
    installed = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    found = {}
    for folder in (*installed, *os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        try:
            if folder:
                found[folder] = os.stat(folder).st_mtime_ns
        except OSError:
            pass  # it is named and not there
    return found


def encode(catalogue: Catalogue) -> bytes:
    """The file's content. What the client needs is written out, so that it need not know our rules: each step and
    setting has its ``flag``; ``sinks`` has what is typed for each sink, and what its ``place`` is."""
    found: dict[str, Any] = msgspec.to_builtins(catalogue)
    for kind, told in zip(catalogue.steps, found["steps"], strict=True):
        told["flag"] = kind.flag
        for setting, said in zip(kind.settings, told["settings"], strict=True):
            said["flag"] = setting.flag
    found["sinks"] = [
        {
            "name": sink.name, "schemes": [sink.asked], "help": sink.help, "package": sink.package,
            "place": next((form for form in sink.takes if form != "nothing"), "none"),
        }
        for sink in catalogue.sinks
    ]  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(found)) + b"\n"
