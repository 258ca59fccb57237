"""Search through a real daemon: words and images, one vector or several, one job or more."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import skimage.data

from ingestd.control.rank_fusion import FUSION_K
from ingestd.errors import EXIT_USAGE
from tests import tinymodels
from tests.daemonkit import Daemon, RpcError

PHOTOS = Path(skimage.data.__file__).parent
NAMES = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "grass.png")


def hits(daemon: Daemon, **params: Any) -> list[str]:
    """The names that a search gives, of its only group."""
    (group,) = daemon.call("search", 120, **params)["groups"]
    return [Path(hit["path"]).name for hit in group["hits"]]


@pytest.fixture(scope="module")
def searched(shared: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """A daemon with two jobs: ``photos`` with one vector a photo, ``both`` with one of its description too."""
    folder = tmp_path_factory.mktemp("photos")
    for name in NAMES:
        shutil.copy(PHOTOS / name, folder)
    shared.ingest(folder, name="photos")
    shared.ingest(folder, name="both", embed_text="builtin")
    return shared


@pytest.mark.timeout(300)
def test_an_image_finds_itself_first(searched: Daemon, tmp_path: Path) -> None:
    """The image need not lie in a source, and a photo that lies in several jobs is one hit of a group."""
    shutil.copy(PHOTOS / "rocket.jpg", tmp_path / "elsewhere.jpg")
    (group,) = searched.call("search", 120, like=str(tmp_path / "elsewhere.jpg"))["groups"]
    assert [Path(hit["path"]).name for hit in group["hits"]].count("rocket.jpg") == 1
    assert group["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert Path(group["hits"][0]["path"]).name == "rocket.jpg"
    assert sorted(group["jobs"]) == ["both", "photos"]
    assert group["order"] == "cosine"


@pytest.mark.timeout(300)
def test_two_vectors_are_one_search(searched: Daemon) -> None:
    """Where photos and descriptions have vectors, one list comes of both, by ranks."""
    (group,) = searched.call("search", 120, text="a cup of coffee", job="both")["groups"]
    assert Path(group["hits"][0]["path"]).name == "coffee.png"
    assert group["order"] == "rank fusion"
    assert group["hits"][0]["score"] == pytest.approx(2 / (FUSION_K + 1))
    assert len(group["hits"]) == len(NAMES)
    assert hits(searched, text="a cat", job="both", n=1) == ["chelsea.png"]
    assert hits(searched, text="a cat", job="photos", n=1) == ["chelsea.png"]


@pytest.mark.timeout(300)
def test_what_cannot_be_looked_for_is_said(searched: Daemon, tmp_path: Path) -> None:
    """Both, neither, an image that is none, an image that is not there."""
    (tmp_path / "text.jpg").write_text("no image")
    for params, words in (
        ({"text": "a", "like": "/a.jpg"}, "not both"),
        ({}, "empty"),
        ({"like": str(tmp_path / "text.jpg")}, "not an image"),
        ({"like": str(tmp_path / "absent.jpg")}, "gone"),
    ):
        with pytest.raises(RpcError, match=words) as caught:
            searched.call("search", 120, **params)
        assert caught.value.data["exit"] == EXIT_USAGE


@pytest.mark.timeout(300)
def test_a_model_that_is_gone_does_not_silence_the_other_jobs(daemon: Daemon, tmp_path: Path) -> None:
    """The job that cannot be searched is named in a note; asked for alone, it is the error."""
    (tmp_path / "photos").mkdir()
    shutil.copy(PHOTOS / "coffee.png", tmp_path / "photos")
    folder = tinymodels.clip(tmp_path / "clip")
    daemon.ingest(tmp_path / "photos", name="clip", embed=str(folder), describe="none")
    daemon.ingest(tmp_path / "photos", name="plain")
    shutil.rmtree(folder)
    reply = daemon.call("search", 120, text="espresso")
    assert [group["jobs"] for group in reply["groups"]] == [["plain"]]
    assert any(note.startswith("clip: ") for note in reply["notes"])
    with pytest.raises(RpcError, match="clip"):
        daemon.call("search", 120, text="espresso", job="clip")


@pytest.mark.timeout(300)
def test_a_job_of_descriptions_alone_is_searched_with_words(daemon: Daemon, tmp_path: Path) -> None:
    """It has a store; an image finds nothing there, and that is said."""
    (tmp_path / "photos").mkdir()
    shutil.copy(PHOTOS / "coffee.png", tmp_path / "photos")
    daemon.ingest(tmp_path / "photos", embed="none", embed_text="builtin")
    assert hits(daemon, text="espresso") == ["coffee.png"]
    with pytest.raises(RpcError, match="no job has a store"):
        daemon.call("search", like=str(PHOTOS / "coffee.png"))
