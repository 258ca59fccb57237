"""The fixed parts of the scripts: files beside this one, so that shells and their linters can read them."""

from __future__ import annotations

import os


def fill(shell: str, **values: str) -> str:
    """``script_template.SHELL`` with each ``@NAME@`` replaced."""
    with open(f"{os.path.dirname(os.path.abspath(__file__))}/script_template.{shell}", encoding="utf-8") as file:
        text = file.read()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
