"""What the daemon and its children say to each other: msgspec structs, msgpack, one per frame (see ``wire``).

Every message is an array on the wire (fields in order) with its class name as tag. Paths are bytes throughout:
``os.fsencode`` of what the file system holds, so names that are not UTF-8 survive. Times are milliseconds (``ms``)
or nanoseconds (``_ns``). A child begins with ``Hello`` and waits for its setup message. A child that ends on purpose
exits 0 after it has sent its last message; anything else is a death.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ingestd.errors import FailureKind

PROTOCOL = 1
"""Daemon and children come from one installation; the number catches an upgrade under a running daemon."""


class Message(msgspec.Struct, array_like=True, tag=True):
    """Base of all messages."""


class Stat(msgspec.Struct, array_like=True, frozen=True):
    """What identifies one state of a file: if any of these differs, the bytes may differ."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Step(msgspec.Struct, array_like=True, frozen=True):
    """One resolved step of a job's recipe.

    ``bit`` is its place in the ``todo``/``bad`` masks; ``spec`` is what it runs with and, for an ``embed`` step,
    ``spec["dim"]`` is the vector's dimension. The Qdrant vector carries the step's ``kind`` as its name.
    """

    bit: int
    kind: str
    fingerprint: str
    spec: dict[str, object]
    pass_: int = 0


# ---------------------------------------------------------------------------------------------- any child → daemon


class Hello(Message):
    """First message of every child. ``started`` is the process start time (seconds since the epoch, psutil's)."""

    kind: str
    pid: int
    started: float
    protocol: int = PROTOCOL


class Fatal(Message):
    """The child cannot do what it is for and exits. ``kind`` decides: wait and retry, or stop the job and tell."""

    kind: Literal["unavailable", "misconfigured", "crash"]
    message: str
    operation: str
    object: str
    remedy: str


class Finish(Message):
    """daemon → any child: no more work will come. End what you have, report it, exit 0."""


# ------------------------------------------------------------------------------------------------------- the worker


class Machine(msgspec.Struct, array_like=True, frozen=True):
    """What models may use here, and nothing that decides what they make.

    ``cache`` is a folder for what is derived from models and can be made again. ``device``: ``auto``, ``cpu``,
    ``cuda``, ``cuda:N`` or ``mps``. ``threads`` of a forward pass, 0 for one per core. ``concurrency``: requests that
    an endpoint gets at once. ``key_file``: where the endpoint's key lies, empty when it is in the environment or there
    is none; the key itself never travels. ``open_http``: a key may go over plain HTTP to another machine.
    """

    cache: str
    device: str = "auto"
    threads: int = 0
    concurrency: int = 4
    key_file: str = ""
    open_http: bool = False


class StepRequest(msgspec.Struct, array_like=True, frozen=True):
    """A step as it was asked for, before it is resolved: ``model`` as typed, ``settings`` from flags.

    ``settings`` holds what decides results, only where it was given: ``prompt`` (text), ``max_tokens`` (int),
    ``temperature`` (float), ``seed`` (int), ``exact`` (bool).
    """

    kind: str
    model: str
    settings: dict[str, object] = {}


class Probe(Message):
    """daemon → worker, instead of ``WorkerSetup``: say what these requests mean on this machine, then exit."""

    requests: list[StepRequest]
    machine: Machine


class Fetching(Message):
    """worker → daemon, while a probe brings a model to this machine: ``done`` of ``total`` bytes (0: not known)."""

    model: str
    done: int
    total: int


class Probed(Message):
    """worker → daemon: the requests, resolved, in the same order (``bit`` and ``pass_`` are set by the daemon)."""

    steps: list[Step]
    provenance: dict[str, object]


class WorkerSetup(Message):
    """daemon → worker: the steps of the pass that this worker is for, and what its models may use."""

    steps: list[Step]
    machine: Machine


class Ready(Message):
    """worker → daemon: models are loaded. ``ms`` is the load time, ``batch`` the largest model batch."""

    ms: float
    batch: int


