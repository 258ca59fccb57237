"""Which weights are read at all."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from ingestd.errors import Misconfigured
from ingestd.worker.models import builtin


class Bomb:
    """What runs a program when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.sign,)  # type: ignore[return-value]


def test_the_one_pickled_file_is_read_for_its_known_bytes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other file in its place is refused in words before a byte of it is unpickled."""
    weights, sign = tmp_path / "weights.pth", tmp_path / "sign"
    weights.write_bytes(pickle.dumps(Bomb(sign)))
    monkeypatch.setattr(builtin, "weights_file", lambda: weights)
    with pytest.raises(Misconfigured, match="not those of the package"):
        builtin._network()
    assert not sign.exists()
    pickle.loads(weights.read_bytes())
    assert sign.exists()
