"""The socket server: bytes to requests to replies. Errors become replies here and nowhere else.

The daemon never dies of what a client sends: a malformed line gets a framed error, a slow client only costs its own
connection, and the oldest connection without a whole request gives way when all places are taken.
"""

from __future__ import annotations

import binascii
import os
import select
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
from anyio.abc import SocketListener, SocketStream
from structlog.typing import FilteringBoundLogger

from ingestd.errors import EXIT_ERROR, EXIT_USAGE, IngestError, Misconfigured, ProtocolError
from ingestd.protocol import control as c, rpc
from ingestd.protocol.wire import LineReader

T = TypeVar("T")
Handler = Callable[[Any], Awaitable[c.Reply]]
Streamer = Callable[[Any, Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[None]]

REPLY_S = 30.0
"""Seconds that a client may take to read a reply before its connection is closed."""

ACCEPT_RETRY_S = 0.5

_LOCAL_PEERCRED = 0x001
_SOL_LOCAL = 0


@dataclass(slots=True)
class Client:
    """One connection. ``asked``: a whole request has come."""

    number: int
    scope: anyio.CancelScope
    raw: socket.socket
    asked: bool = False

    @property
    def gone(self) -> bool:
        """Whether the other end is closed, not only half: nobody will read what it still waits for."""
        poll = select.poll()
        poll.register(self.raw.fileno(), 0)
        return bool(poll.poll(0))


class Server:
    """Serves the verbs of ``handlers`` on one Unix socket."""

    def __init__(self, handlers: dict[str, Handler], streams: dict[str, Streamer], log: FilteringBoundLogger) -> None:
        self._handlers = handlers
        self._streams = streams
        self._log = log
        self._clients: dict[int, Client] = {}
        self._next = 0

    async def listen(self, path: Path) -> SocketListener:
        """Bind ``path`` so that only this user can reach it. Raises ``Misconfigured`` for a place that is not safe."""
        _safe_folder(path.parent)
        _clear(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            sock.bind(os.fsencode(path))
        except OSError as error:
            sock.close()
            raise Misconfigured(
                error.strerror or str(error),
                operation="listen on",
                object=str(path),
                remedy="Check that the folder exists and may be written, or set INGESTD_HOME",
            ) from error
        finally:
            os.umask(before)
        # More than there are places: a client that connects without waiting is refused when this queue is full.
        sock.listen(socket.SOMAXCONN)
        sock.setblocking(False)
        return await SocketListener.from_socket(sock)

    async def serve(self, listener: SocketListener) -> None:
        """Answer clients until cancelled."""
        async with listener, anyio.create_task_group() as tasks:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:  # no descriptor is free, say: it passes when a client goes
                    self._log.warning("a client could not be accepted", cause=str(error))
                    await anyio.sleep(ACCEPT_RETRY_S)
                    continue
                tasks.start_soon(self._client, stream)

    async def _client(self, stream: SocketStream) -> None:
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        if _peer_uid(raw) not in (os.getuid(), 0):
            await stream.aclose()
            return
        self._make_room()
        self._next += 1
        with anyio.CancelScope() as scope:
            client = Client(self._next, scope, raw)
            self._clients[client.number] = client
            try:
                async with stream:
                    await self._talk(client, stream)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
                pass  # the client went, or never spoke: nobody to tell
            except Exception:  # a defect of ours costs this connection, never the daemon
                self._log.exception("a connection failed")
            finally:
                self._clients.pop(client.number, None)

    def _make_room(self) -> None:
        if len(self._clients) < rpc.MAX_CLIENTS:
            return
        clients = list(self._clients.values())
        victims = [client for client in clients if client.gone] or [client for client in clients if not client.asked]
        victim = min(victims or clients, key=lambda client: client.number)
        victim.scope.cancel()
        del self._clients[victim.number]  # its place is free now: the next to come must not choose it again

    async def _talk(self, client: Client, stream: SocketStream) -> None:
        lines = LineReader()
        first_line_by = anyio.current_time() + rpc.FIRST_LINE_S
        while True:
            try:
                with anyio.fail_after(None if client.asked else first_line_by - anyio.current_time()):
                    data = await stream.receive()
            except anyio.EndOfStream:
                if rest := lines.rest().strip():  # half-closed without a newline: still answered
                    await self._answer(stream, rest)
                return
            for line in lines.feed(data):
                client.asked = True
                if isinstance(line, ProtocolError):
                    await _send(stream, _error(None, rpc.INVALID_REQUEST, str(line)))
                elif line.strip():
                    await self._answer(stream, line)

    async def _answer(self, stream: SocketStream, line: bytes) -> None:
        request, refusal = _parse(line)
        if request is None:
            await _send(stream, refusal)
        elif request.method in self._streams:
            await self._stream(stream, request)
        else:
            reply = await self._reply(request)
            if request.id is not None:
                await _send(stream, reply)

    async def _reply(self, request: rpc.Request) -> dict[str, Any]:
        handler = self._handlers.get(request.method)
        if handler is None:
            known = ", ".join(sorted(self._handlers | self._streams))
            return _error(request.id, rpc.UNKNOWN_METHOD, f"there is no verb '{request.method}'; the verbs are {known}")
        return await self._performed(request, handler)

    async def _performed(self, request: rpc.Request, perform: Callable[[Any], Awaitable[T]]) -> dict[str, Any]:
        """Decode the parameters and perform the request: its result, or its error, as a reply."""
        try:
            params = msgspec.json.decode(request.params, type=c.VERBS[request.method][0])
            result = await perform(params)
        except (msgspec.ValidationError, binascii.Error) as error:  # the second: a path's base64 is none
            return _error(
                request.id, rpc.INVALID_PARAMS, f"the parameters of '{request.method}' do not fit: {error}", EXIT_USAGE
            )
        except IngestError as error:
            data = rpc.ErrorData(error.operation, error.object, error.remedy, error.exit)
            return {"jsonrpc": "2.0", "id": request.id, "error": rpc.Error(rpc.INGEST_ERROR, error.message, data)}
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
            raise  # the client went while it was being streamed to
        except Exception as error:  # a defect of ours: told to the client, kept in the log, survived
            self._log.exception("a request failed", verb=request.method)
            message = f"{type(error).__name__}: {error}"
            data = rpc.ErrorData(request.method, "the request", "The log holds the details: ingestctl logs", EXIT_ERROR)
            return {"jsonrpc": "2.0", "id": request.id, "error": rpc.Error(rpc.INGEST_ERROR, message, data)}
        return {"jsonrpc": "2.0", "id": request.id, "result": result}

    async def _stream(self, stream: SocketStream, request: rpc.Request) -> None:
        async def send(message: dict[str, Any]) -> None:
            await _send(stream, {"jsonrpc": "2.0", "id": request.id, **message} if "result" in message else message)

        streamer = self._streams[request.method]
        reply = await self._performed(request, lambda params: streamer(params, send))
        await _send(stream, reply)  # a stream only ends by an error


def _parse(line: bytes) -> tuple[rpc.Request | None, dict[str, Any]]:
    try:
        request = msgspec.json.decode(line, type=rpc.Request)
    except msgspec.ValidationError as error:
        return None, _error(None, rpc.INVALID_REQUEST, f"this is no request: {error}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return None, _error(None, rpc.PARSE_ERROR, f"this is no JSON: {error}")
    if isinstance(request.id, int) and not -(1 << 63) <= request.id < 1 << 63:
        return None, _error(None, rpc.INVALID_REQUEST, "this is no request: its id does not fit into 64 bits")
    return request, {}


def _error(ident: int | str | None, code: int, message: str, exit: int = EXIT_USAGE) -> dict[str, Any]:
    data = rpc.ErrorData("answer", "the request", "One JSON-RPC 2.0 object a line; the README shows one", exit)
    return {"jsonrpc": "2.0", "id": ident, "error": rpc.Error(code, message, data)}


async def _send(stream: SocketStream, message: dict[str, Any]) -> None:
    with anyio.fail_after(REPLY_S):
        await stream.send(msgspec.json.encode(message) + b"\n")


def _safe_folder(folder: Path) -> None:
    """Create the socket's folder for this user alone, or refuse one that others could meddle with."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & stat.S_IWOTH:
        raise Misconfigured(
            "it belongs to somebody else or everybody may write it",
            operation="put the control socket into",
            object=str(folder),
            remedy=f"Give it to this user alone (chmod 700 {folder}), or set INGESTD_HOME",
        )
    os.chmod(folder, 0o700)


def _clear(path: Path) -> None:
    """Remove a stale socket. The state lock is held, so no living daemon answers on it; anything else is not ours."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise Misconfigured(
            "something that is no socket lies there",
            operation="listen on",
            object=str(path),
            remedy="Move it away",
        )
    path.unlink()


def _peer_uid(sock: socket.socket) -> int:
    """The user at the other end, from the kernel."""
    if sys.platform == "darwin":
        data = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76)
        return int(struct.unpack("2i", data[:8])[1])
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", data)[1])