class Work(Message):
    """daemon → worker: one item of the window. ``todo`` is the mask of steps that it still needs."""

    item: int
    path: bytes
    stat: Stat
    todo: int


class Began(Message):
    """worker → daemon: reading of this item begins; if the worker dies from now on, the item is a suspect."""

    item: int


class Hashed(Message):
    """worker → daemon: the file was read whole and unchanged. The worker waits for a ``Verdict`` on this item.

    ``sha256`` is the raw digest (32 bytes), ``stat`` the file as it was read.
    """

    item: int
    sha256: bytes
    stat: Stat


class Verdict(Message):
    """daemon → worker: what to do with a hashed item.

    ``go``: run the steps in ``steps`` (a mask). ``hold``: drop the bytes, a later verdict follows (the same content
    is in flight elsewhere); on a later ``go`` read the file again. ``drop``: forget the item, the daemon has answered
    for it (its results exist already, or its content failed before). ``texts`` brings, by step bit, descriptions that
    the ledger has already and that one of ``steps`` reads.
    """

    item: int
    action: Literal["go", "hold", "drop"]
    steps: int = 0
    texts: dict[int, str] = {}


class StepResult(msgspec.Struct, array_like=True, frozen=True):
    """What one step made. ``body`` is a JSON object, encoded; ``vector`` little-endian float32, L2-normalised.

    ``flag`` is empty, or says in a word what is odd about a result that is kept all the same: ``empty``, ``cut`` (by
    the token limit), ``loop``.
    """

    bit: int
    body: bytes
    vector: bytes | None = None
    flag: str = ""


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """What went wrong at the steps in ``steps`` (a mask). ``content``: true if any copy of the bytes fails alike."""

    steps: int
    kind: FailureKind
    message: str
    stage: str
    detail: str = ""
    content: bool = False


class Outcome(Message):
    """worker → daemon: everything that came of one item in this pass, whole: it is committed in one transaction.

    ``sha256`` is None when the file could not be read. ``ms`` maps a phase (``read``, ``decode``, ``model``, and
    one entry per step kind) to the milliseconds that this item took of it; a batch's time is shared equally.
    """

    item: int
    stat: Stat | None
    sha256: bytes | None
    format: str | None
    width: int | None
    height: int | None
    results: list[StepResult]
    failures: list[Failure]
    ms: dict[str, float]


class Drain(Message):
    """daemon → worker: finish what is in the model now, send those outcomes, leave the rest, exit 0."""


class Usage(Message):
    """worker → daemon: peak footprint in bytes (USS where the platform has it) and CPU seconds so far."""

    peak_bytes: int
    cpu_s: float


class EncodeSetup(Message):
    """daemon → worker, instead of ``WorkerSetup``: only encode queries for this embed step, until the socket ends."""

    step: Step
    machine: Machine


class Encode(Message):
    """daemon → worker in encode mode: turn ``text``, or the image file at the path ``image``, into a query vector."""

    id: int
    text: str
    image: bytes | None = None


class Encoded(Message):
    """worker → daemon: little-endian float32, L2-normalised, or None with ``error``."""

    id: int
    vector: bytes | None
    error: str = ""


ToWorker = Probe | WorkerSetup | EncodeSetup | Work | Verdict | Encode | Drain | Finish
FromWorker = Hello | Fetching | Probed | Ready | Began | Hashed | Outcome | Usage | Encoded | Fatal


# ------------------------------------------------------------------------------------------------------- the walker


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
FromWalker = Hello | RootsResolved | Listing | ScanEnd | Fatal


# --------------------------------------------------------------------------------------------------------- the sinks


class SinkSetup(Message):
    """daemon → sink: whose feed to follow, where to put it, and how far it had got.

    ``ledger`` is opened read-only. ``place`` is a file, a folder or a URL, by the sink's kind. ``seq`` and ``token``
    are the stored cursor (0 and ``""`` for a new sink). ``feed_seq`` is the newest seq at this moment.
    ``store`` is the collection's name on a server unless the place names one; ``key_file`` is where the server's key
    lies, empty when it is in the environment or there is none.
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
FromSink = Hello | Delivered | Trouble | Hits | Fatal
