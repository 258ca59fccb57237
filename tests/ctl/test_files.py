"""The client's files: what each may import, and which names they may have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

CTL = Path(__file__).resolve().parents[2] / "ctl"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((CTL / "ingestctl").rglob("*.py")):
        parts = path.relative_to(CTL).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Names of modules that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports inside of functions count: files that need each other are one file, or three."""
    known = modules()
    left = {name: {used for used in imported(path) if used in known} for name, path in known.items()}
    assert left["ingestctl.main"], "the imports of this very package were found"
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        for name in free:
            del left[name]
    assert left == {}
