"""``ingestctl`` as another user: ``python tests/daemon/readers.py UID GID GROUPS``, commands as JSON on stdin.

Stdin holds two lists. The commands of the first are run before, as root: the interpreter's own files may lie where the
other user cannot read them, and what is loaded by then need not be. For each command of the second a JSON line is
printed: ``[exit code, stdout, stderr]``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys

from ingestctl.main import main


def run(command: list[str]) -> tuple[int, str, str]:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(command)
    texts = []
    for stream in (out, err):
        stream.seek(0)
        texts.append(stream.read())
    return code, texts[0], texts[1]


def begin() -> None:
    uid, gid = int(sys.argv[1]), int(sys.argv[2])
    warm, commands = json.load(sys.stdin)
    for command in warm:
        run(command)
    os.setgroups([int(group) for group in sys.argv[3].split(",") if group])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    for command in commands:
        print(json.dumps(run(command)), flush=True)


if __name__ == "__main__":
    begin()
