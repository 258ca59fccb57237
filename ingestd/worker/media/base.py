"""What a medium is: it opens an item's bytes and gives the facts about them, and the form that steps work on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Content(ABC):
    """An item's bytes whose beginning was read. ``load`` comes first, then ``view`` and ``facts``.

    ``format`` is a short name in capitals (``JPEG``); ``width`` and ``height`` are None for what has none.
    """

    format: str
    width: int | None
    height: int | None

    @abstractmethod
    def cost(self, want: int | None) -> int:
        """About how many pixels, of four bytes each, ``load`` and ``view`` will hold."""

    @abstractmethod
    def load(self, want: int | None) -> None:
        """Decode it, whole. Raises ``ItemError``. Called once.

        ``want`` is the least that will be asked of ``view``: of a picture the shorter side in pixels, 0 for all there
        is, None for nothing but to know that it is not damaged.
        """

    @abstractmethod
    def view(self, want: int) -> Any:
        """What steps work on: an upright RGB picture (``PIL.Image``), a text (``str``). Raises ``ItemError``."""

    @abstractmethod
    def facts(self) -> dict[str, object]:
        """What it says of itself, as JSON's types: the body of the ``meta`` step. Never raises for odd data."""


class Medium(ABC):
    """One kind of content, by ``name`` (see ``kinds.media``)."""

    name: str

    @abstractmethod
    def open(self, data: bytes, suffix: bytes) -> Content:
        """Look at the beginning of an item's bytes. ``suffix`` is its file name's, with the dot.

        Raises ``ItemError``: ``empty``, ``unsupported``, ``corrupt``, ``too_large``.
        """
