"""What the daemon and its workers say to each other: msgspec structs, msgpack, a list of them in each frame (``wire``).

Every message is an array on the wire (fields in order) with its class name as tag. Paths are bytes throughout:
``os.fsencode`` of what the file system holds, so names that are not UTF-8 survive. Times are milliseconds (``ms``)
or nanoseconds (``_ns``). A child begins with ``Hello`` and waits for its setup message. A child that ends on purpose
exits 0 after it has sent its last message; anything else is a death. The same holds for ``walk`` and ``sink``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ingestd.errors import FailureKind

PROTOCOL = 2
"""Daemon and children come from one installation; the number catches an upgrade under a running daemon.

2: a frame holds a list of messages; in 1 it held one."""


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

    ``bit`` is its place in the ``todo``/``bad`` masks; ``spec`` is what it runs with and, for a step that makes
    vectors, ``spec["dim"]`` is their dimension. ``name`` is what its results, vectors and counts go by, empty for a
    step of the name of its kind; ``needs`` are the names of the steps whose results it reads;
    ``module`` has the code of a kind that another package declares, ``media`` are those that the kind takes,
    ``ports`` what it may connect to.
    """

    bit: int
    kind: str
    fingerprint: str
    spec: dict[str, object]
    pass_: int = 0
    name: str = ""
    needs: tuple[str, ...] = ()
    module: str = ""
    media: tuple[str, ...] = ("picture",)
    ports: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            msgspec.structs.force_setattr(self, "name", self.kind)


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


class Locked(Message):
    """any child → daemon: it has given up what it does not need. ``force``: what it is held to, in a few words each;
    ``missing``: what this machine does not offer."""

    force: list[str]
    missing: list[str]


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

    ``settings`` holds what decides results, only where it was given: for a describing model ``prompt`` (text),
    ``max_tokens`` (int), ``temperature`` (float), ``seed`` (int), ``exact`` (bool). ``name``, ``needs``,
    ``module`` and ``media`` are those of the ``Step`` that it becomes.
    """

    kind: str
    model: str
    settings: dict[str, object] = {}
    name: str = ""
    needs: tuple[str, ...] = ()
    module: str = ""
    media: tuple[str, ...] = ("picture",)
    ports: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            msgspec.structs.force_setattr(self, "name", self.kind)


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
    """daemon → worker: the steps of the pass that this worker is for, and what its models may use.

    ``sources`` are the folders and files that its items lie in: a worker that is locked down reads no others.
    """

    steps: list[Step]
    machine: Machine
    sources: list[bytes] = []


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


class Refused(Message):
    """worker → daemon: the lock keeps it from reading this item, which leads out of the sources by a link, or whose
    disk was mounted anew. It holds the item until ``Drain``; another worker, with another lock, is to read it."""

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
    for it (its results exist already, or its content failed before). ``bodies`` brings, by step name, the bodies
    (JSON) of results that the ledger has already and that one of ``steps`` reads.
    """

    item: int
    action: Literal["go", "hold", "drop"]
    steps: int = 0
    bodies: dict[str, str] = {}


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
    one entry per step, by its name) to the milliseconds that this item took of it; a batch's time is shared equally.
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
    """daemon → worker, instead of ``WorkerSetup``: encode queries for this step, until the socket ends."""

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
FromWorker = Hello | Locked | Fetching | Probed | Ready | Began | Refused | Hashed | Outcome | Usage | Encoded | Fatal
