"""The daemon's log: JSON lines into journald or a rotated file, readable ones on a terminal.

``opening`` puts it together; ``lines`` makes a line and its JSON, ``secrets`` takes out what no log may hold;
``log_queue`` stands between the event loop and a target (``journal``, ``rotated``, ``terminal``), so that one that
stands still blocks nobody; ``foreign`` takes in what libraries say.

A line names what it is about by the same fields everywhere: ``job`` (its name), ``item`` or ``items`` (ids), ``batch``,
``pid`` (of the child), ``sink``, ``path``, ``cause``. What a model made of a picture never stands in one.
"""

from ingestd.logs.foreign import adopted
from ingestd.logs.opening import Log, open_log

__all__ = ["Log", "adopted", "open_log"]
