"""What a job is asked to be: its steps and how they are run. Pure: checked, compared and read from what was stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ingestd.config import check_model, problem_of
from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.kinds.steps import API, COSTS, META, NONE, ON, SHIPPED, Setting, StepAsk, StepKind, flag_of

Kinds = Mapping[str, StepKind]
"""Every kind of step that is known, by its name."""

MAX_STEPS: Final = 60
"""Steps of a job: each has a bit in a mask of 62, and ``meta`` has one."""

OLD_SETTINGS: Final = ("prompt", "max_tokens", "temperature", "seed", "exact")
"""Settings that a request, a file or a row may hold beside ``describe``, ``embed`` and ``embed_text``, instead of
``steps``: in the form that releases before the ledger's version 3 wrote, and that the command line still sends."""

OLD_MODELS: Final = ("embed", "describe", "embed_text")
"""Kinds that stand there under their own names, with a model."""


class JobSpec(msgspec.Struct, frozen=True):
    """What was asked for, as typed. ``steps`` and ``passes`` decide what is made and never change for a job; the rest
    may. ``meta`` is part of every job and not among ``steps``.

    None where nothing was asked for: the model's own default holds. ``device`` and ``concurrency`` say what models may
    use, ``passes`` None means as ``recipe`` decides.
    """

    steps: tuple[StepAsk, ...]
    batch_size: int = 100
    cooldown: str = "auto"
    workers: int = 1
    limit: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    list_file: str | None = None
    list_sha256: str | None = None
    passes: int | None = None
    device: str = "auto"
    concurrency: int = 4

    @property
    def cooldown_s(self) -> float:
        """Seconds between batches; ``auto`` waits only when a governor asks for it, so not at all by itself."""
        return 0.0 if self.cooldown == "auto" else float(self.cooldown)

    def ask(self, name: str) -> StepAsk | None:
        """The step of this name, or None."""
        return next((ask for ask in self.steps if ask.name == name), None)

    def model_of(self, name: str) -> str:
        """The model of the step of this name as it was typed; ``none`` without such a step."""
        found = self.ask(name)
        return found.model if found else NONE

    def setting(self, name: str) -> object:
        """The value that the steps have of a setting, or None: in one job it is the same for all that have it."""
        return next((ask.settings[name] for ask in self.steps if name in ask.settings), None)

    def makes_vectors(self, kinds: Kinds = SHIPPED) -> bool:
        """Whether queries can be held against what it makes."""
        return any(ask.kind in kinds and kinds[ask.kind].vector for ask in self.steps)


def asks(given: Mapping[str, object], more: Iterable[StepAsk] = (), kinds: Kinds = SHIPPED) -> tuple[StepAsk, ...]:
    """The steps of a request in its flat form: kinds by name with their models, settings by name; None means the
    default. ``more`` are steps asked for one by one, which replace those of the same name.

    Raises ``Misconfigured`` for a setting that no step of the request takes.
    """
    wanted: dict[str, StepAsk] = {}
    for kind in kinds.values():
        model = given.get(kind.name)
        model = kind.default if model is None else str(model)
        if kind.name != META.name and model != NONE:
            wanted[kind.name] = StepAsk(kind.name, kind.name, model, (), _settings(kind, given))
    for ask in more:
        wanted[ask.name] = with_model(ask, given, kinds)
        if wanted[ask.name].model == NONE:
            del wanted[ask.name]
    unused = [
        name for name in _setting_names(kinds.values())
        if given.get(name) is not None and all(name not in ask.settings for ask in wanted.values())
    ]  # fmt: skip
    unused = [name for name in unused if given[name] is not False and name != "exact"]
    if unused:
        raise bad_flag(unused[0], given[unused[0]], "without the step that takes it there is nothing that it is for")
    return tuple(wanted.values())


