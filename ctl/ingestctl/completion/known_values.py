"""Names that the daemon defines, repeated here because this client imports none of it; a test holds them equal."""

from __future__ import annotations

MODELS: dict[str, dict[str, tuple[str, ...]]] = {
    "describe": {"smolvlm": ("256m", "500m", "2.2b"), "smolvlm2": ("256m", "500m", "2.2b")},
    "embed": {
        "siglip2": ("base", "large", "so400m"),
        "siglip": ("base", "large", "so400m"),
        "clip": ("base", "large"),
    },
    "embed_text": {"minilm": ("l6",)},
}
"""Short names of a step's models: the name, and the sizes that may follow it after a colon."""

FAILURES = (
    "unreadable",
    "unsupported",
    "corrupt",
    "too_large",
    "empty",
    "changed",
    "model",
    "crash",
    "hang",
    "oom",
)
"""Kinds of failures: ``ingestd.errors.FailureKind``."""

DEVICES = ("auto", "cpu", "cuda", "mps")
"""What ``--device`` takes, a card's number apart."""

LEVELS = ("debug", "info", "warning", "err")
"""What ``-p`` takes, of those that this daemon writes; journalctl knows more."""

ACTIVE = ("queued", "running", "waiting", "paused")
OVER = ("completed", "failed", "stopped")

STATUSES: dict[str, tuple[str, ...]] = {
    "pause": ("queued", "running", "waiting"),
    "resume": ("paused", "waiting"),
    "stop": (*ACTIVE, "failed"),
    "remove": OVER,
    "retry": (*ACTIVE, "completed", "failed"),
}
"""Verb: the statuses of the jobs that it changes. The verbs that are not here take every job."""


def models(step: str) -> tuple[str, ...]:
    """Every short name of a step's models, with and without a size; ``""`` for all steps."""
    names = [known for kind, known in MODELS.items() if step in ("", kind)]
    return tuple(full for known in names for name, sizes in known.items() for full in (name, *_sized(name, sizes)))


def _sized(name: str, sizes: tuple[str, ...]) -> list[str]:
    return [f"{name}:{size}" for size in sizes]
