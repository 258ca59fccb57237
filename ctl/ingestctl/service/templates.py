"""The files of a service: templates with ``@NAMES@``, filled in for one machine and one user.

Their source is ``service/`` at the top of the checkout; a wheel carries them inside this package.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = ("ingestd.service", "ingestd@.service", "ingestd@USER.conf", "50-ingestd-USER.rules", "local.ingestd.plist")
"""User unit, system template, what of it belongs to one user, that user's polkit rule, launchd agent."""


def user_unit(environment: Mapping[str, str], python: str = sys.executable) -> str:
    """The unit of a user's own service manager."""
    return _filled("ingestd.service", PYTHON=word(python), ENVIRONMENT=_assignments(environment))


def system_unit(environment: Mapping[str, str], python: str = sys.executable) -> str:
    """The template of the system's service manager: one for all users."""
    return _filled("ingestd@.service", PYTHON=word(python), ENVIRONMENT=_assignments(environment))


def system_drop_in(environment: Mapping[str, str], writable: list[str]) -> str:
    """What belongs to one user and not to the template: environment, and the folders that may be written."""
    # Without the minus, a folder that is not there yet would keep the service from starting, in the kernel's words.
    paths = " ".join([word(f"-{path}") for path in writable])
    mounts = " ".join([word(path) for path in writable])
    return _filled("ingestd@USER.conf", ENVIRONMENT=_assignments(environment), WRITABLE=paths, MOUNTS=mounts)


def polkit_rule(user: str) -> str:
    """The rule that lets this user's system service hold inhibitors."""
    names = {"USER_JSON": json.dumps(user), "UNIT_JSON": json.dumps(f"ingestd@{user}.service"), "USER": user}
    return _filled("50-ingestd-USER.rules", **names)


def agent(environment: Mapping[str, str], log: str, python: str = sys.executable) -> str:
    """The property list of a launchd agent; ``log`` is the folder for what it prints."""
    lines = [f"<key>{_xml(key)}</key>\n        <string>{_xml(value)}</string>" for key, value in environment.items()]
    return _filled("local.ingestd.plist", PYTHON=_xml(python), LOG=_xml(log), ENVIRONMENT="\n        ".join(lines))


def word(text: str) -> str:
    """``text`` as one word of a unit file, with specifiers, quotes and separators escaped.

    A dollar sign means a variable in a command's arguments alone, and no word that is made here is one.
    """
    safe = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return safe if safe == text and text and not set(text) & set(" \t'#;") else f'"{safe}"'


def assignment(name: str, value: str) -> str:
    """The line of a unit that sets a variable."""
    return f"Environment={word(f'{name}={value}')}"


def _assignments(environment: Mapping[str, str]) -> str:
    return "\n".join([assignment(name, value) for name, value in environment.items()])


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _filled(name: str, **values: str) -> str:
    """The template with its names replaced; a line that becomes empty is left out."""
    lines = []
    for line in _read(name).splitlines():
        filled = line
        for key, value in values.items():
            filled = filled.replace(f"@{key}@", value)
        if filled.strip() or not line.strip():
            lines.append(filled)
    return "\n".join(lines) + "\n"


def _read(name: str) -> str:
    here = os.path.dirname(os.path.abspath(__file__))
    # An installation that is a checkout has them at its top, where they are written.
    for folder in (f"{here}/templates", f"{here}/../../../service"):
        path = f"{folder}/{name}"
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                return file.read()
    raise FileNotFoundError(f"{name} is in neither {here}/templates nor the checkout's service folder")
