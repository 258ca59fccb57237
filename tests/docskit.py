"""Reading our documents: links, headings, tables and what stands in backticks, as a Markdown reader takes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")


def documents() -> list[Path]:
    """Every Markdown document of ours."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md")]
    return sorted(found)


def text_of(path: str) -> str:
    """A document, by its path from the root."""
    return (ROOT / path).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Where the links of a document lead, as written."""
    return _LINK.findall(prose(text))


def code(text: str) -> list[str]:
    """What stands in backticks within the prose."""
    return _CODE.findall(prose(text))


def anchors(text: str) -> set[str]:
    """What a link to a heading may name: lower case, hyphens for spaces, no punctuation."""
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in _HEADING.findall(prose(text)))
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in plain}


def section(text: str, heading: str) -> str:
    """What stands below a heading, its subsections included. Raises ``ValueError`` when there is no such heading."""
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(heading)}", line)), None)
    if start is None:
        raise ValueError(f"there is no heading {heading!r}")
    level = len(lines[start]) - len(lines[start].lstrip("#"))
    fenced, body = False, []
    for line in lines[start + 1 :]:
        fenced ^= line.startswith("```")
        if not fenced and re.match(rf"#{{1,{level}}} ", line):
            break
        body.append(line)
    return "\n".join(body)


def tables(text: str) -> list[list[list[str]]]:
    """Every table of a text as rows of cells: its head first, without the rule below that."""
    found: list[list[list[str]]] = []
    inside = False
    for line in prose(text).splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            if not re.fullmatch(r"\|[\s:|-]+\|", line):
                found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]])
        inside = line.startswith("|")
    return found


def rows(text: str, heading: str, number: int = 0) -> list[list[str]]:
    """The rows of a section's table, without its head."""
    return tables(section(text, heading))[number][1:]
