"""Is a generated description one that a person would call broken? Pure; no model is asked."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final, Literal

Odd = Literal["", "empty", "cut", "loop"]

SEVERITY: Final[tuple[Odd, ...]] = ("", "cut", "loop", "empty")
"""From what is fine to what helps nobody."""

LOOP_WORDS: Final = 8
"""A phrase said three times in a row is a loop when that makes so many words: "very, very, very" is a way to speak."""

LOOP_REPEATS: Final = 3

LONGEST_PHRASE: Final = 100
"""Words of a phrase that is looked for in a row: what repeats longer ones shows all over the text, and comparing every
length would take minutes for the text of a server that knows no limit."""

WINDOW: Final = 5
"""Words of the runs that are compared all over the text. Two sentences share four words often, five seldom."""

FRESH: Final = 0.6
"""The share of runs that must be the first of their kind: a unit said twice leaves more, one said thrice fewer."""

LEAST_RUNS: Final = 10
"""With fewer runs than this (a text under 14 words) the share says nothing."""

SENTENCE_WORDS: Final = 3
SENTENCE_REPEATS: Final = 4
"""A sentence of so many words, word by word the same so many times, wherever in the text."""

_GLUED: Final = re.compile(r"(.{1,16}?)\1{7,}", re.DOTALL)
"""A short unit eight times in a row, for scripts without spaces and for words that never end."""

_GLUED_LEAST: Final = 24
"""Characters of such a run: shorter ones occur, as in a row of dots or "hahahaha"."""


def odd(text: str, *, ended: bool) -> Odd:
    """What is odd about ``text``: ``empty`` (no letter or digit in it), ``loop`` (it repeats itself), ``cut`` (the
    model did not end it before the limit; ``ended`` says whether it did), or nothing."""
    if not any(character.isalnum() for character in text):
        return "empty"
    if loops(text):
        return "loop"
    return "" if ended else "cut"


def loops(text: str) -> bool:
    """Whether a phrase comes again and again, in a row or all over the text."""
    if any(len(found[0]) >= _GLUED_LEAST for found in _GLUED.finditer(text)):
        return True
    sentences = Counter(tuple(_words(sentence)) for sentence in re.split(r"[.!?\n]", text))
    if any(len(said) >= SENTENCE_WORDS and times >= SENTENCE_REPEATS for said, times in sentences.items()):
        return True
    words = _words(text)
    return _in_a_row(words) or _all_over(words)


def worse(first: Odd, second: Odd) -> bool:
    """Whether ``first`` is odder than ``second``."""
    return SEVERITY.index(first) > SEVERITY.index(second)


def _words(text: str) -> list[str]:
    return [word.strip(".,;:!?\"'()").casefold() for word in text.split()]


def _in_a_row(words: list[str]) -> bool:
    """A phrase of n words that is repeated at once at least ``LOOP_REPEATS`` times, ``LOOP_WORDS`` words in all."""
    for length in range(1, min(len(words) // LOOP_REPEATS, LONGEST_PHRASE) + 1):
        wanted = max(LOOP_REPEATS * length, LOOP_WORDS) - length
        same = 0  # words in a row that equal the one a phrase earlier
        for at in range(length, len(words)):
            same = same + 1 if words[at] == words[at - length] else 0
            if same >= wanted:
                return True
    return False


def _all_over(words: list[str]) -> bool:
    runs = [tuple(words[at : at + WINDOW]) for at in range(len(words) - WINDOW + 1)]
    return len(runs) >= LEAST_RUNS and len(set(runs)) < FRESH * len(runs)
