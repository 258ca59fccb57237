"""Kinds of steps and sinks that other packages bring: which are there, and which are not used and why."""

from __future__ import annotations

from typing import Final

from ingestd.doctor.context import Context
from ingestd.protocol.doctor import Finding

WHAT: Final = "packages"


async def kinds(context: Context) -> list[Finding]:
    """A finding for each package with kinds of its own, as the daemon wrote them down, and for each one refused."""
    found = context.kinds
    findings = []
    for package, version in found.packages.items():
        brought = [f"the step {kind.name}" for kind in found.steps if kind.package == package]
        brought += [f"the sink {kind.asked}" for kind in found.sinks if kind.package == package]
        if brought:
            findings.append(Finding("ok", WHAT, f"{package} {version} brings {', '.join(brought)}"))
    for refused in found.refused:
        text = f"{refused.name} of {refused.package} is not used: {refused.why}"
        remedy = f"Install a {refused.package} that fits this ingestd, or remove it"
        findings.append(Finding("warn", WHAT, text, remedy))
    return findings or [Finding("ok", WHAT, "no other package brings steps or sinks")]
