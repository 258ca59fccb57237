"""Frames for the control socket, good and bad, from the protocol's own types: a verb or field that is added is fuzzed.

Each frame says what must come of it. The oracle for bytes that were changed at random is Python's own JSON reader, an
implementation that has nothing to do with the daemon's.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from ingestd.control.transport.admission import LASTING
from ingestd.kinds import steps
from ingestd.kinds.steps import StepAsk
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import PathB64

PARSE, INVALID, UNKNOWN, PARAMS, OURS = -32700, -32600, -32601, -32602, -32000
MAX_LINE = 64 * 1024
OWN_CONNECTION = LASTING | {"shutdown"}
"""Verbs that answer late, or for the last time: as good requests they do not stand among others."""

COSTLY = {"start": 0.03, "retry": 0.1}
"""Of the good requests of a verb, the part that is kept: these start processes, and not they are tested here."""


class Expect(Enum):
    """What must come of a frame."""

    ERROR = "one error, of one of ``codes``"
    REPLY = "one reply: a result, or an error of ours"
    NOTHING = "no reply"
    ANY = "at most one reply"


@dataclass(frozen=True, slots=True)
class Frame:
    """One line without its newline. ``kind`` names what is wrong with it, for a report."""

    kind: str
    data: bytes
    expect: Expect
    codes: frozenset[int] = frozenset()
    ident: int | str | None = None


class Frames:
    """Random frames. ``paths`` are those that requests may name, ``names`` those of jobs; the first is never removed,
    so that there is always something to tell."""

    def __init__(self, rng: random.Random, paths: list[str], names: list[str]) -> None:
        self._rng = rng
        self._paths = paths
        self._names = names
        self._number = 0
        self._fields = {verb: msgspec.inspect.type_info(pair[0]).fields for verb, pair in c.VERBS.items()}  # type: ignore[attr-defined]
        self._kinds: list[tuple[Callable[[], Frame], int]] = [
            (self.good, 20), (self.notification, 3), (self.duplicate_keys, 3), (self.wrong_type, 14),
            (self.unknown_field, 4), (self.missing_field, 3), (self.params_are_no_object, 4), (self.unknown_verb, 3),
            (self.bad_envelope, 6), (self.no_object, 5), (self.changed_bytes, 16), (self.cut_off, 5),
            (self.noise, 6), (self.bad_text, 4), (self.deep, 1), (self.blank, 1), (self.too_long, 1),
        ]  # fmt: skip

    def next(self) -> Frame:
        """One frame of a random kind."""
        makers, weights = zip(*self._kinds, strict=True)
        frame: Frame = self._rng.choices(makers, weights)[0]()
        return frame

    # ----------------------------------------------------------------------------------------------------- good ones

    def good(self) -> Frame:
        """A request that fits its types; its values are as odd as the types allow."""
        ident = self._ident()
        verb = self._verb()
        return Frame(f"good {verb}", self._line(verb, self._params(verb), ident), Expect.REPLY, ident=ident)

    def notification(self) -> Frame:
        """Without an id: carried out, and not answered."""
        verb = self._verb()
        return Frame(f"notification {verb}", self._line(verb, self._params(verb), None), Expect.NOTHING)

    def duplicate_keys(self) -> Frame:
        """One name twice in an object: the last one counts, as in most readers of JSON."""
        ident, first, verb = self._ident(), self._rng.choice(sorted(c.VERBS)), self._verb()
        params = json.dumps(self._params(verb))
        line = f'{{"method":"{first}","params":7,"method":"{verb}","id":{json.dumps(ident)},"params":{params}}}'
        return Frame(f"duplicate keys {verb}", line.encode(), Expect.REPLY, ident=ident)

    # ------------------------------------------------------------------------------------------------------ bad ones

    def wrong_type(self) -> Frame:
        """One field of a value that its type does not allow; every field of every verb comes up."""
        verb = self._rng.choice([verb for verb, fields in self._fields.items() if fields])
        field = self._rng.choice(self._fields[verb])
        params = self._params(verb) | {field.name: self._rng.choice(_not_of(field.type))}
        return self._error(f"wrong type {verb}.{field.name}", verb, params, PARAMS)

    def unknown_field(self) -> Frame:
        verb = self._rng.choice(sorted(c.VERBS))
        params = self._params(verb) | {self._rng.choice(["jobb", "", "path\0", "ünknown", "__class__"]): self._scrap()}
        return self._error(f"unknown field {verb}", verb, params, PARAMS)

    def missing_field(self) -> Frame:
        needy = {verb: [f.name for f in fields if f.required] for verb, fields in self._fields.items()}
        verb = self._rng.choice([verb for verb, names in needy.items() if names])
        params = self._params(verb)
        del params[self._rng.choice(needy[verb])]
        return self._error(f"missing field {verb}", verb, params, PARAMS)

    def params_are_no_object(self) -> Frame:
        verb = self._rng.choice(sorted(c.VERBS))
        params = self._rng.choice([None, [], [1], ["job"], 7, -0.5, True, "", "job", [[]], 10**40])
        return self._error(f"params {verb}", verb, params, PARAMS)

    def unknown_verb(self) -> Frame:
        verb = self._rng.choice(["", "statu", "STATUS", "status ", "__init__", "handle_status", "\0", "s" * 5000, "ß"])
        return self._error("unknown verb", verb, {}, UNKNOWN)

    def bad_envelope(self) -> Frame:
        """An object that is no request: a method or an id that cannot be one."""
        odd = self._rng.choice([None, 7, True, [], {}, 1.5])
        document = self._rng.choice([
            {}, {"id": 1}, {"method": odd, "id": 1}, {"method": "hello", "id": [self._scrap()]},
            {"method": "hello", "id": {"id": 1}}, {"method": "hello", "id": 1.5}, {"method": "hello", "id": True},
            {"method": "hello", "id": 10 ** self._rng.randrange(19, 300)}, {"method": "hello", "id": -(1 << 64)},
            {"method": "hello", "id": 1, "jsonrpc": odd or 2},
        ])  # fmt: skip
        return Frame("envelope", json.dumps(document).encode(), Expect.ERROR, frozenset({INVALID}))

    def no_object(self) -> Frame:
        """JSON that is no object; a batch is none either."""
        batch = [json.loads(self._line("hello", {}, n)) for n in range(self._rng.randrange(3))]
        document = self._rng.choice([batch, batch, 7, -1e300, "status", True, None, [[[]]], 10**50])
        return Frame("no object", json.dumps(document).encode(), Expect.ERROR, frozenset({INVALID}))

    def cut_off(self) -> Frame:
        """The beginning of a request: never JSON."""
        line = self._line(self._verb(), self._params("hello"), 1)
        return Frame("cut off", line[: self._rng.randrange(1, len(line))], Expect.ERROR, frozenset({PARSE}))

    def noise(self) -> Frame:
        """Bytes of no kind at all."""
        data = self._rng.randbytes(self._rng.choice([1, 2, 7, 60, 900])).replace(b"\n", b"\r")
        return self._judged("noise", data)

    def bad_text(self) -> Frame:
        """Text that is no UTF-8, a NUL, half of a surrogate pair, a control character, in a place for text."""
        scrap = self._rng.choice(
            [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88", b"\xc0\xaf", b"\x00", b"\x1b[2J", b"\\ud800", b"\\u00"]
        )
        line = b'{"method":"show","id":1,"params":{"path":"/a' + scrap + b'"}}'
        if self._rng.random() < 0.3:
            line = b'{"method":"he' + scrap + b'","id":1}'
        return self._judged("bad text", line)

    def changed_bytes(self) -> Frame:
        """A good request with some of its bytes changed, taken out, doubled or moved."""
        verb = self._rng.choice([verb for verb in c.VERBS if verb not in OWN_CONNECTION and verb not in COSTLY])
        data = bytearray(self._line(verb, self._params(verb), self._ident()))
        for _ in range(self._rng.choice([1, 1, 1, 2, 5, 20])):
            at = self._rng.randrange(len(data) or 1)
            match self._rng.randrange(5):
                case 0:
                    data[at : at + 1] = self._rng.randbytes(1)
                case 1:
                    del data[at : at + self._rng.choice([1, 1, 3])]
                case 2:
                    data[at:at] = data[at : at + self._rng.choice([1, 5, 50])]
                case 3:
                    data[at:at] = self._rng.choice([b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"0", b"-", b"e9"])
                case _:
                    data[at : at + 2] = data[at : at + 2][::-1]
        return self._judged("changed bytes", bytes(data).replace(b"\n", b" "))

    def deep(self) -> Frame:
        """Nested some thousand deep, which must not reach the end of the stack."""
        depth = self._rng.choice([200, 2_000, 10_000, 30_000])
        opened, closed = self._rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
        depth = min(depth, 60_000 // (len(opened) + 1))
        inner = opened * depth + b"1" + closed * depth
        where = self._rng.choice([b"%s", b'{"method":"hello","id":1,"params":%s}', b'{"method":"hello","id":%s}'])
        return Frame("deep", where % inner, Expect.ERROR, frozenset({PARSE, INVALID, PARAMS}))

    def blank(self) -> Frame:
        return Frame("blank", self._rng.choice([b"", b" ", b"\r", b"\t \t", b" " * 5000]), Expect.NOTHING)

    def too_long(self) -> Frame:
        """Over 64 KiB in one line, of JSON or of nothing."""
        size = self._rng.choice([MAX_LINE + 1, MAX_LINE + 2, 2 * MAX_LINE, 300_000])
        data = self._rng.choice([b"x", b"[", b" ", b"\0", b"\xff"]) * size
        if self._rng.random() < 0.5:
            data = b'{"method":"show","id":1,"params":{"path":"/' + b"a" * size + b'"}}'
        return Frame("too long", data, Expect.ERROR, frozenset({INVALID}))

    # ------------------------------------------------------------------------------------------------------- building

    def _error(self, kind: str, verb: str, params: Any, code: int) -> Frame:
        ident = self._ident()
        return Frame(kind, self._line(verb, params, ident), Expect.ERROR, frozenset({code}), ident)

    def _judged(self, kind: str, data: bytes) -> Frame:
        """What must come of bytes that nobody meant, as far as Python's reader of JSON can say."""
        if not data.strip():
            return Frame(kind, data, Expect.NOTHING)
        if len(data) > MAX_LINE:
            return Frame(kind, data, Expect.ERROR, frozenset({INVALID}))
        try:
            document = json.loads(data.decode())
        except (ValueError, RecursionError):
            # A control character within a string is forbidden by RFC 8259, but not every reader minds.
            lenient = any(byte < 0x20 for byte in data)
            codes = frozenset({PARSE, INVALID, PARAMS})  # what is wrong inside the parameters is found later
            return Frame(kind, data, Expect.ANY if lenient else Expect.ERROR, codes)
        if not isinstance(document, dict) or not isinstance(document.get("method"), str):
            return Frame(kind, data, Expect.ERROR, frozenset({INVALID, PARSE}))
        if document["method"] in OWN_CONNECTION:
            return self.blank()
        return Frame(kind, data, Expect.ANY)

    def _line(self, verb: str, params: Any, ident: Any) -> bytes:
        document = {"jsonrpc": "2.0", "method": verb, "params": params}
        if ident is not None:
            document["id"] = ident
        items = list(document.items())
        self._rng.shuffle(items)
        ascii_, indent = self._rng.random() < 0.5, self._rng.choice([(",", ":"), (", ", ": "), (" ,\t", "\r: ")])
        return json.dumps(dict(items), ensure_ascii=ascii_, separators=indent).encode()

    def _ident(self) -> int | str:
        self._number += 1
        return self._rng.choice([self._number, -self._number, f"r{self._number}", f"ï\0{self._number}", (1 << 63) - 1])

    def _verb(self) -> str:
        """A verb that may stand among others, the costly ones seldom."""
        while True:
            verb = self._rng.choice([verb for verb in c.VERBS if verb not in OWN_CONNECTION])
            if self._rng.random() < COSTLY.get(verb, 1.0):
                return verb

    def _params(self, verb: str) -> dict[str, Any]:
        """Parameters that fit: the required fields, and some of the others."""
        chosen = [f for f in self._fields[verb] if f.required or self._rng.random() < 0.3]
        params = {field.name: self._value(field.name, field.type) for field in chosen}
        if verb == "remove" and params["job"] == self._names[0]:
            params["job"] = self._names[1]
        return params

    def _value(self, name: str, type_: msgspec.inspect.Type) -> Any:
        i, rng = msgspec.inspect, self._rng
        match type_:
            case i.UnionType():
                return self._value(name, rng.choice(type_.types))
            case i.ListType():
                return [self._value(name, type_.item_type) for _ in range(rng.choice([0, 1, 1, 2]))]
            case i.StructType(cls=cls) if cls is PathB64:
                return {"b64": base64.b64encode(rng.choice([b"/a\xff", b"", b"a\0b", b"/" * 3000])).decode()}
            case i.StructType(cls=cls) if cls is StepAsk:
                # Without a model it would be the builtin one.
                chosen = [f for f in type_.fields if f.required or f.name == "model" or rng.random() < 0.3]
                return {field.name: self._value(f"step_{field.name}", field.type) for field in chosen}
            case i.DictType():
                return {self._value(name, type_.key_type): self._value(name, type_.value_type) for _ in range(2)}
            case i.VarTupleType():
                return [self._value(name, type_.item_type) for _ in range(rng.choice([0, 1, 2]))]
            case i.NoneType():
                return None
            case i.BoolType():
                return rng.random() < 0.5
            case i.IntType():
                return self._number_for(type_)
            case i.FloatType():
                return rng.choice([0.0, -0.0, 0.7, 1e308, -1e-300, 3])
            case i.StrType():
                return self._text(name)
        raise AssertionError(f"the fuzzer knows no {type_}: add it")

    def _number_for(self, type_: msgspec.inspect.IntType) -> int:
        values = [0, 1, -1, 7, 500, 2**31, 2**53, -(2**63), 2**63 - 1, 2**64, 10**30]
        low = type_.ge if type_.ge is not None else -(10**40)
        high = type_.le if type_.le is not None else 10**40
        return self._rng.choice([value for value in values if low <= value <= high])

    def _text(self, name: str) -> str:
        rng = self._rng
        if name in ("sources", "path", "paths", "like") and rng.random() < 0.7:
            return rng.choice(self._paths)
        if name in ("job", "name") and rng.random() < 0.8:
            return rng.choice(self._names)
        if name in ("step_name", "step_kind") and rng.random() < 0.8:
            return rng.choice([*steps.SHIPPED, "", "x"])
        if name in ("describe", "embed", "embed_text", "step_model"):
            # A model of the builtin kind would be loaded, which is not what is tested here.
            return rng.choice(["none", "none", "none", "openai:", "openai:http://[", "openai:ftp://x#y"])
        if name == "list_file":
            return rng.choice(["/nonexistent/list", "relative", "", "/dev/zero", "/etc/passwd", "/\0"])
        return rng.choice(["", " ", "a", "\0", "é" * 400, "x" * 4000, "../../..", "%s%n", "'; --", "\u202e", "1", "😀"])

    def _scrap(self) -> Any:
        return self._rng.choice([None, 0, 1.5, True, "x", [], {}, [[]], {"a": {"b": []}}, 10**30])


_SAMPLES: tuple[tuple[str, Any], ...] = (
    ("none", None), ("bool", True), ("int", 7), ("int", -(10**30)), ("float", 1.5), ("float", 1e300), ("str", "x"),
    ("list", [None]), ("list", [[]]), ("list", [{}]), ("list", [True]), ("object", {"a": 1}),
    ("object", {"b64": 7}), ("object", {}),
)  # fmt: skip


def _not_of(type_: msgspec.inspect.Type) -> list[Any]:
    """Values that do not fit a type, nor any part of a union."""
    i = msgspec.inspect
    parts = type_.types if isinstance(type_, i.UnionType) else (type_,)
    allowed: set[str] = set()
    for part in parts:
        match part:
            case i.NoneType():
                allowed.add("none")
            case i.BoolType():
                allowed.add("bool")
            case i.IntType():
                allowed.add("int")
            case i.FloatType():
                allowed |= {"float", "int"}
            case i.StrType():
                allowed.add("str")
            case i.ListType() | i.StructType():
                pass  # the samples have the wrong things inside
            case _:
                raise AssertionError(f"the fuzzer knows no {part}: add it")
    return [value for kind, value in _SAMPLES if kind not in allowed]
