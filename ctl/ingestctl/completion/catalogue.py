"""What other packages add to a line of ``start``: flags and sinks of the catalogue, asked when TAB is pressed.

The scripts are made when a wheel is built, so that they have what ships alone.
"""

from __future__ import annotations

from ingestctl import kinds
from ingestctl.completion.command_line import Option, added_options

_COMPLETED = ("file", "folder", "model")
"""What a script completes by itself behind an added flag."""


def flags(shell: str) -> list[str]:
    """A line per flag: for zsh a spec of ``_arguments``, for the others fields with tabs between them.

    The fields are the flag, what follows it (``switch``: nothing; ``file``, ``folder``, ``model`` or ``word``), its
    help, and words that are offered.
    """
    if shell == "zsh":
        from ingestctl.completion.zsh import option_specs

        return [spec for option in added_options() for spec in option_specs("start", option)]
    return ["\t".join(_fields(option)) for option in added_options()]


def sinks() -> list[str]:
    """A line per scheme of a sink: the scheme, a tab, and what stands behind its colon: ``file``, ``url``, ``none``."""
    return [f"{scheme}\t{sink['place']}" for sink in kinds.catalogue()[1] for scheme in sink["schemes"]]


def _fields(option: Option) -> tuple[str, str, str, str]:
    value = option.value
    if value is None:
        return option.flags[0], "switch", option.help, ""
    what = next((what for what in _COMPLETED if what in value.what), "word")
    return option.flags[0], what, option.help, " ".join(value.words)
