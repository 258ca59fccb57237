"""Requests of man(7), in the few forms that our pages need."""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import wrap

from ingestctl import __version__
from ingestctl.manual import DATE

# Signs that roff would take for typography, where a person wants to copy them from the page.
_SIGNS = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}

_COMMENTED = re.compile(r"(\S.*?)(?:\s{2,}(\S.*))?")
"""A line of an example: the command, then two blanks or more and its comment."""


_LABELS = ("example", "exit code")
"""What begins small in the help of a verb, as "usage" does there. A program's name stays small here, too."""

_WIDE = 79
"""Bytes of a line of the source, as mandoc's lint wants it. A page fills its lines anew, so breaks are free."""


def text(words: str) -> str:
    """``words`` for the body of a page: special characters escaped, lines wrapped."""
    return wrapped("".join(_SIGNS.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in words))


def wrapped(source: str) -> str:
    """Source wrapped into lines; one that begins with a full stop is escaped, or it would be taken for a request."""
    lines = wrap(source, _WIDE - 2, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in lines)


def page(name: str, what: str, *sections: str) -> str:
    """A whole page of section 1."""
    head = [
        f'.\\" Made from the parsers of {name} by ingestctl.manual.',
        f'.TH {name.upper()} 1 {DATE} "ingestd {__version__}" "User Commands"',
        # Names and options are not hyphenated, and commands keep single blanks.
        ".nh",
        ".ad l",
    ]
    return "\n".join([*head, section("NAME", f"{name} \\- {text(what)}"), *sections]) + "\n"


def section(title: str, *parts: str) -> str:
    # The heading begins a paragraph itself.
    return "\n".join([f".SH {title}", "\n".join(parts).removeprefix(".PP\n")])


def subsection(title: str, *parts: str) -> str:
    return "\n".join([f".SS {title}", *parts])


def paragraphs(words: str) -> str:
    """Text with a blank line between its paragraphs."""
    blocks = [" ".join(block.split()) for block in words.strip().split("\n\n")]
    return "\n.PP\n".join(text(begun(block) if block.startswith(_LABELS) else block) for block in blocks)


def begun(words: str) -> str:
    """``words`` with a capital letter."""
    return words[:1].upper() + words[1:]


def items(rows: Iterable[tuple[str, str]]) -> str:
    """Terms, which may be set in bold already, with their explanations."""
    return "\n".join(f".TP\n{term}\n{text(words)}" for term, words in rows)


def bold(words: str) -> str:
    return wrapped(f"\\fB{text(words)}\\fR")


def italic(words: str) -> str:
    return f"\\fI{text(words)}\\fR"


def examples(lines: str) -> str:
    """Commands, each with the comment on its line; those without one follow line by line."""
    parts: list[str] = []
    between = ""
    for line in lines.strip().splitlines():
        found = _COMMENTED.fullmatch(line.strip())
        assert found is not None, line
        command, comment = found[1], found[2]
        parts += [".PP" if comment else between or ".PP", bold(command)]
        parts += [".RS 4", text(comment), ".RE"] if comment else []
        between = ".PP" if comment else ".br"
    return "\n".join(parts)


def epilog(words: str) -> str:
    """The end of a verb's help: prose, and indented lines that are commands, mostly under "examples:"."""
    parts = []
    for block in re.findall(r"(?:^(?!  ).*\n?)+|(?:^  .*\n?)+", words.strip("\n") + "\n", re.MULTILINE):
        if block.strip():
            parts.append(examples(block) if block.startswith("  ") else f".PP\n{paragraphs(block)}")
    return "\n".join(parts)
