"""Keys of endpoints: where they come from, which are refused, and that nobody reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingestd.errors import Misconfigured
from ingestd.protocol.addresses.endpoint_url import parse
from ingestd.protocol.work import Machine
from ingestd.worker.models.openai_.keys import VARIABLE, read_key, without

KEY = "sk-Very/Secret+Key=42"

HERE, LAN, TLS = (parse(f"openai:{url}#m") for url in ("http://127.0.0.1/v1", "http://nas/v1", "https://nas/v1"))


def key_file(folder: Path, data: bytes, mode: int = 0o600) -> Machine:
    path = folder / "key"
    path.write_bytes(data)
    path.chmod(mode)
    return Machine("", key_file=str(path))


def test_a_key_comes_from_the_file_else_from_the_environment(tmp_path: Path) -> None:
    """The file goes before the variable; the end of its line is not part of the key; neither is no key."""
    environ = {VARIABLE: "sk-env"}
    assert read_key(key_file(tmp_path, KEY.encode() + b"\r\n"), HERE, environ) == KEY
    assert read_key(Machine(""), HERE, environ) == "sk-env"
    assert read_key(Machine(""), HERE, {}) == ""
    assert read_key(Machine(""), LAN, {VARIABLE: " "}) == ""


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440])
def test_permissions_that_a_key_may_have(tmp_path: Path, mode: int) -> None:
    """Its owner's, and its group's to read: systemd shows its credentials so."""
    assert read_key(key_file(tmp_path, KEY.encode(), mode), TLS, {}) == KEY


@pytest.mark.parametrize(
    ("data", "mode", "said"),
    [
        (b"", 0o600, "is empty"),
        (b"\n \n", 0o600, "is empty"),
        (KEY.encode(), 0o644, "chmod 600"),
        (KEY.encode(), 0o620, "chmod 600"),
        (KEY.encode() + b"\nX-Other: header", 0o600, "one line"),
        (KEY.encode() + b" and more", 0o600, "one line"),
        (KEY.encode() + b"\xff\xfe", 0o600, "one line"),
        (KEY.encode() * 1000, 0o600, "one line"),
    ],
)
def test_keys_that_are_refused(tmp_path: Path, data: bytes, mode: int, said: str) -> None:
    """A file that is no key, or everybody's, is refused in a sentence that does not show it."""
    with pytest.raises(Misconfigured) as caught:
        read_key(key_file(tmp_path, data, mode), HERE, {})
    assert said in caught.value.sentence()
    assert "Secret" not in caught.value.sentence()


def test_key_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Absent, a folder, a pipe that nobody writes to: each in words, none waited for."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, said in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "pipe", "regular"),
    ):
        with pytest.raises(Misconfigured) as caught:
            read_key(Machine("", key_file=str(path)), HERE, {})
        assert said in caught.value.sentence()


def test_a_key_does_not_go_over_an_open_line() -> None:
    """Plain HTTP carries a key within this machine alone, unless its owner allows more."""
    environ = {VARIABLE: KEY}
    for endpoint in (HERE, TLS):
        assert read_key(Machine(""), endpoint, environ) == KEY
    assert read_key(Machine("", open_http=True), LAN, environ) == KEY
    with pytest.raises(Misconfigured, match="plain HTTP") as caught:
        read_key(Machine(""), LAN, environ)
    assert KEY not in caught.value.sentence()


def test_a_key_is_taken_out_of_what_a_server_says() -> None:
    """Also as some servers write it in JSON."""
    said = f"bad {KEY}, or {KEY.replace('/', chr(92) + '/')}!"
    assert without(KEY, said) == "bad [key], or [key]!"
    assert without("", said) == said


@pytest.mark.parametrize("key", ["", "none", "ollama", "EMPTY"])
def test_a_placeholder_is_no_secret(key: str) -> None:
    """What is given as a key where none is needed stays in descriptions, and in the names of models."""
    assert without(key, f"There is {key} in it") == f"There is {key} in it"
