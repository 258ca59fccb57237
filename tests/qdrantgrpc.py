"""The gRPC face of the Qdrant server for tests: the calls that the sink makes, answered by the same collections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
from qdrant_client import grpc as q, models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc, payload_to_grpc

from tests.qdranthttp import Refusal
from tests.qdrantkit import QdrantKit

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    413: grpc.StatusCode.OUT_OF_RANGE,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
KINDS = {q.FieldType.FieldTypeKeyword: "keyword", q.FieldType.FieldTypeDatetime: "datetime"}


class GrpcFace:
    """Serves ``kit`` on a free port; faults of the kit match lines like ``GRPC Upsert``. ``keys``: those that came."""

    def __init__(self, kit: QdrantKit, tls: tuple[Path, Path] | None = None) -> None:
        self.keys: set[str] = set()
        self._server = grpc.server(ThreadPoolExecutor(4))
        q.add_PointsServicer_to_server(_Points(kit, self), self._server)
        q.add_CollectionsServicer_to_server(_Collections(kit, self), self._server)
        if tls:
            pair = (tls[1].read_bytes(), tls[0].read_bytes())
            self.port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        else:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.url = f"{'grpcs' if tls else 'grpc'}://127.0.0.1:{self.port}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait()


class _Face:
    def __init__(self, kit: QdrantKit, face: GrpcFace) -> None:
        self._kit = kit
        self._face = face

    def ask(self, context: Any, call: str, method: str, name: str, rest: str = "", body: Any = None) -> Any:
        """The kit's answer, or the error as a status."""
        key = dict(context.invocation_metadata()).get("api-key", "")
        self._face.keys.add(key)
        if self._kit.key and key != self._kit.key:
            context.abort(CODES[401], "Invalid API key")
        fault = self._kit.fault_of(f"GRPC {call}")
        if fault is not None and not fault.applied:
            context.abort(CODES[fault.status], "as a test wants it")
        try:
            found = self._kit.answer(method, f"/collections/{quote(name, safe='')}{rest}", body)
        except Refusal as error:
            context.abort(CODES[error.status], str(error))
        if fault is not None:
            context.abort(CODES[fault.status], "as a test wants it, and it was applied")
        return found


class _Points(_Face, q.PointsServicer):
    def Upsert(self, request: Any, context: Any) -> Any:
        points = [GrpcToRest.convert_point_struct(point).model_dump(mode="json") for point in request.points]
        assert request.wait
        self.ask(context, "Upsert", "PUT", request.collection_name, "/points", {"points": points})
        return _done()

    def Delete(self, request: Any, context: Any) -> Any:
        if request.points.WhichOneof("points_selector_one_of") == "points":
            body: Any = {"points": [point.uuid for point in request.points.points.ids]}
        else:
            body = {"filter": _filter(request.points.filter)}
        assert request.wait
        self.ask(context, "Delete", "POST", request.collection_name, "/points/delete", body)
        return _done()

    def Get(self, request: Any, context: Any) -> Any:
        body = {"ids": [point.uuid for point in request.ids], "with_payload": list(request.with_payload.include.fields)}
        found = self.ask(context, "Get", "POST", request.collection_name, "/points", body)
        points = [
            q.RetrievedPoint(id=q.PointId(uuid=point["id"]), payload=payload_to_grpc(point["payload"]))
            for point in found
        ]
        return q.GetResponse(result=points)

    def Count(self, request: Any, context: Any) -> Any:
        body = {"filter": _filter(request.filter)}
        found = self.ask(context, "Count", "POST", request.collection_name, "/points/count", body)
        return q.CountResponse(result=q.CountResult(count=found["count"]))

    def Query(self, request: Any, context: Any) -> Any:
        body = {
            "query": list(request.query.nearest.dense.data),
            "using": request.using,
            "limit": request.limit,
            "filter": _filter(request.filter),
        }
        found = self.ask(context, "Query", "POST", request.collection_name, "/points/query", body)
        hits = [
            q.ScoredPoint(
                id=q.PointId(uuid=hit["id"]), score=hit["score"], version=1, payload=payload_to_grpc(hit["payload"])
            )
            for hit in found["points"]
        ]
        return q.QueryResponse(result=hits)

    def CreateFieldIndex(self, request: Any, context: Any) -> Any:
        body = {"field_name": request.field_name, "field_schema": KINDS[request.field_type]}
        self.ask(context, "CreateFieldIndex", "PUT", request.collection_name, "/index", body)
        return _done()


class _Collections(_Face, q.CollectionsServicer):
    def Get(self, request: Any, context: Any) -> Any:
        found = self.ask(context, "GetCollection", "GET", request.collection_name)
        info = RestToGrpc.convert_collection_info(models.CollectionInfo(**found))
        return q.GetCollectionInfoResponse(result=info)

    def Create(self, request: Any, context: Any) -> Any:
        fields = request.vectors_config.params_map.map
        vectors = {name: {"size": one.size, "distance": q.Distance.Name(one.distance)} for name, one in fields.items()}
        self.ask(context, "Create", "PUT", request.collection_name, "", {"vectors": vectors})
        return q.CollectionOperationResponse(result=True)

    def Update(self, request: Any, context: Any) -> Any:
        body = {"optimizers_config": {"indexing_threshold": request.optimizers_config.indexing_threshold}}
        self.ask(context, "Update", "PATCH", request.collection_name, "", body)
        return q.CollectionOperationResponse(result=True)


def _filter(asked: Any) -> Any:
    return GrpcToRest.convert_filter(asked).model_dump(mode="json", exclude_none=True)


def _done() -> Any:
    return q.PointsOperationResponse(result=q.UpdateResult(operation_id=1, status=q.UpdateStatus.Completed))
