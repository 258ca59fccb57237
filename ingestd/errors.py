"""Errors are kinds that decide what happens next; every message says operation, object and remedy.

Foreign exceptions are translated into one of these at the border where they arise. There are few on purpose:
a new class is justified only by a new decision that somebody takes because of it.
"""

from __future__ import annotations

from typing import Final, Literal

FailureKind = Literal[
    "unreadable",  # the file cannot be opened or read (permission, I/O error, it is gone)
    "unsupported",  # the right extension with bytes of another kind
    "corrupt",  # an image whose bytes cannot be decoded, or a truncated one
    "too_large",  # more pixels or bytes than the limits allow
    "empty",  # zero bytes
    "changed",  # it was being written while it was read, several times
    "model",  # a model raised for this image
    "crash",  # the worker died twice with this item alone in it
    "hang",  # past its deadline, twice, alone
    "oom",  # out of memory, twice, alone
]

EXIT_OK: Final = 0
EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_FAILED_ITEMS: Final = 3
EXIT_UNREACHABLE: Final = 4
EXIT_TEMPORARY: Final = 5
EXIT_INTERRUPTED: Final = 130

# What the daemon's own process ends with, for whoever restarts it: numbers of sysexits(3). The client has those above.
EX_USAGE: Final = 64
EX_UNAVAILABLE: Final = 69
EX_SOFTWARE: Final = 70
EX_TEMPFAIL: Final = 75
EX_CONFIG: Final = 78

NO_RESTART: Final = frozenset({EX_USAGE, EX_UNAVAILABLE, EX_CONFIG})
"""Codes after which a restart changes nothing: a person has to. ``RestartPreventExitStatus=`` in the units."""


class IngestError(Exception):
    """What a person is told: ``operation`` on ``object`` went wrong, and ``remedy`` says what to do.

    ``exit`` is the exit code that the client gives (see the ``EXIT_*`` constants).
    """

    def __init__(self, message: str, *, operation: str, object: str, remedy: str, exit: int = EXIT_ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.object = object
        self.remedy = remedy
        self.exit = exit

    def sentence(self) -> str:
        """One line for a log or a terminal: what, on what, why, and the way on."""
        return f"cannot {self.operation} {self.object}: {self.message}. {self.remedy}"

    def complaint(self) -> str:
        """The two lines for stderr, in the client's form."""
        return f"Error: cannot {self.operation} {self.object}: {self.message}\nTry: {self.remedy}"


class Misconfigured(IngestError):
    """Nothing but a person's change will help: the job stops and says what to change."""


class AlreadyRunning(IngestError):
    """Another daemon holds the state folder: there is nothing for this one to do, now or after a restart."""


class Unavailable(IngestError):
    """A sink or a source is away: wait, keep the cursor, try again."""

    def __init__(self, message: str, *, operation: str, object: str, remedy: str, exit: int = EXIT_TEMPORARY) -> None:
        super().__init__(message, operation=operation, object=object, remedy=remedy, exit=exit)


class IllegalMove(Exception):
    """A state change that ``policy.states`` does not hold: a defect in the caller, never a user's mistake."""


class ProtocolError(Exception):
    """A peer sent bytes that are no message: too long, not decodable, or out of turn."""


class ItemError(Exception):
    """This item fails (or these steps of it), the others go on.

    ``stage`` is where it happened (``read``, ``decode``, ``model``); ``detail`` is for the log and ``failed --json``.
    """

    def __init__(self, kind: FailureKind, message: str, *, stage: str, detail: str = "") -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.message = message
        self.stage = stage
        self.detail = detail


def daemon_exit(error: BaseException) -> int:
    """The exit code of a daemon that ``error`` ended: what a service manager decides by whether to start it again."""
    match error:
        case AlreadyRunning():
            return EX_UNAVAILABLE
        case Misconfigured():
            return EX_CONFIG
        case Unavailable():
            return EX_TEMPFAIL
        case _:  # a damaged ledger, which the next start salvages, or a defect of ours
            return EX_SOFTWARE
