"""Draws the state machines in ``docs/architecture.md`` from the tables in ``ingestd/policy/states.py``.

``python docs/draw_states.py`` writes the diagrams between their markers. ``--check`` writes nothing and exits with 1
where a diagram is not what the tables say: a test runs it, so that the page cannot drift from the code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "architecture.md"

sys.path.insert(0, str(ROOT))

from ingestd.policy.states import ITEM_MOVES, JOB_MOVES  # noqa: E402 (the checkout comes before what is installed)

Table = Mapping[Any, Mapping[Any, str]]
"""State → event → the next state."""

DIAGRAMS: Final[Mapping[str, tuple[Table, str]]] = {
    "a job": (JOB_MOVES, "queued"),
    "an item": (ITEM_MOVES, "pending"),
}
"""Name of a diagram → its table, and the state in which everything begins."""


def diagram(table: Table, first: str) -> str:
    """A table as a Mermaid state diagram: one arrow for each pair of states, with all the events that lead along it."""
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    for state, moves in table.items():
        targets: dict[str, list[str]] = {}
        for event, target in moves.items():
            targets.setdefault(target, []).append(event)
        lines += [f"    {state} --> {target}: {', '.join(events)}" for target, events in targets.items()]
        if not moves:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines)


def drawn(text: str) -> str:
    """The page with each diagram between its markers as the tables say. Raises ``ValueError`` without the markers."""
    for name, (table, first) in DIAGRAMS.items():
        start, end = f"<!-- states of {name}: drawn by docs/draw_states.py -->\n", "<!-- end -->"
        before, marker, rest = text.partition(start)
        _, closing, after = rest.partition(end)
        if not marker or not closing:
            raise ValueError(f"{PAGE.name} has no place for the states of {name}")
        text = f"{before}{start}```mermaid\n{diagram(table, first)}\n```\n{end}{after}"
    return text


def main(argv: list[str] | None = None) -> int:
    """Write the page, or check it; returns an exit code."""
    parser = argparse.ArgumentParser(description="Draw the states of jobs and items in docs/architecture.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page is out of date")
    check = parser.parse_args(argv).check
    old = PAGE.read_text(encoding="utf-8")
    new = drawn(old)
    if new == old:
        return 0
    if check:
        print(f"{PAGE.relative_to(ROOT)} is out of date. Try: python docs/draw_states.py", file=sys.stderr)
        return 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
