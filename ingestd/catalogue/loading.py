"""Declarations of other packages: found by their entry points, loaded, and checked before anybody goes by them.

Whatever one package does wrong costs that package its kinds, and nothing else: it is named with the reason.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import msgspec

from ingestd.kinds.catalogue import STEPS, Catalogue, RefusedKind, package_places
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
    refused: list[RefusedKind] = []
    taken = {setting.name for kind in SHIPPED.values() for setting in kind.settings} - {EXACT.name}
    for point in sorted(entry_points(group=STEPS), key=lambda point: (point.name, point.value)):
        package, version = _distribution(point)
        packages[package] = version
        try:
            kind = _checked(_loaded(point, StepKind), {*SHIPPED, *(other.name for other in steps)}, taken)
        except _Unfit as error:
            refused.append(RefusedKind(package, point.name, str(error)))
        else:
            steps.append(msgspec.structs.replace(kind, package=package))
            taken |= {setting.name for setting in kind.settings} - {EXACT.name}
    return Catalogue(API, packages, package_places(), tuple(steps), tuple(refused))


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


def _checked(kind: StepKind, kinds: set[str], settings: set[str]) -> StepKind:
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
