"""The embedded Qdrant sink: Qdrant's own engine in this process, one store per job.

The store folder holds the engine's files and ``ingestd.json`` (``Mark``): which store it is, what its vectors are and
the newest ``seq`` that was flushed. The cursor's token names the store, so the sink can tell an older copy of the
folder (it goes on from the mark) from another store (moved aside, written again from the beginning).

The engine maps sparse files, so a full disk does not raise, it kills the process (SIGBUS): nothing is opened or
written while less than ``RESERVE`` is free. ``optimize()`` is never called on the store that is served: it holds the
GIL for its whole run, and a search would wait for minutes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final
from uuid import UUID, uuid4

import msgspec
import qdrant_edge as engine

from ingestd.errors import Unavailable
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import Hit, Search, SinkSetup
from ingestd.sinks import local_files as places
from ingestd.sinks.base import Cursor, Sink, check_query, dimensions
from ingestd.sinks.date_range import period
from ingestd.sinks.document import MAX_POINT_PATHS, folder_of, payload, point_id
from ingestd.sinks.qdrant.points import INDEXES, floats, vectors_of

RESERVE: Final = 256 * 1024 * 1024
"""Bytes kept free. The engine's sparse files (32 MiB each: two of its log, one of payloads, one per vector; measured
with 0.9) are 128 to 170 MiB that may be claimed without a warning at any write."""

MAX_OPENINGS: Final = 3
"""A store that ended the process this often while it was being opened does not open."""

MARK: Final = "ingestd.json"
_OPENING: Final = "ingestd.opening"

_KINDS: Final = {"keyword": engine.PayloadSchemaType.Keyword, "datetime": engine.PayloadSchemaType.Datetime}


class Mark(msgspec.Struct, frozen=True):
    """What a store says of itself; ``vectors`` maps a name to its dimension."""

    store: str
    vectors: dict[str, int]
    seq: int


class StoreToken(msgspec.Struct, frozen=True):
    """The cursor's evidence: everything up to its ``seq`` was flushed into this store."""

    store: str


