"""Kinds of steps and sinks that other packages bring: which are there, and which are not used and why."""

from __future__ import annotations

from typing import Final

from ingestd.doctor.checking import blocking
from ingestd.doctor.context import Context
from ingestd.kinds import catalogue
from ingestd.protocol.doctor import Finding

WHAT: Final = "packages"


async def kinds(context: Context) -> list[Finding]:
    """A finding for each package with kinds of its own, as the daemon wrote them down, and for each one refused."""
    found = await blocking(lambda: catalogue.read(context.places.state))
    findings = []
    for package, version in found.packages.items():
        steps = [f"the step {kind.name}" for kind in found.steps if kind.package == package]
        if steps:
            findings.append(Finding("ok", WHAT, f"{package} {version} brings {', '.join(steps)}"))
    for refused in found.refused:
        text = f"{refused.name} of {refused.package} is not used: {refused.why}"
        remedy = f"Install a {refused.package} that fits this ingestd, or remove it"
        findings.append(Finding("warn", WHAT, text, remedy))
    return findings or [Finding("ok", WHAT, "no other package brings steps or sinks")]
