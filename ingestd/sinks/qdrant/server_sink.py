"""The Qdrant server sink: points in one collection of a server that the user runs, over REST or gRPC.

One collection per (job, set of vector steps), made with what the job's vectors need, or one that the user names and
that is compared first. A collection may be shared: every point carries ``ingestd_job``, its id is made of the job's
uuid and the content, and nothing of anybody else is read, changed or deleted here.

The cursor's token (``evidence`` says what it notices) is compared with the server whenever the place is opened:
at the start of the process and after every error that left in doubt what was applied. What does not match is
delivered again from the beginning, over what is there, so searches go on meanwhile. A cursor without a token, a new
sink or ``rebuild``, first clears the collection of this job's points.

No lock is taken: only this job's daemon writes points of this job.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID

import msgspec
from qdrant_client import QdrantClient, models

from ingestd.errors import IngestError, Unavailable
from ingestd.ledger.reader import PAGE, Record, feed_page, open_reader
from ingestd.protocol.addresses.qdrant_url import collection_name, parse
from ingestd.protocol.sink import Hit, Search, SinkSetup
from ingestd.sinks.base import AskedToWait, Cursor, Sink, check_query, dimensions
from ingestd.sinks.date_range import period
from ingestd.sinks.document import MAX_POINT_PATHS, folder_of, payload, point_id
from ingestd.sinks.qdrant import collection as collections, evidence
from ingestd.sinks.qdrant.evidence import Evidence
from ingestd.sinks.qdrant.points import floats, vectors_of
from ingestd.sinks.qdrant.server_connection import IN_FLIGHT, SEARCH_S, Absent, Rejected, ServerConnection, read_key

BATCH: Final = 128
"""Points of a request: half a page, so that the two requests that may be under way carry a page."""

BULK_PAGES: Final = 16
"""Full pages in a row from which delivery counts as a bulk load: some 4,000 points. A job that follows its own models
delivers short pages, and its points are indexed as they come."""

T = TypeVar("T")


class ServerSink(Sink):
    """Points in a collection of the server ``setup.place``; one named vector per step that has a dimension.

    A content without a vector has no point. A recipe without vectors asks nothing of the server.
    """

    max_paths: ClassVar[int | None] = MAX_POINT_PATHS

    def __init__(self, setup: SinkSetup) -> None:
        self._setup = setup
        self._job = UUID(setup.job_uuid)
        self._vectors = dimensions(setup.steps)
        self._connection: ServerConnection | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._held = Evidence("")
        self._full_pages = 0
        self._deferred = False
        self._batch = BATCH

    # ------------------------------------------------------------------------------------------------------- the sink

    def open(self, cursor: Cursor) -> Cursor:
        """See ``Sink``. Makes the collection, or compares it: a difference is ``Misconfigured``, in words."""
        self.close()
        server = parse(self._setup.place)
        name = collection_name(server, self._setup.store or str(self._job))
        known = evidence.read(cursor.token, name)
        if not self._vectors:
            self._held, self.opened = known or Evidence(name), True
            return Cursor(cursor.seq if known else 0, self._held.token())
        key = read_key(self._setup.key_file, os.environ)
        self._connection = ServerConnection(server, name, key, first=cursor.seq == 0)
        with self._watched("open") as connection:
            info = collections.find(connection)
            made = info is None
            if info is None:
                collections.make(connection, self._vectors)
                info = collections.find(connection)
                if info is None:
                    raise Absent("it was deleted while it was made")
            self._compare(connection, info)
            collections.index(connection, info)
            self._deferred, self._full_pages = collections.deferred(info), 0
            ours = made or (known.made if known else server.collection is None)
            seq = self._stand(connection, cursor, known, ours)
        self._pool = ThreadPoolExecutor(IN_FLIGHT, "qdrant")
        self.opened = True
        return Cursor(seq, self._held.token())

    def deliver(self, page: Sequence[Record]) -> str:
        """See ``Sink``. Points are written whole: an upsert replaces all vectors and the payload."""
        points, gone, written = [], [], {}
        for record in page:
            key = str(point_id(self._job, record.sha256))
            if vectors := vectors_of(record, self._vectors):
                body = payload(self._job, record)
                points.append(models.PointStruct(id=key, vector=vectors, payload=body))  # type: ignore[arg-type]
                written[key] = evidence.digest(body)
            else:
                gone.append(key)
                written[key] = ""
        if self._vectors:
            with self._watched("write to") as connection:
                self._bulk(connection, len(page))
                self._write(connection, points, gone)
                connection.first = False
                self._held.wrote(written, len(gone))
                if len(page) < PAGE and self._held.count_due():
                    self._held.counted(self._count(connection))
        return self._held.token()

    def caught_up(self) -> None:
        """See ``Sink``: indexing that was put off begins."""
        self._full_pages = 0
        if self._deferred:
            with self._watched("set up") as connection:
                collections.restore(connection)
                self._deferred = False

    def search(self, ask: Search) -> list[Hit]:
        """See ``Sink``."""
        check_query(ask, self._vectors)
        filter_ = self._filter(ask)

        def query(client: QdrantClient) -> models.QueryResponse:
            return client.query_points(
                connection.collection,
                query=floats(ask.vector),
                using=ask.vector_name,
                query_filter=filter_,
                limit=ask.limit,
                with_payload=True,
                timeout=SEARCH_S,
            )

        try:
            with self._watched("search") as connection:
                found = connection.call("search", query).points
        except IngestError as error:
            raise ValueError(f"cannot search {error.object}: {error.message}") from None
        return [Hit(str(point.id), point.score, msgspec.json.encode(point.payload)) for point in found]

    def close(self) -> None:
        """See ``Sink``."""
        self.opened = False
        pool, self._pool = self._pool, None
        connection, self._connection = self._connection, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        if connection is not None:
            connection.close()

    # ------------------------------------------------------------------------------------------------------- its steps

    def _compare(self, connection: ServerConnection, info: models.CollectionInfo) -> None:
        if found := collections.differences(info, self._vectors):
            raise connection.misconfigured(
                "; ".join(found),
                "use",
                "Name another collection with ?collection=NAME, or delete this one if nothing else needs it",
            )

    def _stand(self, connection: ServerConnection, cursor: Cursor, known: Evidence | None, ours: bool) -> int:
        """The ``seq`` up to which the server surely holds everything; sets the evidence for what follows."""
        self._held = Evidence(connection.collection, made=ours)
        if not cursor.token:
            if self._count(connection):
                selector = models.FilterSelector(filter=models.Filter(must=[self._mine()]))
                self._settled(connection, lambda client: client.delete(connection.collection, selector, wait=True))
            return 0
        if known is None or not self._holds(connection, known, cursor.seq):
            print(f"qdrant: {connection.object} is not as it was left; everything is delivered again", flush=True)
            return 0
        self._held = known
        return cursor.seq

    def _holds(self, connection: ServerConnection, known: Evidence, seq: int) -> bool:
        there = {}
        if known.seen:
            fields = list(evidence.WITNESSES)
            found = connection.call(
                "read", lambda client: client.retrieve(connection.collection, list(known.seen), fields)
            )
            there = {str(point.id): evidence.digest(point.payload or {}) for point in found}
        return evidence.explained(known.differs(there), known.least - self._count(connection), self._pending(seq))

    def _pending(self, seq: int) -> Iterator[tuple[str, bool]]:
        """The feed after ``seq`` as (key, whether it has a point), read only as far as somebody asks."""
        try:
            reader = open_reader(self._setup.ledger)
            try:
                while page := feed_page(reader, self._setup.job_id, seq, max_paths=1):
                    for record in page:
                        yield str(point_id(self._job, record.sha256)), bool(vectors_of(record, self._vectors))
                    seq = page[-1].seq
            finally:
                reader.close()
        except sqlite3.Error as error:
            raise Unavailable(
                str(error),
                operation="read",
                object=self._setup.ledger,
                remedy="Delivery goes on by itself when the ledger can be read",
            ) from error

    def _count(self, connection: ServerConnection) -> int:
        mine = models.Filter(must=[self._mine()])
        return connection.call("count", lambda client: client.count(connection.collection, mine, exact=True).count)

    def _bulk(self, connection: ServerConnection, size: int) -> None:
        """Puts indexing off from the first page that makes a bulk load; only where the collection is our own."""
        self._full_pages = self._full_pages + 1 if size == PAGE else 0
        if self._full_pages == BULK_PAGES and self._held.made and not self._deferred:
            self._deferred = collections.defer(connection)

    def _write(self, connection: ServerConnection, points: list[models.PointStruct], gone: list[str]) -> None:
        """All of it, two requests at a time; returns or raises when none is under way any more."""
        assert self._pool is not None
        tasks: list[Callable[[], None]] = []
        if gone:
            ids = models.PointIdsList(points=list(gone))
            tasks.append(
                lambda: self._settled(connection, lambda client: client.delete(connection.collection, ids, wait=True)),
            )
        for start in range(0, len(points), self._batch):
            batch = points[start : start + self._batch]
            tasks.append(lambda batch=batch: self._upsert(connection, batch))  # type: ignore[misc]
        futures = [self._pool.submit(task) for task in tasks]
        _, left = wait(futures, return_when=FIRST_EXCEPTION)
        for future in left:
            future.cancel()
        wait(futures)
        errors = [error for future in futures if not future.cancelled() and (error := future.exception())]
        if errors:
            raise next((error for error in errors if not isinstance(error, AskedToWait)), errors[0])

    def _upsert(self, connection: ServerConnection, points: list[models.PointStruct]) -> None:
        """One request, or several where the server takes one for too long; a point that it refuses is named."""
        try:
            self._settled(connection, lambda client: client.upsert(connection.collection, points, wait=True))
        except Rejected as error:
            if len(points) > 1:
                half = len(points) // 2
                if error.too_big:
                    self._batch = min(self._batch, half)  # the next pages begin with what fits
                self._upsert(connection, points[:half])
                self._upsert(connection, points[half:])
                return
            path = ((points[0].payload or {}).get("paths") or ["?"])[0]
            raise connection.unavailable(
                f"the server refuses the point of {path}: {error.message}",
                "write to",
                "Change the server's limits (max_request_size_mb, strict mode) or what it objects to; "
                "nothing behind this point is delivered before that",
            ) from None

    def _settled(self, connection: ServerConnection, ask: Callable[[QdrantClient], models.UpdateResult]) -> None:
        """A write that counts only when it is applied: with ``wait`` a busy server may answer before that."""
        status = connection.call("write to", ask).status
        if status != models.UpdateStatus.COMPLETED:
            raise connection.unavailable(f"the server has noted the write and not applied it ({status})", "write to")

    @contextmanager
    def _watched(self, operation: str) -> Iterator[ServerConnection]:
        """The open connection. An error that leaves in doubt what the server holds closes it, to be opened anew."""
        connection = self._connection
        if connection is None:
            raise ValueError("the store is not open")
        try:
            yield connection
        except AskedToWait:
            if not self.opened:
                self.close()
            raise
        except Rejected as error:
            if self.opened and operation == "search":
                raise ValueError(f"the server cannot answer: {error.message}") from None
            self.close()
            raise connection.unavailable(error.message, operation, "Change what the server objects to") from None
        except Absent as error:
            self.close()
            raise connection.unavailable(str(error), operation, "It is made again by itself") from None
        except BaseException:
            self.close()
            raise

    def _mine(self) -> models.FieldCondition:
        return models.FieldCondition(key="ingestd_job", match=models.MatchValue(value=str(self._job)))

    def _filter(self, ask: Search) -> models.Filter:
        must: list[Any] = [self._mine()]
        if (folder := folder_of(ask)) is not None:
            must.append(models.FieldCondition(key="dirs", match=models.MatchValue(value=folder)))
        span = period(ask.since, ask.until)
        if span.start is not None or span.end is not None:
            moments = models.DatetimeRange(gte=span.start, lt=span.end)
            must.append(models.FieldCondition(key="taken_at", range=moments))
        return models.Filter(must=must)
