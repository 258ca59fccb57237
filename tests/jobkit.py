"""Jobs as tests ask for them."""

from __future__ import annotations

from typing import Any

from ingestd.policy.job_spec import OLD_MODELS, OLD_SETTINGS, JobSpec, asks


def job_spec(**given: Any) -> JobSpec:
    """A request by the names of the command line: ``describe="none", prompt="…", batch_size=3``."""
    flat = {name: given.pop(name) for name in (*OLD_MODELS, *OLD_SETTINGS) if name in given}
    return JobSpec(asks(flat), **given)
