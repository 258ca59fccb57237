"""Packages of other people, made and installed into a folder of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLUGIN = Path(__file__).parent / "plugin"


def build_plugin(folder: Path) -> Path:
    """The wheel of ``tests/plugin``."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(PLUGIN)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    [wheel] = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> None:
    """Install a wheel and nothing else into ``folder``, which is then to be on ``PYTHONPATH``."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done


def package(folder: Path, name: str, code: str, *points: tuple[str, str], version: str = "1.0") -> None:
    """An installed package of one module: ``code``, and entry points as (group, ``name = module:object``)."""
    module = name.replace("-", "_")
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(code)
    about = folder / f"{module}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = dict.fromkeys(group for group, _ in points)
    lines = [line for group in groups for line in (f"[{group}]", *(text for of, text in points if of == group))]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
