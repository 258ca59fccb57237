"""Text, in this process: what is decoded, what is counted, what is refused."""

from __future__ import annotations

import pytest

from ingestd.errors import ItemError
from ingestd.worker.media import text
from ingestd.worker.media.text import MEDIUM


def test_a_text_is_given_whole() -> None:
    """Steps get every character and line end as it is; a byte order mark is no part of it."""
    content = MEDIUM.open("\ufeffeins\r\nzwei\n".encode(), b".txt")
    content.load(0)
    assert content.view(0) == "eins\r\nzwei\n"
    assert content.facts() == {"format": "TEXT", "characters": 11, "words": 2, "lines": 2}
    assert (content.format, content.width, content.height) == ("TEXT", None, None)


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"", "empty"), (b" \n\t", "empty"), (b"f\xfcr", "unsupported"), (b"ab\0c", "unsupported")],
)
def test_what_is_no_text_is_refused(data: bytes, kind: str) -> None:
    """Nothing, white space, another encoding and binary data: each by its kind."""
    with pytest.raises(ItemError) as caught:
        MEDIUM.open(data, b".txt")
    assert (caught.value.kind, caught.value.stage) == (kind, "decode")


def test_a_text_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than the limit is refused before it is decoded."""
    monkeypatch.setattr(text, "MAX_BYTES", 1 << 20)
    with pytest.raises(ItemError, match="over 1 MiB") as caught:
        MEDIUM.open(b"\xff" * ((1 << 20) + 1), b".txt")
    assert caught.value.kind == "too_large"
    assert MEDIUM.open(b"a" * (1 << 20), b".txt").cost(0) == 1 << 20