class EdgeSink(Sink):
    """Points in the folder ``setup.place``; one named vector per step that has a dimension.

    A content without a vector has no point. A recipe without vectors keeps a mark and no points.
    """

    max_paths: ClassVar[int | None] = MAX_POINT_PATHS

    def __init__(self, setup: SinkSetup) -> None:
        self._place = Path(setup.place)
        self._job = UUID(setup.job_uuid)
        self._vectors = dimensions(setup.steps)
        self._shard: engine.EdgeShard | None = None
        self._lock = -1
        self._mark = Mark("", {}, 0)

    def open(self, cursor: Cursor) -> Cursor:
        """See ``Sink``. The folder is ours: what cannot be used is moved aside (the newest such copy is kept)."""
        self.close()
        with places.in_words("open", self._place):
            self._place.parent.mkdir(parents=True, exist_ok=True)
            self._take()
            self._room("open")
            mark = self._usable(cursor)
            if mark is None or not self._load():
                self._renew()
                self._create()
            else:
                self._mark = mark
            self.opened = True
        # A mark behind the cursor is an older copy of the store; one before it is a page that was not reported.
        seq = min(cursor.seq, self._mark.seq)
        return Cursor(seq, self._token())

    def deliver(self, page: Sequence[Record]) -> str:
        """See ``Sink``. Points are written whole: an upsert replaces all vectors and the payload."""
        self._room("write to")
        points, gone = [], []
        for record in page:
            key = point_id(self._job, record.sha256)
            if vectors := vectors_of(record, self._vectors):
                named: dict[str, engine.NamedVector] = {**vectors}
                points.append(engine.Point(id=key, vector=named, payload=payload(self._job, record)))
            else:
                gone.append(key)
        if self._shard is not None:
            with self._translated("write to"):
                self._shard.update(engine.UpdateOperation.delete_points(list(gone)))
                self._shard.update(engine.UpdateOperation.upsert_points(points))
                self._shard.flush()
        with places.in_words("write to", self._place):
            self._set_mark(msgspec.structs.replace(self._mark, seq=page[-1].seq))
        return self._token()

    def search(self, ask: Search) -> list[Hit]:
        """See ``Sink``."""
        check_query(ask, self._vectors)
        if self._shard is None:
            raise ValueError("the store is not open")
        request = engine.QueryRequest(
            limit=ask.limit,
            query=engine.Query.Nearest(floats(ask.vector), using=ask.vector_name),
            filter=_filter(ask),
            with_payload=True,
        )
        try:
            found = self._shard.query(request)
        except BaseException as error:
            _let_through(error)
            raise ValueError(f"the engine cannot answer: {str(error)[:300]}") from error
        return [Hit(str(point.id), point.score, msgspec.json.encode(point.payload)) for point in found]

    def close(self) -> None:
        """See ``Sink``."""
        self.opened = False
        shard, self._shard = self._shard, None
        try:
            if shard is not None:
                shard.close()
        finally:
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _token(self) -> str:
        return msgspec.json.encode(StoreToken(self._mark.store)).decode()

    def _take(self) -> None:
        """Hold the store. The engine locks too, but says "busy" in the same words as "broken"."""
        path = self._beside("lock")
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            places.lock(self._lock, self._place)
        except Unavailable:
            self.close()
            raise

    def _room(self, operation: str) -> None:
        with places.in_words(operation, self._place):
            if places.free_bytes(self._place.parent) < RESERVE:
                raise places.disk_full(operation, self._place, RESERVE)

    def _usable(self, cursor: Cursor) -> Mark | None:
        """The mark of the store that is there, if it is this cursor's and has not ended the process while opening."""
        try:
            mark = msgspec.json.decode((self._place / MARK).read_bytes(), type=Mark)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None
        if mark.vectors != self._vectors:
            return None
        if cursor.token:
            try:
                same = msgspec.json.decode(cursor.token, type=StoreToken).store == mark.store
            except msgspec.DecodeError:
                same = False
        else:
            same = mark.seq == 0  # a new cursor begins with a store that holds nothing
        return mark if same and self._openings() < MAX_OPENINGS else None

    def _openings(self) -> int:
        try:
            return os.stat(self._place / _OPENING).st_size
        except FileNotFoundError:
            return 0

    def _load(self) -> bool:
        """Open the store that is there; false when the engine cannot."""
        if not self._vectors:
            return True
        with open(self._place / _OPENING, "ab") as counter:
            counter.write(b"+")  # a byte for each opening that has not come to its end
        try:
            self._shard = engine.EdgeShard.load(str(self._place))
            _index(self._shard)
        except BaseException as error:
            _let_through(error)
            print(f"qdrant: cannot open {self._place}: {error}", flush=True)
            self._shard = None
            return False
        os.unlink(self._place / _OPENING)
        return True

    def _create(self) -> None:
        self._place.mkdir()
        if self._vectors:
            fields = {
                name: engine.EdgeVectorParams(size=dim, distance=engine.Distance.Cosine)
                for name, dim in self._vectors.items()
            }
            with self._translated("make"):
                self._shard = engine.EdgeShard.create(str(self._place), engine.EdgeConfig(vectors=fields))
                _index(self._shard)
                self._shard.flush()
        self._set_mark(Mark(str(uuid4()), self._vectors, 0))
        places.sync_folder(self._place.parent)

    def _renew(self) -> None:
        """Move aside what lies in the place, and drop what was moved aside before: a store can be made again."""
        if not os.path.lexists(self._place):
            return
        for old in self._place.parent.glob(f"{self._place.name}.aside-*"):
            shutil.rmtree(old, ignore_errors=True)
        aside = places.move_aside(self._place)
        print(f"qdrant: {self._place} is not as it was left; moved to {aside} and written again", flush=True)

    def _set_mark(self, mark: Mark) -> None:
        """Replace the mark, durably. The flush must have returned: a mark never says more than the store holds."""
        fresh = self._place / f"{MARK}.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, msgspec.json.encode(mark))
            places.sync_file(fd)
        finally:
            os.close(fd)
        os.rename(fresh, self._place / MARK)
        places.sync_folder(self._place)
        self._mark = mark

    def _beside(self, suffix: str) -> Path:
        return self._place.with_name(f"{self._place.name}.{suffix}")

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            _let_through(error)
            self.close()  # what it has in memory is in doubt; what it flushed is opened again
            raise Unavailable(
                f"the engine says: {str(error)[:300]}",
                operation=operation,
                object=str(self._place),
                remedy="It is opened again by itself, and made again from the ledger if it does not open",
            ) from error


def _let_through(error: BaseException) -> None:
    """The engine raises bare ``Exception``, and a ``BaseException`` when it panics: raise what is not from it."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error


def _index(shard: engine.EdgeShard) -> None:
    there = shard.info().payload_schema
    for name, kind in INDEXES.items():
        if name not in there:
            shard.update(engine.UpdateOperation.create_field_index(name, _KINDS[kind]))


def _filter(ask: Search) -> engine.Filter | None:
    must: list[engine.ConditionType] = []
    if (folder := folder_of(ask)) is not None:
        must.append(engine.FieldCondition(key="dirs", match=engine.MatchValue(folder)))
    span = period(ask.since, ask.until)
    if span.start is not None or span.end is not None:
        moments = engine.RangeDateTime(
            gte=span.start.isoformat() if span.start else None,
            lt=span.end.isoformat() if span.end else None,
        )
        must.append(engine.FieldCondition(key="taken_at", range=moments))
    return engine.Filter(must=must) if must else None
