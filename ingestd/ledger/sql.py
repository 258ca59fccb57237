"""Loads the .sql files: each query and migration has a name and a sentence there, and is used by that name here."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HEAD = re.compile(r"^-- :(\w+) (.+)$")


def _sections(name: str) -> dict[str, str]:
    """The named parts of a .sql file. Raises ``ValueError`` on a name used twice."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines():
        if head := _HEAD.match(line):
            if head[1] in found:
                raise ValueError(f"{head[1]} stands twice in {name}")
            current = found[head[1]] = []
        elif current is not None and not line.startswith("--"):
            current.append(line)
    return {section: "\n".join(lines).strip().rstrip(";") for section, lines in found.items()}


@cache
def queries() -> dict[str, str]:
    """Every query of ``queries.sql`` by its name. Raises ``ValueError`` on a name used twice."""
    return _sections("queries.sql")


def sql(name: str) -> str:
    """The text of one query. Raises ``KeyError`` for a name that ``queries.sql`` does not hold."""
    return queries()[name]


def schema() -> str:
    """The whole schema as a script."""
    return Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")


def migration(version: int) -> str:
    """The script that brings a ledger of the version before to ``version``, without its transaction."""
    return _sections("migrations.sql")[f"to_{version}"]
