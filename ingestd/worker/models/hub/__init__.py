"""Models by name: found in the hub's cache on this machine, or fetched into it.

The rooms: ``names`` (what a model name means), ``store`` (the cache and our pins: no network), ``kinds`` (what a folder
is for), ``border`` (the hub's library and its errors), ``listing`` (what the hub has, and what of it is needed),
``transfer`` (one file, resumed and checked), ``progress``, ``fetch`` (which puts these together) and ``shelf`` (what
is here, and away with it).

What is whole in the cache is used without any network. A branch is resolved once, to a commit, and pinned. Links into
the snapshot are made when every blob is here and right, the weights last: nobody ever sees half a model.
"""

from __future__ import annotations

from ingestd.worker.models.hub.fetch import Hub, Located
from ingestd.worker.steps.base import Tell


def locate(model: str, tell: Tell) -> Located:
    """Have the model called ``model``: an absolute folder, a short name, or a hub id with a revision.

    What is in the hub's cache on this machine is used as it is; what is not is fetched into it, resumed after a cut,
    checked, with ``tell`` hearing how far it has got. ``revision`` is the commit that the name is pinned to. Raises
    ``Misconfigured`` for what only a person can change, and ``Unavailable`` for what may come right by itself.
    """
    return Hub.from_environment().locate(model, tell)


__all__ = ["Located", "locate"]
