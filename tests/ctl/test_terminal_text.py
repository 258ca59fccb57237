"""Text and figures as a person reads them."""

from __future__ import annotations

import pytest
from ingestctl import terminal_text


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (terminal_text.duration(0.44), "0.4 s"),
        (terminal_text.duration(45), "45 s"),
        (terminal_text.duration(720), "12 min"),
        (terminal_text.duration(12000), "3 h 20 min"),
        (terminal_text.duration(3600 * 52), "2 days 4 h"),
        (terminal_text.span(3 * 3600, 3.6 * 3600), "3 h to 4 h"),
        (terminal_text.span(40, 58), "40 s to 60 s"),
        (terminal_text.span(0, 2), "1 s to 5 s"),
        (terminal_text.span(1195, 1200), "19 min to 20 min"),
        (terminal_text.span(7200, 7200), "about 2 h"),
        (terminal_text.span(3 * 86400, 4.5 * 86400), "3 days to 5 days"),
        (terminal_text.percent(99.99), "99.9 %"),
        (terminal_text.percent(100.0), "100 %"),
        (terminal_text.size(999), "999 bytes"),
        (terminal_text.size(61_000_000), "61 MB"),
        (terminal_text.size(1_240_000_000), "1.2 GB"),
        (terminal_text.many(1, "copy", "copies"), "1 copy"),
        (terminal_text.many(2000, "copy", "copies"), "2,000 copies"),
        (terminal_text.cut("/a/very/long/path.jpg", 11), "/a/ve…h.jpg"),
        (terminal_text.cut("日本語の写真", 7), "日…写真"),
        (terminal_text.bar(0.999, 4), "███░"),
        (
            terminal_text.clean("a\x1b[31m\n\udcff\u202e é 日\u202f👩\u200d👦"),
            "a\\x1b[31m\\n\\udcff\\u202e é 日\u202f👩\u200d👦",
        ),
    ],
)
def test_words_for_people(shown: str, wanted: str) -> None:
    """Numbers, durations, sizes and names as a person reads them."""
    assert shown == wanted
