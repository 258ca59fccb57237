"""What the daemon and the walker say to each other, in the manner of ``work``."""

from __future__ import annotations

import msgspec

from ingestd.protocol.work import Fatal, Finish, Hello, Locked, Message, Stat


class RootSpec(msgspec.Struct, array_like=True, frozen=True):
    """A source folder as the ledger knows it.

    A source that is one image file is its folder with the file's name in ``only`` (one ``RootSpec`` a file).
    """

    id: int
    path: bytes
    device: int
    only: bytes | None = None


class ResolveRoots(Message):
    """daemon → walker: make these paths real; answer ``RootsResolved`` and exit."""

    paths: list[bytes]


class ResolvedRoot(msgspec.Struct, array_like=True, frozen=True):
    """``path`` canonical (``realpath``), or ``error`` (a sentence) with ``path`` as given."""

    path: bytes
    device: int
    fs: str
    is_dir: bool
    error: str = ""


class RootsResolved(Message):
    """walker → daemon, in the order asked."""

    roots: list[ResolvedRoot]


class WalkerSetup(Message):
    """daemon → walker: list these roots for a job, comparing with what the ledger at ``ledger`` holds for it.

    ``list_file`` (absolute path of a spooled file list) replaces the folder walk when set: one path per entry, each
    ended by ``\\n``, or by NUL when the file's name ends in ``.nul``; the only root is then ``/``. ``include`` and
    ``exclude`` are glob patterns. ``limit`` ends the walk once the job has so many items in all. ``credit`` is the
    number of ``Listing`` messages that may be under way before the walker waits for ``Credit``.
    """

    job_id: int
    ledger: str
    roots: list[RootSpec]
    include: list[str]
    exclude: list[str]
    limit: int | None
    list_file: str | None
    credit: int = 4


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One file: its name in its folder and its state. ``item`` is its row when the ledger already has it."""

    name: bytes
    stat: Stat
    item: int | None = None


class Listing(Message):
    """walker → daemon: differences in one folder, at most 500 entries a message.

    ``rel`` is the folder relative to its root (``b""`` for the root itself). ``entries`` are new files, changed ones
    and ones that came back; unchanged files are not sent. ``gone`` are item ids that a complete, error-free listing
    no longer holds. ``unchanged`` counts files seen since the listing before that are as the ledger has them: those of
    folders without differences are carried along, for such a folder sends no listing. A long stretch without any
    difference sends an empty one now and then, as a sign of life.
    """

    root_id: int
    rel: bytes
    entries: list[Entry]
    gone: list[int]
    unchanged: int


class Credit(Message):
    """daemon → walker: ``n`` more ``Listing`` messages may be sent."""

    n: int


class WalkError(msgspec.Struct, array_like=True, frozen=True):
    """A folder that could not be listed, or a root that is away."""

    path: bytes
    message: str
    is_root: bool


class ScanEnd(Message):
    """walker → daemon: the last message. ``complete``: every folder of every root was listed without an error.

    ``limited``: it ended early because the limit was reached. ``found`` counts files that are items (sent or
    unchanged); ``skipped`` counts what is not an image, by kind (``video``, ``raw``, ``sidecar``, ``system``,
    ``hidden``, ``excluded``, ``special``, ``symlink loop``, ``dangling link``, ``heic``, ``not a path``, ``other``).
    ``errors`` are the first 100.
    """

    complete: bool
    limited: bool
    found: int
    skipped: dict[str, int]
    errors: list[WalkError]


ToWalker = ResolveRoots | WalkerSetup | Credit | Finish
FromWalker = Hello | Locked | RootsResolved | Listing | ScanEnd | Fatal
