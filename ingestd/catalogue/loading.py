"""Declarations of other packages: found by their entry points, loaded, and checked before anybody goes by them.

Whatever one package does wrong costs that package its kinds, and nothing else: it is named with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import msgspec

from ingestd.kinds.catalogue import SINKS, STEPS, Catalogue, RefusedKind, package_places
from ingestd.kinds.sinks import SHIPPED as SHIPPED_SINKS, SinkKind, problem_of
from ingestd.kinds.steps import API, EXACT, SHIPPED, StepKind
from ingestd.protocol.control import Start

RESERVED: Final = frozenset((*Start.__struct_fields__, "follow", "sink", "color", "help", "source", "sources", "nul"))
"""Names that mean something else where a job is asked for: no kind and no setting is called so."""

MAX_NAME: Final = 60


class _Unfit(Exception):
    """A declaration that is not used, with the reason in a sentence."""


def make_catalogue() -> Catalogue:
    """What the installed packages declare."""
    packages: dict[str, str] = {}
    steps: list[StepKind] = []
    sinks: list[SinkKind] = []
    refused: list[RefusedKind] = []
    for group, wanted in ((STEPS, StepKind), (SINKS, SinkKind)):
        for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
            package, version = _distribution(point)
            packages[package] = version
            try:
                kind = msgspec.structs.replace(_loaded(point, wanted), package=package)
                if isinstance(kind, StepKind):
                    steps.append(_checked_step(kind, steps))
                else:
                    sinks.append(_checked_sink(kind, sinks))
            except _Unfit as error:
                refused.append(RefusedKind(package, point.name, str(error)))
    return Catalogue(API, packages, package_places(), tuple(steps), tuple(sinks), tuple(refused))


def _distribution(point: EntryPoint) -> tuple[str, str]:
    if point.dist is None:
        return "a package without a name", ""
    return point.dist.name, point.dist.version


def _loaded(point: EntryPoint, wanted: type[Any]) -> Any:
    try:
        found = point.load()
    except BaseException as error:  # a package's import may do anything, ``sys.exit`` among it
        raise _Unfit(f"{point.value} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, wanted):
        raise _Unfit(f"{point.value} is no {wanted.__name__}")
    try:  # a frozen struct takes any value when it is made in Python
        return msgspec.convert(msgspec.to_builtins(found), wanted)
    except (msgspec.ValidationError, TypeError) as error:
        raise _Unfit(f"{point.value} does not fit: {error}") from error


def _checked_sink(kind: SinkKind, others: Sequence[SinkKind]) -> SinkKind:
    if problem := problem_of(kind):
        raise _Unfit(problem)
    known = [*SHIPPED_SINKS.values(), *others]
    if any({kind.name, kind.asked} & {other.name, other.asked} for other in known):
        raise _Unfit(f"there is a sink {kind.asked} already")
    if kind.default:
        raise _Unfit("a job gets no sink of another package unasked")
    return kind


def _checked_step(kind: StepKind, others: Sequence[StepKind]) -> StepKind:
    kinds = {*SHIPPED, *(other.name for other in others)}
    known = [*SHIPPED.values(), *others]
    settings = {setting.name for other in known for setting in other.settings} - {EXACT.name}
    if kind.api != API:
        raise _Unfit(f"it was written for version {kind.api} of ingestd's declarations, this is {API}")
    for name in (kind.name, *(setting.name for setting in kind.settings)):
        if not name.isidentifier() or not name.isascii() or len(name) > MAX_NAME:
            raise _Unfit(f"{name!r} is no name: letters, digits and underscores, {MAX_NAME} at most")
        if name in RESERVED - {*SHIPPED, *settings, EXACT.name}:
            raise _Unfit(f"the name {name} means something else where a job is asked for")
    if kind.name in kinds:
        raise _Unfit(f"there is a kind {kind.name} already")
    if twice := sorted(settings & {setting.name for setting in kind.settings}):
        raise _Unfit(f"there is a setting {twice[0]} already")
    if not kind.module:
        raise _Unfit("it does not say which module has its code")
    if kind.scope == "item" and not kind.media:
        raise _Unfit("it does not say which media it takes")
    return kind
