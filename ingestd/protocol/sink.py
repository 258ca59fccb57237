"""What the daemon and a sink child say to each other, in the manner of ``work``."""

from __future__ import annotations

import msgspec

from ingestd.kinds.sinks import SinkKind
from ingestd.protocol.work import Fatal, Finish, Hello, Locked, Message, Step


class SinkSetup(Message):
    """daemon → sink: whose feed to follow, where to put it, and how far it had got.

    ``ledger`` is opened read-only. ``place`` is a file, a folder or a URL, by the sink's kind. ``seq`` and ``token``
    are the stored cursor (0 and ``""`` for a new sink). ``feed_seq`` is the newest seq at this moment.
    ``store`` is the collection's name on a server unless the place names one; ``key_file`` is where the server's key
    lies, empty when it is in the environment or there is none. ``declaration`` says what the process may touch and
    where its code is; without one the kind is refused. ``settings`` has the kind's own that are given.
    """

    job_id: int
    job_uuid: str
    job_name: str
    ledger: str
    kind: str
    place: str
    steps: list[Step]
    seq: int
    token: str
    feed_seq: int
    store: str = ""
    key_file: str = ""
    declaration: SinkKind | None = None
    settings: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)


class Grown(Message):
    """daemon → sink: the feed has reached ``seq``."""

    seq: int


class Delivered(Message):
    """sink → daemon: everything up to ``seq`` is durable there; store this cursor.

    A first ``Delivered`` after the setup says where the sink truly stands: lower than the stored cursor if what it
    holds did not match the token and was moved aside.
    """

    seq: int
    token: str


class Trouble(Message):
    """sink → daemon: it cannot write at present and will try again by itself in ``retry_s`` seconds; ``""`` = over."""

    message: str
    remedy: str
    retry_s: float


class Search(Message):
    """daemon → sink: the ``limit`` nearest points to ``vector`` (little-endian float32) under ``vector_name``.

    ``folder`` (absolute, as bytes of the path) keeps points with a path below it; ``since`` and ``until`` (RFC 3339
    dates or times, UTC) compare with ``taken_at``.
    """

    id: int
    vector_name: str
    vector: bytes
    limit: int
    folder: bytes | None = None
    since: str | None = None
    until: str | None = None


class Hit(msgspec.Struct, array_like=True, frozen=True):
    """``payload`` is the point's payload as JSON bytes; ``score`` is cosine similarity."""

    id: str
    score: float
    payload: bytes


class Hits(Message):
    """sink → daemon."""

    id: int
    hits: list[Hit]
    error: str = ""


ToSink = SinkSetup | Grown | Search | Finish
FromSink = Hello | Locked | Delivered | Trouble | Hits | Fatal
