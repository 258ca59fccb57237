"""What the daemon and the catalogue child say to each other, in the manner of ``work``."""

from __future__ import annotations

from ingestd.protocol.work import Fatal, Finish, Hello, Locked, Message


class MakeCatalogue(Message):
    """daemon → child: load every declaration that is installed and write the catalogue into the folder ``state``."""

    state: str


class Catalogued(Message):
    """child → daemon: the catalogue is written, or was so already. ``changed``: it says something else than before."""

    changed: bool


ToCatalogue = MakeCatalogue | Finish
FromCatalogue = Hello | Locked | Catalogued | Fatal
