"""Frames sent to a daemon over many connections at once, and each reply held against what must come."""

from __future__ import annotations

import collections
import json
import random
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.frames import OURS, Expect, Frame, Frames

BATCH = 40
CONNECTIONS = 4
PATIENCE_S = 15.0
"""Seconds that a batch may take on a machine that does much else."""


@dataclass
class Outcome:
    """What came of a run. ``wrong`` holds a sentence for each frame that was not answered as it must be."""

    frames: int = 0
    errors: collections.Counter[int] = field(default_factory=collections.Counter)
    results: int = 0
    silent: int = 0
    kinds: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        self.frames += other.frames
        self.errors += other.errors
        self.results += other.results
        self.silent += other.silent
        self.kinds += other.kinds
        self.wrong += other.wrong


def run(path: str, seed: str, frames: int, paths: list[str], names: list[str]) -> Outcome:
    """``frames`` frames to the socket at ``path``, over ``CONNECTIONS`` connections side by side."""
    total = Outcome()
    lock = threading.Lock()

    def one(number: int) -> None:
        outcome = _connection(path, Frames(random.Random(f"{seed} {number}"), paths, names), frames // CONNECTIONS)
        with lock:
            total.add(outcome)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def _connection(path: str, source: Frames, frames: int) -> Outcome:
    outcome = Outcome()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    try:
        while outcome.frames < frames:
            batch = [source.next() for _ in range(min(BATCH, frames - outcome.frames))]
            try:
                replies = _exchange(sock, batch, outcome.frames)
            except ConnectionError as error:
                outcome.wrong.append(f"the connection ended ({error}) within {[(f.kind, f.data[:200]) for f in batch]}")
                return outcome
            for frame, lines in zip(batch, replies, strict=True):
                _judge(outcome, frame, lines)
            outcome.frames += len(batch)
    finally:
        sock.close()
    return outcome


def _exchange(sock: socket.socket, batch: list[Frame], number: int) -> list[list[bytes]]:
    """The lines that came of each frame. Behind each stands a request whose reply shows where the next begins."""
    data = b"".join(b'%s\n{"method":"hello","id":"s%d"}\n' % (f.data, number + i) for i, f in enumerate(batch))
    sock.setblocking(False)
    replies: list[list[bytes]] = [[]]
    left, rest = memoryview(data), b""
    until = time.monotonic() + PATIENCE_S
    while len(replies) <= len(batch):
        if time.monotonic() > until:
            raise ConnectionError(f"no answer within {PATIENCE_S:.0f} s to frame {len(replies) - 1}")
        # Read while writing: the daemon takes no more requests from one who leaves its replies.
        readable, writable, _ = select.select([sock], [sock] if left else [], [], 1.0)
        if writable:
            left = left[sock.send(left) :]
        if readable:
            received = sock.recv(1 << 18)
            if not received:
                raise ConnectionError(f"closed at frame {len(replies) - 1}")
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                if b'"id":"s%d"' % (number + len(replies) - 1) in line[:60]:
                    replies.append([])
                else:
                    replies[-1].append(line)
    return replies[:-1]


def _judge(outcome: Outcome, frame: Frame, lines: list[bytes]) -> None:
    outcome.kinds[frame.kind.split()[0]] += 1
    try:
        documents: list[dict[str, Any]] = [json.loads(line) for line in lines]
        problem = _problem(frame, documents)
    except ValueError as error:
        documents, problem = [], f"a reply is no JSON ({error})"
    if problem:
        outcome.wrong.append(f"{frame.kind}: {problem}: {frame.data[:300]!r} -> {[line[:500] for line in lines]}")
    outcome.silent += not documents
    for document in documents:
        if "error" in document:
            outcome.errors[document["error"]["code"]] += 1
        else:
            outcome.results += 1


def _problem(frame: Frame, replies: list[dict[str, Any]]) -> str:
    """What is wrong with the replies to one frame, or nothing."""
    if len(replies) > 1:
        return f"{len(replies)} replies"
    if frame.expect is Expect.NOTHING:
        return "a reply to what gets none" if replies else ""
    if not replies:
        return "" if frame.expect is Expect.ANY else "no reply"
    (reply,) = replies
    if reply.get("jsonrpc") != "2.0" or "id" not in reply:
        return "no JSON-RPC reply"
    if frame.ident is not None and reply["id"] != frame.ident:
        return "the reply has another id"
    if ("error" in reply) == ("result" in reply):
        return "neither an error nor a result"
    if "error" in reply:
        return _error_problem(frame, reply["error"])
    return "a result for a bad frame" if frame.expect is Expect.ERROR else ""


def _error_problem(frame: Frame, error: dict[str, Any]) -> str:
    if not error.get("message") or not error.get("data", {}).get("remedy"):
        return "an error without a message and a remedy"
    if error["data"]["remedy"].startswith("The log holds the details"):
        return "a defect of the daemon"
    if frame.expect is Expect.ERROR and error["code"] not in frame.codes:
        return f"the code is none of {sorted(frame.codes)}"
    if frame.expect is Expect.REPLY and error["code"] != OURS:
        return "a good request was taken for a bad one"
    return ""
