"""The envelope around what clients and the daemon say: JSON-RPC 2.0, one object a line, over a Unix socket."""

from __future__ import annotations

import msgspec

MAX_CLIENTS = 64
FIRST_LINE_S = 10.0

# JSON-RPC's own codes; one of ours (-32000) carries ``error.data = {operation, object, remedy, exit}``.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
INGEST_ERROR = -32000


class Request(msgspec.Struct, frozen=True):
    """The envelope. ``params`` stays raw until the verb is known."""

    method: str
    id: int | str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")
    jsonrpc: str = "2.0"


class ErrorData(msgspec.Struct, frozen=True):
    """What every error of ours carries, so that a client can show it and choose its exit code."""

    operation: str
    object: str
    remedy: str
    exit: int


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    code: int
    message: str
    data: ErrorData | None = None
