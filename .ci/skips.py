"""Prints how many tests of a report skipped, each reason with its count, and the tests by name: ``skips.py REPORT``.

The report is what ``pytest --junitxml=REPORT`` writes. The exit code is 0 whatever was skipped.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree


def skips(report: Path) -> dict[str, list[str]]:
    """The names of the skipped tests, by reason. Raises ``OSError`` or ``ParseError`` for what is no report."""
    found = defaultdict(list)
    for test in ElementTree.parse(report).iter("testcase"):
        for skipped in test.iter("skipped"):
            name = f"{test.get('classname', '')}::{test.get('name', '')}".removeprefix("::")
            found[skipped.get("message", "no reason given")].append(name)
    return dict(found)


def main(report: Path) -> None:
    try:
        found = skips(report)
    except (OSError, ElementTree.ParseError) as error:
        print(f"skipped: not known, the tests left no report: {error}")
        return
    print(f"skipped: {sum(map(len, found.values()))}")
    for reason, names in sorted(found.items(), key=lambda pair: -len(pair[1])):
        print(f"  {len(names)} x {reason}")
        for name in sorted(names):
            print(f"      {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