def with_model(ask: StepAsk, given: Mapping[str, object], kinds: Kinds = SHIPPED) -> StepAsk:
    """An ask in which no model was named gets the one that ``given`` has for its kind; what can only be on is on.

    Raises ``Misconfigured`` when there is none: a setting was given for a step that nobody asked for.
    """
    if ask.model:
        return ask
    kind = kind_of(ask, kinds)
    model = ON if kind.takes == "switch" else str(given.get(kind.name) or kind.default)
    if model == NONE:
        raise bad_step("no model was named for it", f"the step {ask.name}", f"Give {kind.flag} {kind.metavar} as well")
    return msgspec.structs.replace(ask, model=model)


def _settings(kind: StepKind, given: Mapping[str, object]) -> dict[str, Any]:
    return {
        setting.name: value
        for setting in kind.settings
        if (value := given.get(setting.name)) is not None and value is not False
    }


def _setting_names(kinds: Iterable[StepKind]) -> list[str]:
    return list(dict.fromkeys(setting.name for kind in kinds for setting in kind.settings))


def flat(spec: JobSpec, kinds: Kinds = SHIPPED) -> dict[str, object]:
    """The reverse of ``asks`` for the steps that have the name of their kind: models and settings by name."""
    found: dict[str, object] = {name: spec.model_of(name) for name in kinds if name != META.name}
    return found | {name: spec.setting(name) for name in _setting_names(kinds.values())}


# ------------------------------------------------------------------------------------------------------------ checking


def check_spec(spec: JobSpec, kinds: Kinds = SHIPPED) -> None:
    """Raises ``Misconfigured`` (exit code 2) for a setting out of its range, a step that no kind declares or takes, and
    for a step whose needs are not part of the job."""
    for ask in spec.steps:
        check_ask(ask, kinds)
    for key in ("batch_size", "workers", "cooldown", "device", "concurrency"):
        if problem := problem_of(key, str(getattr(spec, key))):
            raise bad_flag(key, getattr(spec, key), problem)
    for key, low, high in (("limit", 1, 2**53), ("passes", 1, len(COSTS))):
        value = getattr(spec, key)
        if value is not None and not low <= value <= high:
            raise bad_flag(key, value, f"a number from {low} to {high} is needed")
    names = [ask.name for ask in spec.steps]
    if len(set(names)) < len(names) or len(names) > MAX_STEPS or META.name in names:
        raise bad_step("they need names of their own, and there may be 60", "the steps", "Give each one a name")
    needs = {ask.name: needs_of(ask, spec.steps, kinds) for ask in spec.steps}
    while free := [name for name, needed in needs.items() if not needs.keys() & set(needed)]:
        for name in free:
            del needs[name]
    if needs:
        raise bad_step("they read each other's results", f"the steps {', '.join(needs)}", "Let one of them need less")
    same = {(ask.kind, ask.model, ask.needs, str(ask.settings)) for ask in spec.steps}
    if len(same) < len(names):
        raise bad_step("two of them are the same", "the steps", "Leave one of them out")


def check_ask(ask: StepAsk, kinds: Kinds = SHIPPED) -> None:
    """Raises ``Misconfigured`` for an ask that its kind's declaration does not allow."""
    kind = kind_of(ask, kinds)
    what = f"the step {ask.name}"
    if kind.api != API:
        raise bad_step(
            f"the package {kind.package} was written for version {kind.api} of ingestd's steps, this is {API}", what,
            f"Install the {kind.package} that fits this ingestd",
        )  # fmt: skip
    if kind.scope == "job":
        raise bad_step("this release runs no steps over whole jobs", what, "Leave it out")
    if not ask.name.isidentifier() or len(ask.name) > 60:
        raise bad_step("a step's name is letters, digits and underscores, 60 at most", what, "Give it another name")
    if kind.takes == "switch" and ask.model != ON:
        raise bad_step(f"it takes no model, it is {ON} or {NONE}", what, f"Write {kind.flag} {ON}")
    check_model(ask.model)
    known_settings = {setting.name: setting for setting in kind.settings}
    for name, value in ask.settings.items():
        if name not in known_settings:
            raise bad_flag(name, value, f"the step {ask.name} takes no such setting")
        _check_setting(known_settings[name], value)


