"""Kinds of sinks: each is declared once, here or by another package (entry point ``ingestd.sinks``).

A declaration is data: the daemon holds it, reads ``--sink`` by it, gives the sink's process what it names and nothing
else, and never runs anything of it. The code of a kind (``module``, ``doctor``) is loaded by a child alone. It may come
from a JSON file, so every field is plain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.kinds.steps import Setting

API: Final = 1
"""Of the declarations and of the contract in ``sinks.base``. It is raised when an old sink would no longer do."""

OURS: Final = "ingestd"
"""The distribution of the kinds that ship."""

Takes = Literal["nothing", "file", "url"]
"""What may follow a kind's word: nothing, ``:/absolute/file``, or ``:scheme://host``."""

VECTORS: Final = "{vectors}"
"""In the name of a place: eight hex digits that stand for the models whose vectors it holds."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_PLACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class SinkKind(msgspec.Struct, frozen=True):
    """One kind of sink.

    How it is asked for: ``word`` is what stands after ``--sink`` (empty: the name), ``takes`` what may follow it; two
    kinds may share a word when what follows tells them apart. ``form`` shows a URL in help. ``address`` names the form
    of the URL (``sink_addresses``); where it is empty, ``schemes`` maps those that are known to the ports that they
    mean. ``default``: a job gets it unasked.

    What it is: ``vectors``: it holds vectors, so it can be searched, and the job has to make some. ``copies``: how
    often it keeps a result's bytes on this disk, 0 for a sink that keeps none here. ``reserve``: bytes below which it
    does not write there. ``files``: how many files it may hold open, where that is many. ``place``: the name of its
    file or folder in the state folder (empty: the kind's name); with ``{vectors}`` each set of models has its own.

    What its process is given beside the ledger to read: ``writes`` may name ``place``, the folder that its place lies
    in. ``ports`` are the TCP ports that it may connect to, or ``address``: the one of its URL. ``secrets`` are
    variables of the environment; ``key_file`` is the setting that names a file to read the first of them from.
    ``settings`` are further ones; their names and ``key_file`` begin with the word and ``_``.

    Its code: ``module`` is ``package.module:Class``, a ``sinks.base.Sink``; ``doctor`` a module with a function
    ``check(setup, served)``, empty where there is none. ``package`` is the distribution that it is from.
    """

    name: str
    help: str
    module: str
    api: int
    doctor: str = ""
    package: str = OURS
    word: str = ""
    takes: tuple[Takes, ...] = ("nothing",)
    form: str = "URL"
    address: Literal["", "qdrant_url"] = ""
    schemes: dict[str, int] = {}
    default: bool = False
    vectors: bool = False
    copies: float = 0.0
    reserve: int = 0
    files: int = 0
    place: str = ""
    writes: tuple[Literal["place"], ...] = ()
    ports: tuple[int, ...] | Literal["address"] = ()
    secrets: tuple[str, ...] = ()
    key_file: str = ""
    settings: tuple[Setting, ...] = ()

    @property
    def asked(self) -> str:
        """The word for it after ``--sink``."""
        return self.word or self.name

    @property
    def local(self) -> bool:
        """Whether it keeps copies on this disk."""
        return self.copies > 0

    @property
    def networked(self) -> bool:
        """Whether it connects to anything."""
        return self.ports != ()

    @property
    def forms(self) -> list[str]:
        """Every way to write it after ``--sink``, for messages and help."""
        written = {"nothing": "", "file": ":/absolute/file", "url": f":{self.form}"}
        return [self.asked + written[one] for one in self.takes]


class SinkSpec(msgspec.Struct, frozen=True):
    """One sink of a job. ``place`` is set only where the user named one (an absolute path, or a server's URL); else it
    lies under the state folder."""

    name: str
    kind: str
    place: str | None = None


SinkKinds = Mapping[str, SinkKind]
"""Every kind of sink that is known, by its name."""

EMBEDDED: Final = SinkKind(
    "qdrant",
    "Qdrant's own engine, in the state folder",
    "ingestd.sinks.qdrant.edge_sink:EdgeSink",
    API,
    "ingestd.sinks.qdrant.edge_doctor",
    default=True,
    vectors=True,
    copies=2.5,  # the vector, the payload, its log and its index
    reserve=256 * 1024 * 1024,  # see RESERVE of its sink, held equal by a test
    files=256,  # 9 while it is small (measured), and more as it grows
    place=f"qdrant-{VECTORS}",
    writes=("place",),
)

SERVER: Final = SinkKind(
    "qdrant-server",
    "a Qdrant server",
    "ingestd.sinks.qdrant.server_sink:ServerSink",
    API,
    "ingestd.sinks.qdrant.server_doctor",
    word="qdrant",
    takes=("url",),
    address="qdrant_url",
    vectors=True,
    ports="address",
    secrets=("INGESTD_QDRANT_KEY",),
    key_file="qdrant_key_file",
)

JSONL: Final = SinkKind(
    "jsonl",
    "a file of JSON lines, one for each change",
    "ingestd.sinks.jsonl.sink:JsonlSink",
    API,
    "ingestd.sinks.jsonl.doctor",
    takes=("nothing", "file"),
    default=True,
    copies=1.0,
    place="items.jsonl",
    writes=("place",),
)

SHIPPED: Final[SinkKinds] = {kind.name: kind for kind in (EMBEDDED, SERVER, JSONL)}
"""What is there without any other package, in the order of help and of a job's sinks."""


def declared(name: str, kinds: SinkKinds = SHIPPED) -> SinkKind:
    """The kind of this name. Raises ``Misconfigured`` (exit code 2) for one that no package here declares, and for one
    that this release cannot use."""
    kind = kinds.get(name)
    if kind is None:
        there = ", ".join(words_of(kinds))
        raise _refused(name, "there is no sink of this kind", f"Install the package that has it; there are {there}")
    if problem := problem_of(kind):
        raise _refused(name, problem, f"Install the {kind.package} that fits this ingestd")
    return kind


def problem_of(kind: SinkKind) -> str:
    """Why a declaration cannot be used; empty when it can. Declarations of other packages are held against this."""
    if kind.api != API:
        return f"the package {kind.package} was written for version {kind.api} of ingestd's sinks, this is {API}"
    own = [setting.name for setting in kind.settings] + [kind.key_file] * bool(kind.key_file)
    prefix = kind.asked.replace("-", "_") + "_"
    module, colon, name = kind.module.partition(":")
    checks = (
        (_NAME.fullmatch(kind.name) and _NAME.fullmatch(kind.asked), "its name or word is not of the form a-z0-9-"),
        (kind.takes, "it says not how it is written"),
        (not kind.default or "nothing" in kind.takes, "it is a default and cannot be asked for by its word alone"),
        (_PLACE.fullmatch(kind.place.replace(VECTORS, "x") or "x"), "its place is no plain name of a file"),
        (all(name.startswith(prefix) for name in own), f"its settings do not begin with {prefix}"),
        (not kind.key_file or kind.key_file.endswith("_key_file"), "its key_file does not end in _key_file"),
        (all(_VARIABLE.fullmatch(name) for name in kind.secrets), "its secrets are no names of variables"),
        (not kind.key_file or kind.secrets, "it has a file for a key and no variable for one"),
        (kind.ports != "address" or kind.takes == ("url",), "it has the port of its address, and may have no address"),
        ("url" not in kind.takes or kind.address or kind.schemes, "it takes a URL and knows no scheme"),
        (_MODULE.fullmatch(module) and colon and name.isidentifier(), "its module is not of the form package.module:C"),
        (not kind.doctor or _MODULE.fullmatch(kind.doctor), "the module of its check is no name of a module"),
    )
    wrong = [text for fine, text in checks if not fine]
    return f"its declaration in {kind.package} cannot be used: {'; '.join(wrong)}" if wrong else ""


def words_of(kinds: SinkKinds = SHIPPED) -> list[str]:
    """What may stand before the colon of ``--sink``."""
    return list(dict.fromkeys(kind.asked for kind in kinds.values()))


def _refused(name: str, message: str, remedy: str) -> Misconfigured:
    return Misconfigured(message, operation="use", object=f"the sink {name}", remedy=remedy, exit=EXIT_USAGE)
