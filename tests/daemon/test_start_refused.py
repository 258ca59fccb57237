"""``start`` refuses what the daemon's user cannot read, in words, and makes no job of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.house import NOT_ROOT, HastyDaemon, defects, needs_permissions
from tests.daemonkit import META, Daemon, RpcError
from tests.pictures import write_photos


@needs_permissions
def test_what_the_daemons_user_cannot_read(tmp_path: Path) -> None:
    """A folder without the right to list, without the right to enter, below one that is closed, and a closed file."""
    places = {name: tmp_path / name for name in ("unlisted", "unentered", "below", "good")}
    for place in places.values():
        place.mkdir()
        write_photos(place, 1)
    photo = next(places["good"].iterdir())
    locked = places["good"] / "locked.jpg"
    locked.write_bytes(photo.read_bytes())
    modes = {places["unlisted"]: 0o300, places["unentered"]: 0o600, places["below"]: 0o000, locked: 0o000}
    (places["below"] / "deep").mkdir()
    with HastyDaemon(tmp_path / "home", {}, NOT_ROOT) as daemon:
        try:
            for place, bits in modes.items():
                place.chmod(bits)
            for source, words in [
                (places["unlisted"], "may not read it"),
                (places["unentered"], "may not read it"),
                (places["below"] / "deep", f"may not pass the folder {places['below']}"),
                (locked, "may not read it"),
            ]:
                with pytest.raises(RpcError, match=words) as caught:
                    daemon.call("start", sources=[str(places["good"]), str(source)], **META)
                assert caught.value.data["object"] == str(source)
                assert "daemon's user may read" in caught.value.data["remedy"]
                assert caught.value.data["exit"] == 2
        finally:
            for place in modes:
                place.chmod(0o700)
        assert daemon.call("status")["jobs"] == []
    assert not defects(daemon)


@pytest.mark.parametrize("name", ["relative.list", "{spool}/absent.list"])
def test_a_list_that_cannot_be_read(shared: Daemon, name: str) -> None:
    """A file list is looked for before a job is made of it."""
    place = name.format(spool=shared.home / "state" / "spool")
    with pytest.raises(RpcError, match=r"no absolute path|it is not there") as caught:
        shared.call("start", list_file=place, list_sha256="0" * 64, **META)
    assert place in caught.value.data["object"]