def kind_of(ask: StepAsk, kinds: Kinds) -> StepKind:
    """The declaration of a step's kind. Raises ``Misconfigured`` when there is none, or none any more."""
    try:
        return kinds[ask.kind]
    except KeyError:
        raise bad_step(
            f"there is no kind of step {ask.kind!r}", f"the step {ask.name}",
            f"Install the package that has it; ingestctl doctor names what is there. The kinds are {', '.join(kinds)}",
        ) from None  # fmt: skip


def _check_setting(setting: Setting, value: object) -> None:
    low, high = setting.low, setting.high
    match setting.type:
        case "switch":
            if not isinstance(value, bool):
                raise bad_flag(setting.name, value, "yes or no is needed")
        case "text":
            length = len(value.strip()) if isinstance(value, str) else -1
            if not (low or 0) <= length <= (high or 2**31):
                raise bad_flag(
                    setting.name, "empty or too long", f"give {low or 0:.0f} to {high or 2**31:.0f} characters"
                )
        case "int" | "float":
            whole = isinstance(value, int) and not isinstance(value, bool)
            good = whole or (setting.type == "float" and isinstance(value, float))
            if not good or not (-(2**63) if low is None else low) <= value <= (2**63 if high is None else high):  # type: ignore[operator]
                bounds = f" from {_number(low)} to {_number(high)}" if low is not None and high is not None else ""
                raise bad_flag(setting.name, value, f"a number{bounds} is needed")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def needs_of(ask: StepAsk, steps: Sequence[StepAsk], kinds: Kinds = SHIPPED) -> tuple[str, ...]:
    """The names of the steps whose results this one reads. Raises ``Misconfigured`` where one is missing."""
    if ask.needs:
        missing = [name for name in ask.needs if all(other.name != name for other in steps)]
        if missing or ask.name in ask.needs:
            raise bad_step(
                f"it needs the step {(missing or [ask.name])[0]}", f"the step {ask.name}", "Ask for that as well"
            )
        return ask.needs
    found = []
    for kind in kind_of(ask, kinds).needs:
        other = next((other.name for other in steps if other.kind == kind and other is not ask), None)
        if other is None:
            problem = f"without the step {kind} there is nothing that it is for; ask for {flag_of(kind)} as well"
            raise bad_flag(ask.name, ask.model, problem)
        found.append(other)
    return tuple(found)


def bad_flag(key: str, value: object, problem: str) -> Misconfigured:
    """A flag's value that cannot be."""
    flag = flag_of(key)
    return Misconfigured(
        f"{flag} is {value}: {problem}", operation="start", object="the job", remedy=f"Change {flag}", exit=EXIT_USAGE
    )


def bad_step(message: str, what: str, remedy: str) -> Misconfigured:
    """A step that cannot be."""
    return Misconfigured(message, operation="ask for", object=what, remedy=remedy, exit=EXIT_USAGE)


# ------------------------------------------------------------------------------------------------------------- reading


def decode_spec(data: bytes | str) -> JobSpec:
    """A stored request. One of an earlier release has models and settings by name instead of ``steps``.

    Raises ``msgspec.ValidationError`` for what is neither, ``msgspec.DecodeError`` for what is no JSON.
    """
    found = msgspec.json.decode(data, type=dict[str, Any])
    if "steps" not in found:
        defaults = {"describe": "builtin", "embed": "builtin", "embed_text": NONE}
        given = defaults | {name: found.pop(name) for name in (*OLD_MODELS, *OLD_SETTINGS) if name in found}
        found["steps"] = msgspec.to_builtins(asks(given))
    return msgspec.convert(found, JobSpec)
