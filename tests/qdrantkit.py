"""A small Qdrant server for tests: real HTTP, Qdrant's own engine inside, and faults that can be switched on.

It speaks the part of the REST API that the real ``qdrant-client`` needs here, and answers errors in Qdrant's form.
What it cannot do is said by a 404. It is no Qdrant: HNSW, shards and strict mode are not there (gRPC: ``qdrantgrpc``).
"""

from __future__ import annotations

import json
import re
import shutil
import ssl
import threading
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import qdrant_edge as engine

from tests.qdranthttp import Fault, HttpServer, Refusal, Request

Json = dict[str, Any]
KINDS = {"keyword": engine.PayloadSchemaType.Keyword, "datetime": engine.PayloadSchemaType.Datetime}
DISTANCES = {
    "Cosine": engine.Distance.Cosine,
    "Dot": engine.Distance.Dot,
    "Euclid": engine.Distance.Euclid,
    "Manhattan": engine.Distance.Manhattan,
}
DEFAULT_THRESHOLD = 20_000


class Collection:
    """One collection: a shard of the engine, and the settings that a server keeps beside it."""

    def __init__(self, folder: Path, config: Json | None = None) -> None:
        self.folder = folder
        if config is not None:
            folder.mkdir(parents=True)
            (folder / "config.json").write_text(json.dumps(config))
        self.config: Json = json.loads((folder / "config.json").read_text())
        place = str(folder / "shard")
        if config is None:
            self.shard = engine.EdgeShard.load(place)
            return
        vectors = self.config["vectors"]
        named = {"": vectors} if "size" in vectors else vectors
        fields = {
            name: engine.EdgeVectorParams(size=one["size"], distance=DISTANCES[one["distance"]])
            for name, one in named.items()
        }
        self.shard = engine.EdgeShard.create(place, engine.EdgeConfig(vectors=fields))

    def save(self) -> None:
        self.shard.flush()
        (self.folder / "config.json").write_text(json.dumps(self.config))

    def info(self) -> Json:
        there = self.shard.info()
        schema = {
            name: {"data_type": str(kind), "points": there.points_count}
            for name, kind in self.config["indexes"].items()
        }
        optimizer = {"default_segment_number": 0, "flush_interval_sec": 5, **self.config["optimizers"]}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": there.points_count,
            "segments_count": there.segments_count,
            "config": {
                "params": {"vectors": self.config["vectors"], "shard_number": 1, **self.config["params"]},
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
                "optimizer_config": optimizer,
                "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
            },
            "payload_schema": schema,
        }


