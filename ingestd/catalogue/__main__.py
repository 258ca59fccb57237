"""``python -m ingestd.catalogue --fd N --parent PID``: makes the catalogue once, and ends."""

from __future__ import annotations

import os
from pathlib import Path

from ingestd.catalogue.loading import make_catalogue
from ingestd.child import Channel, run_child
from ingestd.errors import ProtocolError, Unavailable
from ingestd.kinds.catalogue import FILE, encode
from ingestd.lockdown import Access
from ingestd.protocol.catalogue import Catalogued, MakeCatalogue, ToCatalogue
from ingestd.protocol.work import Finish


def main(channel: Channel[ToCatalogue]) -> None:
    """Make it as asked. Raises ``Unavailable`` when it cannot be written."""
    match channel.receive():
        case MakeCatalogue(state):
            channel.send(Catalogued(write(Path(state) / FILE, encode(make_catalogue()))))
        case Finish():
            return
        case other:
            raise ProtocolError(f"the catalogue was asked with {type(other).__name__}")


def write(path: Path, data: bytes) -> bool:
    """Replace a file, whole or not at all; False when it says so already. Raises ``Unavailable``."""
    try:
        if path.is_file() and path.read_bytes() == data:
            return False
        beside = path.with_suffix(".new")
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError as error:
        raise Unavailable(
            error.strerror or str(error), operation="write", object=str(path),
            remedy="Check that the state folder can be written and that its disk has space",
        ) from error  # fmt: skip
    return True


def access(message: ToCatalogue) -> Access | None:
    """It runs the import of other packages: it may read what is installed, write the state folder, and reach nobody."""
    return Access(write=(os.fsencode(message.state),)) if isinstance(message, MakeCatalogue) else Access()


if __name__ == "__main__":
    run_child("catalogue", ToCatalogue, main, access)
