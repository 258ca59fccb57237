"""The endpoint's key: from a file or the environment, read by the process that sends it, shown to nobody."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final

from ingestd.errors import Misconfigured
from ingestd.protocol.addresses.endpoint_url import Endpoint
from ingestd.protocol.work import Machine

VARIABLE: Final = "INGESTD_ENDPOINT_KEY"

MAX_KEY: Final = 16 * 1024
"""Bytes; servers refuse headers beyond some 8 to 16 KiB."""

_LOOSE: Final = stat.S_IWGRP | stat.S_IRWXO
"""Permissions that a key's file must not give. The group may read: systemd shows its credentials so."""

STANDS_FOR_KEY: Final = "[key]"

SECRET_LEAST: Final = 8
"""Characters of a key that is one: where a server wants none, people give "none" or "ollama", and those are words that
a description or a model's name may have."""


def read_key(machine: Machine, endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """The key, or ``""`` where none is given. Raises ``Misconfigured``, also where others could read it on its way."""
    key = _from_file(machine.key_file) if machine.key_file else environ.get(VARIABLE, "").strip()
    if not key:
        return ""
    if not (key.isascii() and key.isprintable()) or " " in key or len(key) > MAX_KEY:
        place = f"the file {machine.key_file}" if machine.key_file else f"the variable {VARIABLE}"
        raise _bad("it is not one line of printable ASCII letters", f"Put the key alone into {place}")
    if not (endpoint.tls or endpoint.loopback or machine.open_http):
        raise Misconfigured(
            "a key would go over plain HTTP to another machine, for everybody on the way to read",
            operation="use",
            object=f"the endpoint {endpoint.base}",
            remedy="Use an https URL, or allow it by the setting endpoint_open_http",
        )
    return key


def without(key: str, text: str) -> str:
    """``text`` with the key taken out, however JSON may have written it: servers repeat what they were sent."""
    if len(key) < SECRET_LEAST:
        return text
    return text.replace(key, STANDS_FOR_KEY).replace(key.replace("/", "\\/"), STANDS_FOR_KEY)


def _from_file(path: str) -> str:
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise _bad(f"{path} is not a regular file", "Name a file that holds the key alone")
            if found.st_mode & _LOOSE:
                raise _bad(f"others may read or change {path}", f"chmod 600 {path}")
            data = file.read(MAX_KEY + 2)
    except OSError as error:
        raise _bad(f"{path} cannot be read: {error.strerror}", "Mend the file, or name another one") from None
    # Bytes that are no text become letters that no key has: they are refused without being shown.
    key = data.decode("ascii", "replace").strip()
    if not key:
        raise _bad(f"{path} is empty", "Put the key into it, or leave endpoint_key_file out")
    return key


def _bad(message: str, remedy: str) -> Misconfigured:
    return Misconfigured(message, operation="read", object="the endpoint's key", remedy=remedy)
