"""What ``status`` costs: the modules that it loads, and its time against a bare interpreter's."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.ctl.ctlkit import Home


def test_status_imports_the_standard_library_alone(home: Home) -> None:
    """``sys.modules`` after ``status`` holds nothing of ours but the client, and nothing that is not Python's own."""
    home.daemon()
    script = (
        "import sys; before = set(sys.modules); from ingestctl.main import main; code = main(['status']);"
        "print(*sorted(set(sys.modules) - before), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=home.env(), timeout=60, text=True)
    assert done.returncode == 0, done
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded - set(sys.stdlib_module_names) == {"ingestctl"}
    # Each of these costs milliseconds, and the status needs none of them.
    assert loaded.isdisjoint(
        {"typing", "pathlib", "inspect", "dataclasses", "subprocess", "tempfile", "shutil", "hashlib"}
    )


def test_status_takes_three_bare_interpreters_at_most(home: Home) -> None:
    """Wall time of ``ingestctl status`` ÷ ``python -c pass`` ≤ 3, both with compiled bytecode, runs alternating."""
    home.daemon()
    env = home.env(PYTHONPYCACHEPREFIX=str(home.folder / "pycache"))

    def wall(command: list[str]) -> float:
        begun = time.perf_counter()
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, cwd=home.cwd)
        return time.perf_counter() - begun

    # As the installed console script begins; ``-m`` alone would add Python's runpy.
    script = "import re, sys; from ingestctl.main import main; sys.exit(main(['status']))"
    bare, status = [sys.executable, "-c", "pass"], [sys.executable, "-c", script]
    wall(status)
    pairs: list[tuple[float, float]] = []
    ratio = 99.0
    # The fastest of each: what else the machine does only ever adds, and on a busy one a quiet moment must be found.
    while len(pairs) < 15 or (ratio > 3 and len(pairs) < 150):
        pairs.append((wall(bare), wall(status)))
        ratio = min(pair[1] for pair in pairs) / min(pair[0] for pair in pairs)
    print(f"status ÷ bare interpreter: {ratio:.2f}, medians {statistics.median(p[1] for p in pairs) * 1000:.0f} ms")
    assert ratio <= 3
