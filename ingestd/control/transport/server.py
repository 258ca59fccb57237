"""The server of the control socket: decodes requests, calls their handlers, and turns errors into replies.

Nothing that a client sends ends the daemon. A malformed line is answered with an error; a slow client loses only its
own connection; an idle connection is closed when a client with a request needs its slot (``accept``, ``admission``).
"""

from __future__ import annotations

import binascii
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import anyio
import anyio.lowlevel
import msgspec
from anyio.abc import TaskGroup
from structlog.typing import FilteringBoundLogger

from ingestd import paths
from ingestd.control.transport import admission, peer
from ingestd.control.transport.accept import Acceptor, Arrival
from ingestd.control.transport.connection import Connection, Gone, Hangups
from ingestd.control.transport.listener import Listener
from ingestd.errors import EXIT_ERROR, EXIT_TEMPORARY, EXIT_USAGE, IngestError, ProtocolError, Unavailable
from ingestd.protocol import control as c, rpc

T = TypeVar("T")
Handler = Callable[[Any], Awaitable[c.Reply]]
Streamer = Callable[[Any, Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[None]]

OWED_MAX: Final = 32 * 1024 * 1024
"""Bytes of replies that all clients together may leave unread: without a limit, 64 clients that ask for much and read
nothing would hold hundreds of megabytes for half a minute. A single reply may be larger."""

LOOK_S: Final = 1.0
"""Seconds between two looks for clients that hung up while they wait or subscribe."""

SWITCH_S: Final = 0.0002
"""Seconds that one thread of the daemon may hold the interpreter's lock while another waits for it."""

LISTENER_S: Final = 2.0
"""Seconds between two checks that the socket is in its place. A logout removes the runtime folder, a login makes it."""


class Server:
    """Serves the verbs of ``handlers`` and ``streams``."""

    def __init__(self, handlers: dict[str, Handler], streams: dict[str, Streamer], log: FilteringBoundLogger) -> None:
        self._handlers = handlers
        self._streams = streams
        self._log = log
        self._slots: dict[int, Connection] = {}
        self._hangups = Hangups()
        self._busy = anyio.Event()
        self._next = 0

    async def serve(self, listener: Listener) -> None:
        """Answer the clients of ``listener``, which must be open, until cancelled. Its socket is closed then."""
        # The ledger's threads take the interpreter's lock anew for each of a query's steps. With the default of 5 ms
        # a loop that is kept busy would make a query of one millisecond take a hundred.
        sys.setswitchinterval(SWITCH_S)
        async with anyio.create_task_group() as tasks:
            acceptor = Acceptor(
                lambda sock: peer.peer_of(sock, listener.readers),
                lambda arrival: self._admit(arrival, tasks),
                self._refuse,
                self._log,
            )
            try:
                acceptor.listen(listener)
                tasks.start_soon(self._keep, listener, acceptor)
                tasks.start_soon(self._miss)
                await acceptor.serve()
            finally:
                acceptor.close()

    async def _keep(self, listener: Listener, acceptor: Acceptor) -> None:
        """Whenever the socket is gone from its place, make it again where clients look for it now."""
        told = False
        while True:
            await anyio.sleep(LISTENER_S)
            if listener.in_place():
                continue
            before = listener.path
            listener.path = paths.socket_now(before)
            try:
                listener.open()
            except IngestError as error:
                listener.path = before  # after the next login that may be the better place again
                if not told:
                    self._log.warning("the control socket is gone, and cannot be put back yet", why=error.sentence())
                told = True
            else:
                acceptor.listen(listener)
                self._log.warning("the control socket was gone; it is back", socket=str(listener.path))
                told = False

    async def _miss(self) -> None:
        """Close connections that wait or subscribe and whose clients have hung up: no read or write would show it."""
        while True:
            await self._busy.wait()
            self._busy = anyio.Event()
            while any(slot.verb in admission.LASTING for slot in self._slots.values()):
                await anyio.sleep(LOOK_S)
                for number in self._hangups.now():
                    if admission.may_go(self._slots[number]):
                        self._slots[number].scope.cancel()

    # ------------------------------------------------------------------------------------------------------ connections

    def _refuse(self, arrival: Arrival) -> None:
        connection = Connection(0, arrival.sock, arrival.peer.rights, arrival.reader)
        connection.refuse(msgspec.json.encode(_failed(None, _busy())) + b"\n")

    def _admit(self, arrival: Arrival, tasks: TaskGroup) -> bool:
        """Give a connection a slot, and close another one for it if need be; false when there is no slot."""
        if admission.is_full(self._slots.values(), arrival.peer.rights):
            number = admission.gives_way(self._slots.values(), self._hangups.now(), arrival.peer.rights)
            if number is None:
                return False
            self._slots[number].scope.cancel()
            self._leave(self._slots[number])  # its slot is free now: the next connection must not take it again
        self._next += 1
        connection = Connection(self._next, arrival.sock, arrival.peer.rights, arrival.reader)
        self._slots[connection.number] = connection
        self._hangups.add(connection)
        tasks.start_soon(self._client, connection, arrival)
        return True

    def _leave(self, connection: Connection) -> None:
        if self._slots.pop(connection.number, None) is not None:
            self._hangups.remove(connection)

    async def _client(self, connection: Connection, arrival: Arrival) -> None:
        with connection.scope:
            try:
                await self._talk(connection, arrival)
            except Gone:
                pass  # there is nobody to tell
            except Exception:  # a defect of ours costs this connection, never the daemon
                self._log.exception("a connection failed")
            finally:
                self._leave(connection)
                connection.sock.close()

    async def _talk(self, connection: Connection, arrival: Arrival) -> None:
        for line in arrival.lines:
            await self._answer(connection, line)
        ended = arrival.ended
        while not ended:
            connection.pending = False
            data = await connection.receive()
            connection.pending = True
            if data:
                for line in connection.reader.feed(data):
                    await self._answer(connection, line)
            else:
                ended = True
                await self._answer(connection, connection.reader.rest())  # without a newline: still answered

    async def _answer(self, connection: Connection, line: bytes | ProtocolError) -> None:
        if isinstance(line, ProtocolError):
            await self._send(connection, _error(None, rpc.INVALID_REQUEST, str(line)))
            return
        request, refusal = _parse(line) if line.strip() else (None, None)
        if request is not None and request.method in self._streams:
            await self._stream(connection, request)
        elif request is not None:
            reply = await self._reply(connection, request)
            if request.id is not None:
                await self._send(connection, reply)
        elif refusal is not None:
            await self._send(connection, refusal)
        await anyio.lowlevel.checkpoint()  # also after blank lines and requests without an answer

    # --------------------------------------------------------------------------------------------------------- requests

    async def _reply(self, connection: Connection, request: rpc.Request) -> dict[str, Any]:
        handler = self._handlers.get(request.method)
        if handler is None:
            known = ", ".join(sorted(self._handlers | self._streams))
            name = request.method if len(request.method) <= 100 else request.method[:100] + "…"
            return _error(request.id, rpc.UNKNOWN_METHOD, f"there is no verb '{name}'; the verbs are {known}")
        return await self._performed(connection, request, handler)

    async def _performed(
        self, connection: Connection, request: rpc.Request, perform: Callable[[Any], Awaitable[T]]
    ) -> dict[str, Any]:
        """Decode the parameters and perform the request: its result, or its error, as a reply."""
        verb = request.method
        try:
            params = msgspec.json.decode(request.params, type=c.VERBS[verb][0])
            if (refused := peer.refusal(verb, params, connection.rights)) is not None:
                raise refused
            if admission.too_many(self._slots.values(), verb, connection.rights):
                raise _busy()
            connection.verb = verb
            self._busy.set()
            try:
                result = await perform(params)
            finally:
                connection.verb = None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, binascii.Error) as error:
            # The last: a path's base64 is none. The others are what the parameters are, or hold.
            return _error(request.id, rpc.INVALID_PARAMS, f"the parameters of '{verb}' do not fit: {_short(error)}")
        except IngestError as error:
            return _failed(request.id, error)
        except Gone:
            raise  # while it was being streamed to
        except Exception as error:  # a defect of ours: told to the client, kept in the log, survived
            self._log.exception("a request failed", verb=verb)
            told = IngestError(
                f"{type(error).__name__}: {_short(error)}", operation=verb, object="the request",
                remedy="The log holds the details: ingestctl logs", exit=EXIT_ERROR,
            )  # fmt: skip
            return _failed(request.id, told)
        return {"jsonrpc": "2.0", "id": request.id, "result": result}

    async def _stream(self, connection: Connection, request: rpc.Request) -> None:
        async def send(message: dict[str, Any]) -> None:
            whole = {"jsonrpc": "2.0", "id": request.id, **message} if "result" in message else message
            await self._send(connection, whole)

        streamer = self._streams[request.method]
        reply = await self._performed(connection, request, lambda params: streamer(params, send))
        await self._send(connection, reply)  # a stream only ends by an error

    async def _send(self, connection: Connection, message: dict[str, Any]) -> None:
        data = msgspec.json.encode(message) + b"\n"
        owing = [slot for slot in self._slots.values() if slot.owed]
        owed = len(data) + sum(slot.owed for slot in owing)
        for slot in owing:  # the oldest first: it has had the most time to read
            if owed > OWED_MAX and slot is not connection:
                owed -= slot.owed
                slot.scope.cancel()
                self._leave(slot)
        await connection.send(data)


