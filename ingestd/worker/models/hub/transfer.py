"""One file from the hub into the cache: resumed where it was cut, checked, and only then given its name.

The library's own download begins anew after every cut (it deletes what had come, and what a killed process leaves it
never looks at), and its Xet protocol resumes nothing and does not speak to plain mirrors: so the bytes are brought
here, over plain HTTP, which the hub answers for every file up to 50 GB. Names, locks and places are the library's: a
blob under way is ``<etag>.incomplete``, and whoever holds ``.locks/<model>/<etag>.lock`` is the one who writes it.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from ingestd.errors import Unavailable
from ingestd.worker.models.hub.border import LONGEST_WAIT_S, Trouble, client, library, refuse, translated
from ingestd.worker.models.hub.listing import RemoteFile
from ingestd.worker.models.hub.names import WAYS, Wanted
from ingestd.worker.models.hub.progress import Progress
from ingestd.worker.models.hub.store import size_of

T = TypeVar("T")

_ENOUGH: Final = 1 << 20
"""Bytes that must have come since the last trouble for the count of tries to begin anew: a line that drops now and
then brings any model; one that gives a few bytes each time does not keep us for ever."""

_WRONG: Final = 2
"""Times that a file may come with other bytes than stated: once is an accident on the way."""

_SLICE_S: Final = 1.0
_PIECE: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a fetch is tried again by itself: about a minute. Then the job waits, with no process."""

    tries: int = 6
    first_s: float = 1.0
    longest_s: float = 30.0

    def rest_s(self, tried: int, asked_s: float | None) -> float | None:
        """Seconds until the next try, after ``tried`` failed ones; None when there is to be none."""
        if tried >= self.tries or (asked_s or 0) > LONGEST_WAIT_S:
            return None
        backoff: float = min(self.longest_s, self.first_s * 2.0 ** (tried - 1)) * random.uniform(0.75, 1.25)
        return max(backoff, asked_s or 0)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Brings the files of one commit."""

    wanted: Wanted
    commit: str
    endpoint: str
    repo: Path
    locks: Path
    patience: Patience
    progress: Progress

    def bring(self, file: RemoteFile) -> None:
        """Have the blob of ``file``. Raises ``Unavailable``, ``Misconfigured`` and ``OSError``."""
        blob = self.repo / "blobs" / file.blob
        partial = blob.with_name(f"{blob.name}.incomplete")
        blob.parent.mkdir(parents=True, exist_ok=True)
        self.progress.at(size_of(partial) or 0)
        with self._locked(file, partial):
            if not _is_blob(blob, file):  # or another process was quicker
                self._bring(file, partial)
                os.replace(partial, blob)
        self.progress.finished(size_of(blob) or 0)

    def _bring(self, file: RemoteFile, partial: Path) -> None:
        for _ in range(_WRONG):
            self._append_patiently(file, partial)
            if self._is_right(file, partial):
                return
            partial.unlink()
            self.progress.at(0)
        raise refuse(
            self.wanted,
            f"{file.name} came with other bytes than the hub states, {_WRONG} times; it was removed",
            f"Check the proxy or mirror on the way (HF_ENDPOINT), or {WAYS}",
        )

    def _append_patiently(self, file: RemoteFile, partial: Path) -> None:
        tried = 0
        while True:
            before = size_of(partial) or 0
            try:
                return self._append(file, partial)
            except Trouble as trouble:
                grown = (size_of(partial) or 0) - before
                tried = 1 if grown >= _ENOUGH else tried + 1
                rest(self.wanted, self.patience, tried, trouble, self.progress.beat)

    def _append(self, file: RemoteFile, partial: Path) -> None:
        """What is missing at the end of ``partial``, over one request. Raises ``Trouble``."""
        hub = library()
        start = size_of(partial) or 0
        if file.size is not None and start > file.size:
            partial.unlink()
            start = 0
        if start == file.size and partial.exists():
            return
        headers = {**hub.utils.build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        url = hub.hf_hub_url(self.wanted.hub_id, file.name, revision=self.commit, endpoint=self.endpoint)
        session, _ = client()
        with (
            translated(self.wanted, self.endpoint),
            session.stream("GET", url, headers=headers, timeout=hub.constants.HF_HUB_DOWNLOAD_TIMEOUT) as response,
        ):
            if response.status_code == 416:
                partial.unlink(missing_ok=True)
                raise Trouble(f"the hub cannot go on within {file.name}")
            hub.hf_raise_for_status(response)
            resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            )
            with partial.open("ab" if resumed else "wb") as out:
                for chunk in response.iter_bytes():
                    out.write(chunk)
                    self.progress.at(out.tell())
                    if file.size is not None and out.tell() > file.size:
                        break  # its hash will not be right either
                out.flush()
                os.fsync(out.fileno())
        if file.size is not None and (size_of(partial) or 0) < file.size:
            raise Trouble(f"the connection ended in the middle of {file.name}")

    def _is_right(self, file: RemoteFile, partial: Path) -> bool:
        size = size_of(partial)
        if size is None or (file.size is not None and size != file.size):
            return False
        if file.sha256 is None and file.git_sha1 is None:
            return True
        digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        with partial.open("rb") as bytes_:
            while piece := bytes_.read(_PIECE):
                digest.update(piece)
                self.progress.at(size)
        return digest.hexdigest() == (file.sha256 or file.git_sha1)

    @contextmanager
    def _locked(self, file: RemoteFile, partial: Path) -> Iterator[None]:
        """Hold the file's lock; while another process has it, what that one brings is told."""
        from filelock import Timeout

        self.locks.mkdir(parents=True, exist_ok=True)
        while True:
            lock = library().utils.WeakFileLock(self.locks / f"{file.blob}.lock", timeout=_SLICE_S)
            try:
                lock.__enter__()
            except Timeout:
                self.progress.current = size_of(partial) or self.progress.current
                self.progress.beat()
                continue
            break
        try:
            yield
        finally:
            lock.__exit__(None, None, None)


def patiently(wanted: Wanted, patience: Patience, act: Callable[[], T], beat: Callable[[], None]) -> T:
    """What ``act`` returns; it is tried again after ``Trouble``. Raises ``Unavailable`` when patience ends."""
    tried = 0
    while True:
        try:
            return act()
        except Trouble as trouble:
            tried += 1
            rest(wanted, patience, tried, trouble, beat)


def rest(wanted: Wanted, patience: Patience, tried: int, trouble: Trouble, beat: Callable[[], None]) -> None:
    """Sleep before the next try, with signs of life. Raises ``Unavailable`` when there is to be none."""
    seconds = patience.rest_s(tried, trouble.wait_s)
    if seconds is None:
        raise Unavailable(
            trouble.why,
            operation="fetch",
            object=f"the model {wanted.typed!r}",
            remedy=f"What has come stays, and the next attempt goes on from there; or {WAYS}",
        )
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        beat()
        time.sleep(min(_SLICE_S, left))


def _is_blob(blob: Path, file: RemoteFile) -> bool:
    size = size_of(blob)
    return size is not None and file.size in (None, size)
