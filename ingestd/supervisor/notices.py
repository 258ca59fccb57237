"""Notices to whoever listens: ``subscribe`` is a listener, and the loop does not know what becomes of them."""

from __future__ import annotations

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from ingestd.policy.notices import Notice

OnNotice = Callable[[Notice], None]
"""Called in the event loop: it must be quick and must not wait."""


class Notices:
    """The listeners. ``heard`` is False where there is none: then nobody needs to make a notice."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._listeners: dict[object, OnNotice] = {}
        self._logged: set[tuple[object, type[Notice]]] = set()
        self.heard = False

    def listen(self, listener: OnNotice) -> Callable[[], None]:
        """Call ``listener`` with every notice from now on, until what is returned is called."""
        key = object()
        self._listeners[key] = listener
        self.heard = True

        def unlisten() -> None:
            self._listeners.pop(key, None)
            self._logged = {pair for pair in self._logged if pair[0] is not key}
            self.heard = bool(self._listeners)

        return unlisten

    def post(self, notice: Notice) -> None:
        """Tell every listener. One that raises is logged, the first time for each kind of notice, and goes on being
        told; the others and the loop go on as well."""
        for key, listener in list(self._listeners.items()):
            try:
                listener(notice)
            except Exception:
                if (key, type(notice)) not in self._logged:
                    self._logged.add((key, type(notice)))
                    self._log.error("listener failed", notice=type(notice).__name__, job=notice.name, exc_info=True)
