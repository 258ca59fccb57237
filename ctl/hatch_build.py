"""The wheel's data files: manual pages and completion scripts, made from the parsers while the wheel is built."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parents[1]


def shared() -> dict[str, str]:
    """Path below the installation's prefix: the file's text. Imports nothing that this project depends on."""
    # First: the sources that are being built, and no other version that is installed here.
    sys.path[:0] = [str(ROOT), str(ROOT / "ctl")]
    try:
        from ingestctl.completion import bash, fish, zsh
        from ingestctl.manual import ingestctl_page, ingestd_page

        from ingestd.__main__ import arguments
    finally:
        del sys.path[:2]
    return {
        "share/bash-completion/completions/ingestctl": bash.script(),
        "share/fish/vendor_completions.d/ingestctl.fish": fish.script(),
        "share/man/man1/ingestctl.1": ingestctl_page.page(),
        "share/man/man1/ingestd.1": ingestd_page.page(arguments()),
        "share/zsh/site-functions/_ingestctl": zsh.script(),
    }


class Shared(BuildHookInterface[Any]):
    """Adds them to the wheel's data files, which pip installs below the environment's prefix."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._made = tempfile.TemporaryDirectory(prefix="ingestd-")
        for place, text in shared().items():
            file = Path(self._made.name, place)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(file)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._made.cleanup()
