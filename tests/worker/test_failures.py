"""Every way in which a file fails: its kind, its stage, whether its copies fail alike; and that the rest go on."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest

from ingestd.worker.read import read_file, stat_of
from tests import pictures
from tests.daemon.house import NOT_ROOT, needs_permissions
from tests.worker.workerkit import worker

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "hostile-images"

CONTENT: dict[str, tuple[bytes, str | None, str]] = {
    "pdf.jpg": (b"%PDF-1.7\n" + bytes(200), "unsupported", "a PDF document"),
    "text.png": (pictures.not_an_image(), "unsupported", "text"),
    "video.jpg": (b"\x00\x00\x00\x18ftypmp42" + bytes(100), "unsupported", "QuickTime"),
    "zeros.jpg": (bytes(5000), "unsupported", "zero bytes"),
    "truncated.jpg": (pictures.truncated(), "corrupt", "truncated"),
    "truncated.png": (pictures.truncated(format="PNG"), "corrupt", "truncated"),
    "truncated.webp": (pictures.truncated(format="WEBP"), "corrupt", ""),
    "truncated.tif": (pictures.truncated(format="TIFF", keep=0.9), "corrupt", ""),
    "truncated.avif": (pictures.truncated(format="AVIF"), "corrupt", ""),
    "head-only.jpg": (pictures.photo()[:20], "corrupt", ""),
    "bomb.png": (pictures.bomb("PNG"), "too_large", "megapixels"),
    "bomb.gif": (pictures.bomb("GIF"), "too_large", "megapixels"),
    "bomb.bmp": (pictures.bomb("BMP"), "too_large", "megapixels"),
    "bomb.jpg": (pictures.bomb("JPEG"), "too_large", "megapixels"),
    "empty.jpg": (b"", "empty", "no bytes"),
    "photo.heic": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100), None, ""),
}


def test_content_failures(tmp_path: Path) -> None:
    """Bad bytes fail with their kind after their hash is known, for all steps, and any copy of them fails alike."""
    for name, (data, _, _) in CONTENT.items():
        (tmp_path / name).write_bytes(data)
    good = pictures.write_photos(tmp_path / "good", 5)
    with worker() as w:
        outcomes = w.process([tmp_path / name for name in CONTENT] + good)
    for item, (name, (_, kind, words)) in enumerate(CONTENT.items()):
        outcome = outcomes[item]
        [failure] = outcome.failures
        assert (failure.stage, failure.steps, failure.content) == ("decode", 1, True), name
        assert outcome.results == []
        assert outcome.sha256 is not None
        if kind is not None:
            assert failure.kind == kind, (name, failure)
            assert words in failure.message, (name, failure)
    assert all(outcomes[len(CONTENT) + i].failures == [] for i in range(5))


def test_read_failures(tmp_path: Path) -> None:
    """What cannot be read fails without a hash, not for its copies, and never blocks: pipes and sockets included."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.jpg"))
    names = ["absent.jpg", "pipe.jpg", "folder.jpg", "socket.jpg"]
    with listener, worker() as w:
        outcomes = w.process([tmp_path / name for name in names] + [b"/dev/zero"], timeout=10)
    for item, words in enumerate(["gone", "named pipe", "folder", "socket", "device"]):
        [failure] = outcomes[item].failures
        assert (failure.kind, failure.stage, failure.content) == ("unreadable", "read", False)
        assert words in failure.message
        assert outcomes[item].sha256 is None
        assert outcomes[item].stat is None


@needs_permissions
def test_permission_denied(tmp_path: Path) -> None:
    """A file without read permission says so."""
    path = pictures.write_photos(tmp_path, 1)[0]
    path.chmod(0)
    with worker(prefix=NOT_ROOT) as w:
        [failure] = w.one(path).failures
    assert (failure.kind, failure.message) == ("unreadable", "permission denied")


def test_bytes_replaced_while_they_are_read_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same size, so that only the comparison before and after tells: the next try reads the new bytes whole."""
    file = tmp_path / "a.jpg"
    file.write_bytes(b"old" * 1000)
    read, torn = os.read, []

    def overtaken(fd: int, size: int) -> bytes:
        data = read(fd, size)
        if not torn:
            torn.append(data)
            file.write_bytes(b"new" * 1000)
            os.utime(file, ns=(1, 1))
        return data

    monkeypatch.setattr(os, "read", overtaken)
    pauses: list[float] = []
    found = read_file(os.fsencode(file), sleep=pauses.append)
    assert torn == [b"old" * 1000]
    assert (found.data, len(pauses)) == (b"new" * 1000, 1)
    assert found.stat == stat_of(os.stat(file))


def test_a_file_being_written_all_the_time_is_changed(tmp_path: Path) -> None:
    """A file that grows during every try fails as ``changed``; no torn content is hashed."""
    path = tmp_path / "growing.jpg"
    path.touch()
    # Sparse, and so large that reading it always takes much longer than the pause between two writes.
    os.truncate(path, 1 << 26)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.wait(0.001):
                file.write(b"x")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with worker() as w:
            outcome = w.one(path)
    finally:
        stop.set()
        writer.join()
    [failure] = outcome.failures
    assert (failure.kind, failure.content, outcome.sha256, w.hashed) == ("changed", False, None, {})


def test_a_file_that_settles_is_read_whole(tmp_path: Path) -> None:
    """A copy that ends while it is being read is waited for."""
    path = tmp_path / "copied.jpg"
    whole = pictures.photo(3, (640, 480))
    path.write_bytes(whole[:100])

    def copy() -> None:
        with path.open("ab", buffering=0) as file:
            for at in range(100, len(whole), 100):
                file.write(whole[at : at + 100])

    writer = threading.Thread(target=copy)
    with worker() as w:
        writer.start()
        w.give(0, path)
        writer.join()
        w.until(lambda: 0 in w.outcomes)
        # Read before the copy's end it may be a truncated state of the file; then the stat says so, and a later
        # listing finds the file changed.
        outcome = w.outcomes[0]
        assert outcome.stat is not None
        assert outcome.stat.size == len(whole) or outcome.failures


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus of hostile images is not at {CORPUS}")
def test_the_hostile_corpus() -> None:
    """1,284 damaged and malicious images: each ends in exactly one outcome, and the process survives them all."""
    files = sorted(path for path in CORPUS.rglob("*") if path.is_file() and path.name != "LICENSE")
    assert len(files) > 1000
    with worker() as w:
        outcomes = w.process(files)
        assert w.child.process.poll() is None
    assert len(outcomes) == len(files)
    kinds = Counter(outcome.failures[0].kind if outcome.failures else "fine" for outcome in outcomes.values())
    assert all(len(outcome.failures) + len(outcome.results) == 1 for outcome in outcomes.values())
    assert set(kinds) <= {"fine", "corrupt", "unsupported", "too_large", "empty"}, kinds