def _busy() -> Unavailable:
    return Unavailable(
        "too many requests are under way", operation="answer", object="one more", remedy="Try again in a moment",
        exit=EXIT_TEMPORARY,
    )  # fmt: skip


def _parse(line: bytes) -> tuple[rpc.Request | None, dict[str, Any]]:
    try:
        line.decode()  # msgspec looks at the text that it is asked for, and passes over the rest
        request = msgspec.json.decode(line, type=rpc.Request)
    except msgspec.ValidationError as error:
        return None, _error(None, rpc.INVALID_REQUEST, f"this is no request: {_short(error)}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return None, _error(None, rpc.PARSE_ERROR, f"this is no JSON: {_short(error)}")
    if isinstance(request.id, int) and not -(1 << 63) <= request.id < 1 << 63:
        return None, _error(None, rpc.INVALID_REQUEST, "this is no request: its id does not fit into 64 bits")
    return request, {}


def _short(error: Exception) -> str:
    """The error's text, cut to a length. It may hold what the client sent, and goes to that client alone."""
    text = str(error)
    return text if len(text) <= 500 else text[:500] + "…"


def _error(ident: int | str | None, code: int, message: str, exit: int = EXIT_USAGE) -> dict[str, Any]:
    data = rpc.ErrorData("answer", "the request", "One JSON-RPC 2.0 object a line; the README shows one", exit)
    return {"jsonrpc": "2.0", "id": ident, "error": rpc.Error(code, message, data)}


def _failed(ident: int | str | None, error: IngestError) -> dict[str, Any]:
    data = rpc.ErrorData(error.operation, error.object, error.remedy, error.exit)
    return {"jsonrpc": "2.0", "id": ident, "error": rpc.Error(rpc.INGEST_ERROR, error.message, data)}
