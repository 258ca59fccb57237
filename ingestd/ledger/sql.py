"""Loads ``queries.sql``: each query has a name and a sentence there, and is used by that name here."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HEAD = re.compile(r"^-- :(\w+) (.+)$")


@cache
def queries() -> dict[str, str]:
    """Every query of ``queries.sql`` by its name. Raises ``ValueError`` on a name used twice."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in Path(__file__).with_name("queries.sql").read_text(encoding="utf-8").splitlines():
        if head := _HEAD.match(line):
            if head[1] in found:
                raise ValueError(f"the query {head[1]} stands twice in queries.sql")
            current = found[head[1]] = []
        elif current is not None and not line.startswith("--"):
            current.append(line)
    return {name: "\n".join(lines).strip().rstrip(";") for name, lines in found.items()}


def sql(name: str) -> str:
    """The text of one query. Raises ``KeyError`` for a name that ``queries.sql`` does not hold."""
    return queries()[name]


def schema() -> str:
    """The whole schema as a script."""
    return Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
