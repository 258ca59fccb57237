"""Settings: the daemon's own, and what a job gets that does not ask. Pure: environment and file text are passed in.

A value comes from the first of: the flag, the environment (``INGESTD_*``), ``config.toml``, the default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.kinds import sinks
from ingestd.kinds.sinks import SinkKinds, words_of
from ingestd.kinds.steps import META, SHIPPED, StepKind
from ingestd.policy.sink_spec import default_sinks, parse_sinks, setting_problem, settings_of
from ingestd.protocol.addresses import endpoint_url

DEFAULTS: Final[Mapping[str, str]] = {
    "describe": SHIPPED["describe"].default,
    "embed": SHIPPED["embed"].default,
    "embed_text": SHIPPED["embed_text"].default,
    "device": "auto",
    "concurrency": "4",
    "endpoint_key_file": "",
    "endpoint_open_http": "no",
    **dict.fromkeys(settings_of(), ""),
    "batch_size": "100",
    "cooldown": "auto",
    "workers": "1",
    "sinks": default_sinks(),
    "awake": "auto",
    "read_group": "",
    "lockdown": "auto",
    "log_level": "info",
}
_DEVICE: Final = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
_GROUP: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,254})?")
MAX_WORKERS: Final = 64
MAX_CONCURRENCY: Final = 256

_KEY_FILE: Final = "_key_file"
"""The end of every key that names a file with a secret in it."""


class Setting(NamedTuple):
    """One value and where it came from: ``default``, ``config.toml`` or the name of an environment variable."""

    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting by its key, each checked."""

    values: Mapping[str, Setting]

    def __getitem__(self, key: str) -> str:
        return self.values[key].value

    def get(self, key: str) -> str:
        """The value; empty for a key that is not known, as of a package that is gone."""
        return self.values[key].value if key in self.values else ""


def load(
    environ: Mapping[str, str],
    file_text: str | None,
    file_name: str,
    kinds: Mapping[str, StepKind] = SHIPPED,
    sink_kinds: SinkKinds = sinks.SHIPPED,
) -> Settings:
    """Merge defaults, file and environment. ``kinds`` of steps have a key each, the model that a job gets unasked;
    ``sink_kinds`` add the keys that they declare.

    Raises ``Misconfigured`` naming the key, its place and what it may be.
    """
    defaults = {**DEFAULTS, **{kind.name: kind.default for kind in kinds.values() if kind.name != META.name}}
    of_sinks = settings_of(sink_kinds)
    defaults = dict.fromkeys(of_sinks, "") | defaults | {"sinks": default_sinks(sink_kinds)}
    values = {key: Setting(value, "default") for key, value in defaults.items()}
    if file_text is not None:
        try:
            table = tomllib.loads(file_text)
        except tomllib.TOMLDecodeError as error:
            raise _wrong(str(error), file_name, "Mend the file, or move it away") from error
        for key, value in table.items():
            if key not in defaults:
                raise _wrong(f"it has no key '{key}'", file_name, f"The keys are {', '.join(defaults)}")
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            values[key] = Setting(text, file_name)
    for key in defaults:
        name = f"INGESTD_{key.upper()}"
        if name in environ:
            values[key] = Setting(environ[name], name)
    for key, setting in values.items():
        declared = of_sinks.get(key)
        problem = setting_problem(declared, setting.value) if declared else problem_of(key, setting.value, sink_kinds)
        if problem:
            # A key may stand where its file was meant, or in a URL: such a value is not repeated, errors are logged.
            hidden = key == "sinks" or key in of_sinks or key.endswith(_KEY_FILE)
            shown = "" if hidden else f" is {setting.value!r}"
            raise _wrong(f"{key}{shown}: {problem}", setting.source, "Change it there")
    for key in ("sinks", *kinds):
        try:
            if key == "sinks":
                parse_sinks(values[key].value.split(","), sink_kinds)
            elif key in values:
                check_model(values[key].value)
        except Misconfigured as error:
            raise _wrong(f"{key}: {error.message}", values[key].source, error.remedy) from error
    return Settings(values)


def _wrong(message: str, place: str, remedy: str) -> Misconfigured:
    return Misconfigured(
        message, operation="read", object=f"the configuration in {place}", remedy=remedy, exit=EXIT_USAGE
    )


def problem_of(key: str, value: str, sink_kinds: SinkKinds = sinks.SHIPPED) -> str:
    """What is wrong with a setting's value, in words; empty when nothing is."""
    match key:
        case "batch_size":
            return "" if value.isdecimal() and 1 <= int(value) <= 1_000_000 else "a whole number from 1 is needed"
        case "workers":
            good = value.isdecimal() and 1 <= int(value) <= MAX_WORKERS
            return "" if good else f"a whole number from 1 to {MAX_WORKERS} is needed"
        case "concurrency":
            good = value.isdecimal() and 1 <= int(value) <= MAX_CONCURRENCY
            return "" if good else f"a whole number from 1 to {MAX_CONCURRENCY} is needed"
        case "device":
            return "" if _DEVICE.fullmatch(value) else "auto, cpu, cuda, cuda:N or mps is needed"
        case "endpoint_open_http":
            return "" if value in ("yes", "no") else "yes or no is needed"
        case "cooldown":
            return "" if value == "auto" or _is_seconds(value) else "seconds, or auto, are needed"
        case "awake" | "lockdown":
            return "" if value in ("auto", "no") else "auto or no is needed"
        case "read_group":
            return "" if _GROUP.fullmatch(value) else "the name of a group is needed"
        case "log_level":
            return "" if value in ("debug", "info", "warning", "error") else "debug, info, warning or error is needed"
        case "sinks":
            words = words_of(sink_kinds)
            good = all(part.partition(":")[0] in words for part in value.split(","))
            return "" if good else f"a comma-separated list of {', '.join(words)} is needed"
    if key.endswith(_KEY_FILE):
        return "" if not value or value.startswith("/") else "an absolute path is needed"
    return ""


def _is_seconds(text: str) -> bool:
    try:
        return 0 <= float(text) <= 86_400
    except ValueError:
        return False


def check_model(name: str) -> None:
    """Raises ``Misconfigured`` (exit code 2) for a malformed endpoint.

    Names are stored and shown: this comes before either, because a key may hide in a URL.
    """
    if name.startswith(endpoint_url.PREFIX):
        endpoint_url.parse(name)
