"""Rules that leave files out: ``--include`` and ``--exclude`` globs, and ``.ingestignore`` files in any folder.

All are patterns as in ``.gitignore``: without a slash they match a name at any depth, with one they start at the root
(or at the folder of the ignore file), ``*`` stops at a slash and ``**`` does not; what matches a folder holds for all
that is in it. Paths are bytes outside and ``os.fsdecode``d inside, so a name of bad bytes still matches ``*.jpg``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ingestd.errors import Misconfigured
from ingestd.walker.report import Unlistable

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE: Final = b".ingestignore"

MAX_IGNORE_FILE: Final = 1 << 20
"""Bytes. Thousands of patterns fit; whatever is longer is not an ignore file."""


def _compile(patterns: list[str]) -> GitIgnoreSpec:
    """Raises ``ValueError`` on a pattern that is none."""
    # Imported late: a walk without any rule does without these 40 ms.
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(patterns)


class Filters:
    """The globs of a job, for one of its roots. Raises ``Misconfigured`` on a pattern that cannot be one.

    A pattern may also be an absolute path below the root, as a shell's completion writes it. ``#`` and ``!`` at its
    beginning have no meaning of their own here.
    """

    def __init__(self, root: bytes, include: list[str], exclude: list[str]) -> None:
        base = os.fsdecode(root.rstrip(b"/"))
        self._include = self._globs(base, include, "--include") if include else None
        self._exclude = self._globs(base, exclude, "--exclude") if exclude else None
        self.any = bool(include or exclude)

    def leaves_out_file(self, path: bytes) -> bool:
        """Whether the file at ``path`` (relative to the root) is not wanted."""
        text = os.fsdecode(path)
        if self._include is not None and not self._include.match_file(text):
            return True
        return self._exclude is not None and self._exclude.match_file(text)

    def leaves_out_folder(self, path: bytes) -> bool:
        """Whether the folder at ``path`` is not wanted with all that is in it."""
        return self._exclude is not None and self._exclude.match_file(os.fsdecode(path) + "/")

    @staticmethod
    def _globs(base: str, globs: list[str], flag: str) -> GitIgnoreSpec:
        patterns = [glob.removeprefix(base) if glob.startswith(base + "/") else glob for glob in globs]
        try:
            return _compile([f"\\{pattern}" if pattern.startswith(("#", "!")) else pattern for pattern in patterns])
        except ValueError as error:
            raise Misconfigured(
                str(error),
                operation="use",
                object=f"the patterns of {flag}",
                remedy="Give patterns as in a .gitignore file, for example '*.png' or 'trips/2019/'",
            ) from error


@dataclass(frozen=True, slots=True)
class Ignores:
    """The ignore files in force in a folder: its own and, over ``above``, those of the folders above it."""

    base: bytes
    spec: GitIgnoreSpec
    above: Ignores | None

    def hides(self, path: bytes, *, folder: bool) -> bool:
        """Whether ``path`` (relative to the root) is to be ignored. The nearest file that has a say decides."""
        rules: Ignores | None = self
        while rules is not None:
            text = os.fsdecode(path[len(rules.base) + 1 :] if rules.base else path)
            said = rules.spec.check_file(text + "/" if folder else text).include
            if said is not None:
                return said
            rules = rules.above
        return False


def read_ignores(folder: bytes, rel: bytes, above: Ignores | None) -> Ignores:
    """The ignore file of ``folder``, which is ``rel`` below its root. Raises ``OSError``.

    Raises ``Unlistable`` on one that cannot be understood: better to leave the folder alone than to read what its owner
    may have left out.
    """
    with open(os.path.join(folder, IGNORE_FILE), "rb") as file:
        data = file.read(MAX_IGNORE_FILE + 1)
    if len(data) > MAX_IGNORE_FILE:
        raise Unlistable(f"its {IGNORE_FILE.decode()} is longer than {MAX_IGNORE_FILE} bytes")
    try:
        spec = _compile(os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")).replace("\r\n", "\n").split("\n"))
    except ValueError as error:
        raise Unlistable(f"its {IGNORE_FILE.decode()} cannot be understood: {error}") from error
    return Ignores(rel, spec, above)