class QdrantKit:
    """A server on ``port`` of 127.0.0.1 (0: a free one), its collections under ``folder``.

    ``key``: asked for in every request, as Qdrant does. ``max_body``: longer requests get 413. ``faults``: consumed in
    order by the requests that they match. ``requests``: all that came. ``most_in_flight``: writes at a time.
    """

    def __init__(self, folder: Path, key: str = "", tls: tuple[Path, Path] | None = None, port: int = 0) -> None:
        self.folder = folder / "collections"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = key
        self.max_body = 32 << 20
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.most_in_flight = 0
        self.refused_points: set[str] = set()
        self.port = port
        self._tls = tls
        self._in_flight = 0
        self._lock = threading.RLock()
        self._collections: dict[str, Collection] = {}
        self._server: HttpServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port that it had before."""
        self._server = HttpServer(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """What is asked now is refused, and connections end; what is there stays."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.hang_up()

    def close(self) -> None:
        self.stop()
        with self._lock:
            for collection in self._collections.values():
                collection.shard.close()
            self._collections.clear()

    # ------------------------------------------------------------------------------------- what a test asks and does

    def names(self) -> list[str]:
        return sorted(self._collections)

    def config(self, name: str) -> Json:
        return self._collections[name].config

    def create(self, name: str, vectors: Json, **params: Any) -> None:
        """Somebody else's collection."""
        self._create(name, {"vectors": vectors})
        self._collections[name].config["params"] = params

    def points(self, name: str = "") -> dict[str, engine.Record]:
        """Every point of a collection, of all if none is named, by its id."""
        found = {}
        with self._lock:
            for key, collection in self._collections.items():
                if name in ("", key):
                    ask = engine.ScrollRequest(limit=100_000, with_payload=True, with_vector=True)
                    found |= {str(point.id): point for point in collection.shard.scroll(ask)[0]}
        return found

    def put(self, name: str, points: list[Json]) -> None:
        """Points of somebody else."""
        with self._lock:
            self._upsert(self._collections[name], {"points": points})

    def forget(self, keys: list[str]) -> None:
        """Acknowledged points are gone."""
        with self._lock:
            for collection in self._collections.values():
                collection.shard.update(engine.UpdateOperation.delete_points([UUID(key) for key in keys]))

    def drop(self, name: str = "") -> None:
        """The collection, or every one, is deleted by hand."""
        with self._lock:
            for key in [key for key in self._collections if name in ("", key)]:
                collection = self._collections.pop(key)
                collection.shard.close()
                shutil.rmtree(collection.folder)

    def snapshot(self, to: Path) -> None:
        """Copy all that is there."""
        with self._lock:
            shutil.rmtree(to, ignore_errors=True)
            to.mkdir(parents=True)
            for name, collection in self._collections.items():
                collection.save()
                collection.shard.close()
                shutil.copytree(collection.folder, to / collection.folder.name)
                self._collections[name] = Collection(collection.folder)

    def restore(self, copy: Path) -> None:
        """Go back to a copy."""
        with self._lock:
            self.drop()
            for folder in copy.iterdir():
                shutil.copytree(folder, self.folder / folder.name)
                self._collections[unquote(folder.name)] = Collection(self.folder / folder.name)

    def asked(self, where: str) -> list[Request]:
        """The requests that match."""
        return [request for request in self.requests if re.match(where, request.line)]

    # ------------------------------------------------------------------------------------------------------ its answers

    def fault_of(self, line: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and re.match(fault.where, line):
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def enter(self, by: int) -> None:
        with self._lock:
            self._in_flight += by
            self.most_in_flight = max(self.most_in_flight, self._in_flight)

    def answer(self, method: str, path: str, body: Any, share: float = 1) -> Any:
        """The ``result`` of a request. Raises ``Refusal``."""
        with self._lock:
            if path == "/":
                return None
            match path.strip("/").split("/"):
                case ["collections", name]:
                    return self._collection(method, unquote(name), body)
                case ["collections", name, *rest]:
                    called = unquote(name)
                    if called not in self._collections:
                        raise Refusal(404, f"Not found: Collection `{called}` doesn't exist!")
                    try:
                        return self._points(self._collections[called], f"{method} {'/'.join(rest)}", body, share)
                    except Refusal:
                        raise
                    except Exception as error:
                        raise Refusal(400, f"Wrong input: {error}") from error
        raise Refusal(404, "")

    def _collection(self, method: str, name: str, body: Json) -> Any:
        if method == "PUT":
            if name in self._collections:
                raise Refusal(409, f"Wrong input: Collection `{name}` already exists!")
            self._create(name, body)
            return True
        if name not in self._collections:
            raise Refusal(404, f"Not found: Collection `{name}` doesn't exist!")
        if method == "GET":
            return self._collections[name].info()
        if method == "PATCH":
            self._collections[name].config["optimizers"] |= body.get("optimizers_config") or {}
            return True
        if method == "DELETE":
            self.drop(name)
            return True
        raise Refusal(404, "")

    def _create(self, name: str, body: Json) -> None:
        config = {"vectors": body["vectors"], "indexes": {}, "params": {}}
        config["optimizers"] = {"indexing_threshold": DEFAULT_THRESHOLD, **(body.get("optimizers_config") or {})}
        folder = self.folder / re.sub(r"[^A-Za-z0-9_-]", lambda found: f"%{ord(found[0]):02X}", name)
        self._collections[name] = Collection(folder, config)

    def _points(self, collection: Collection, verb: str, body: Json, share: float) -> Any:
        shard = collection.shard
        match verb:
            case "PUT index":
                collection.config["indexes"][body["field_name"]] = body["field_schema"]
                shard.update(engine.UpdateOperation.create_field_index(body["field_name"], KINDS[body["field_schema"]]))
            case "PUT points":
                points = body["points"]
                if bad := [point["id"] for point in points if point["id"] in self.refused_points]:
                    raise Refusal(400, f"Wrong input: point {bad[0]} is not liked")
                self._upsert(collection, {"points": points[: int(len(points) * share)]})
            case "POST points/delete" if "points" in body:
                shard.update(engine.UpdateOperation.delete_points([UUID(key) for key in body["points"]]))
            case "POST points/delete":
                shard.update(engine.UpdateOperation.delete_points_by_filter(_filter(body["filter"])))
            case "POST points":
                found = shard.retrieve([UUID(key) for key in body["ids"]], body.get("with_payload", True), False)
                return [{"id": str(point.id), "payload": point.payload} for point in found]
            case "POST points/count":
                return {"count": shard.count(engine.CountRequest(exact=True, filter=_filter(body.get("filter"))))}
            case "POST points/query":
                asked = body["query"]
                nearest = asked["nearest"] if isinstance(asked, dict) else asked
                hits = shard.query(
                    engine.QueryRequest(
                        limit=body["limit"],
                        query=engine.Query.Nearest(nearest, using=body["using"]),
                        filter=_filter(body.get("filter")),
                        with_payload=True,
                    )
                )
                points = [{"id": str(hit.id), "version": 1, "score": hit.score, "payload": hit.payload} for hit in hits]
                return {"points": points}
            case _:
                raise Refusal(404, "")
        return {"operation_id": 1, "status": "completed"}

    def _upsert(self, collection: Collection, body: Json) -> None:
        points = [
            engine.Point(id=UUID(point["id"]), vector=point["vector"], payload=point.get("payload") or {})
            for point in body["points"]
        ]
        collection.shard.update(engine.UpdateOperation.upsert_points(points))


def _filter(asked: Json | None) -> engine.Filter | None:
    if asked is None:
        return None
    must: list[Any] = []
    for term in asked["must"]:
        if "match" in term:
            must.append(engine.FieldCondition(key=term["key"], match=engine.MatchValue(term["match"]["value"])))
        else:
            span = {name: datetime.fromisoformat(text).isoformat() for name, text in term["range"].items() if text}
            must.append(engine.FieldCondition(key=term["key"], range=engine.RangeDateTime(**span)))
    return engine.Filter(must=must)
