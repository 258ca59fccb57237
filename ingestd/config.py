"""Settings: what a job is asked to be, and the daemon's own. Pure: environment and file text are passed in.

A value comes from the first of: the flag, the environment (``INGESTD_*``), ``config.toml``, the default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from ingestd.errors import EXIT_USAGE, Misconfigured

SINK_KINDS: Final = ("qdrant", "jsonl")


class SinkSpec(msgspec.Struct, frozen=True):
    """One sink of a job. ``place`` is set only where the user named one; else it lies under the state folder."""

    name: str
    kind: str
    place: str | None = None


class JobSpec(msgspec.Struct, frozen=True):
    """What was asked for, as typed. Steps (``describe``, ``embed``) never change for a job; the rest may."""

    describe: str = "builtin"
    embed: str = "builtin"
    batch_size: int = 100
    cooldown: str = "auto"
    workers: int = 1
    limit: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    list_file: str | None = None
    list_sha256: str | None = None
    embed_text: str = "none"
    prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    exact: bool = False
    passes: int | None = None
    device: str = "auto"
    concurrency: int = 4

    @property
    def cooldown_s(self) -> float:
        """Seconds between batches; ``auto`` waits only when a governor asks for it, so not at all by itself."""
        return 0.0 if self.cooldown == "auto" else float(self.cooldown)


DEFAULTS: Final[Mapping[str, str]] = {
    "describe": "builtin",
    "embed": "builtin",
    "batch_size": "100",
    "cooldown": "auto",
    "workers": "1",
    "sinks": "qdrant,jsonl",
    "log_level": "info",
}
MAX_WORKERS: Final = 64


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


def load(environ: Mapping[str, str], file_text: str | None, file_name: str) -> Settings:
    """Merge defaults, file and environment. Raises ``Misconfigured`` naming the key, its place and what it may be."""
    values = {key: Setting(value, "default") for key, value in DEFAULTS.items()}
    if file_text is not None:
        try:
            table = tomllib.loads(file_text)
        except tomllib.TOMLDecodeError as error:
            raise _wrong(str(error), file_name, "Mend the file, or move it away") from error
        for key, value in table.items():
            if key not in DEFAULTS:
                raise _wrong(f"it has no key '{key}'", file_name, f"The keys are {', '.join(DEFAULTS)}")
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            values[key] = Setting(text, file_name)
    for key in DEFAULTS:
        name = f"INGESTD_{key.upper()}"
        if name in environ:
            values[key] = Setting(environ[name], name)
    for key, setting in values.items():
        if problem := _problem(key, setting.value):
            raise _wrong(f"{key} is {setting.value!r}: {problem}", setting.source, "Change it there")
    return Settings(values)


def _wrong(message: str, place: str, remedy: str) -> Misconfigured:
    return Misconfigured(
        message, operation="read", object=f"the configuration in {place}", remedy=remedy, exit=EXIT_USAGE
    )


def _problem(key: str, value: str) -> str:
    match key:
        case "batch_size":
            return "" if value.isdecimal() and 1 <= int(value) <= 1_000_000 else "a whole number from 1 is needed"
        case "workers":
            good = value.isdecimal() and 1 <= int(value) <= MAX_WORKERS
            return "" if good else f"a whole number from 1 to {MAX_WORKERS} is needed"
        case "cooldown":
            return "" if value == "auto" or _is_seconds(value) else "seconds, or auto, are needed"
        case "log_level":
            return "" if value in ("debug", "info", "warning", "error") else "debug, info, warning or error is needed"
        case "sinks":
            kinds = [part.partition(":")[0] for part in value.split(",")]
            good = all(kind in SINK_KINDS for kind in kinds)
            return "" if good else f"a comma-separated list of {', '.join(SINK_KINDS)} is needed"
    return ""


def _is_seconds(text: str) -> bool:
    try:
        return 0 <= float(text) <= 86_400
    except ValueError:
        return False


def parse_sinks(texts: list[str]) -> list[SinkSpec]:
    """``qdrant``, ``jsonl``, ``jsonl:/absolute/file`` → specs with distinct names. Raises ``Misconfigured``."""
    specs: list[SinkSpec] = []
    for text in texts:
        kind, _, place = text.partition(":")
        remedy = "Use --sink qdrant, --sink jsonl or --sink jsonl:/absolute/file; repeat --sink for several"
        if kind not in SINK_KINDS:
            raise Misconfigured(
                f"there is no sink of the kind '{kind}'", operation="use", object=f"the sink {text}", remedy=remedy,
                exit=EXIT_USAGE,
            )  # fmt: skip
        if place and not place.startswith("/"):
            raise Misconfigured(
                "its place is not absolute", operation="use", object=f"the sink {text}", remedy=remedy, exit=EXIT_USAGE
            )
        name = text if place else kind
        if all(spec.name != name for spec in specs):
            specs.append(SinkSpec(name, kind, place or None))
    return specs


def check_spec(spec: JobSpec) -> None:
    """Raises ``Misconfigured`` (exit code 2) for a setting out of its range."""
    checks = {"batch_size": str(spec.batch_size), "workers": str(spec.workers), "cooldown": spec.cooldown}
    for key, value in checks.items():
        if problem := _problem(key, value):
            flag = "--" + key.replace("_", "-")
            raise Misconfigured(
                f"{flag} is {value}: {problem}", operation="start", object="the job", remedy=f"Change {flag}",
                exit=EXIT_USAGE,
            )  # fmt: skip
    if spec.limit is not None and spec.limit < 1:
        raise Misconfigured(
            f"--limit is {spec.limit}",
            operation="start",
            object="the job",
            remedy="Give a number from 1",
            exit=EXIT_USAGE,
        )
