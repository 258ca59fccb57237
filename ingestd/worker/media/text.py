"""Text in UTF-8, and what can be counted in it whatever its language."""

from __future__ import annotations

from typing import Final

from ingestd.errors import ItemError
from ingestd.kinds.media import TEXT
from ingestd.worker.media.base import Content, Medium

MAX_BYTES: Final = 100 * 1024 * 1024
"""The longest books are some MB; what is longer is a log or a dump, and a step would hold several copies of it."""

_BYTE_ORDER_MARK: Final = "\ufeff"


class Text(Content):
    """A text, decoded. Line ends are left as they are; a byte order mark is no part of it."""

    format = "TEXT"
    width = None
    height = None

    def __init__(self, text: str) -> None:
        self._text = text

    def cost(self, want: int | None) -> int:
        return len(self._text)  # up to four bytes a character

    def load(self, want: int | None) -> None:
        """It is decoded already."""

    def view(self, want: int) -> str:
        return self._text

    def facts(self) -> dict[str, object]:
        """``format``; ``characters``, ``words`` (what white space separates) and ``lines`` as numbers."""
        text = self._text
        return {
            "format": self.format, "characters": len(text), "words": len(text.split()),
            "lines": len(text.splitlines()),
        }  # fmt: skip


class TextMedium(Medium):
    """Reads UTF-8, with or without a byte order mark."""

    name = TEXT

    def open(self, data: bytes, suffix: bytes) -> Text:
        if len(data) > MAX_BYTES:
            raise ItemError("too_large", f"it has over {MAX_BYTES >> 20} MiB of text", stage="decode")
        try:
            text = data.decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
        except UnicodeDecodeError as error:
            where = f"byte {error.start} does not fit"
            raise ItemError("unsupported", f"it is no text in UTF-8: {where}", stage="decode") from error
        if not text.strip():
            raise ItemError("empty", "there is no text in it", stage="decode")
        if "\0" in text:
            raise ItemError("unsupported", "it holds zero bytes: it is no text", stage="decode")
        return Text(text)


MEDIUM: Final = TextMedium()
