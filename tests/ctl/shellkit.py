"""Real shells on terminals of their own: what the completion makes of a line when a key is pressed."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

SECONDS = 60.0
"""For a key to be answered: two busy cores, and a client that is started."""

TAB, ALL, SHOW = b"\t", b"\x1bq", b"\x1bs"
"""Complete; insert every completion; write the line into the file ``$LINE``."""

BASH_RC = r"""
PS1='' PS2=''
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind 'set completion-query-items 0'
bind '"\eq": insert-completions'
bind -x '"\es": printf "%s\n" "$READLINE_LINE" > "$LINE.new"; mv "$LINE.new" "$LINE"'
bind '"\C-k": kill-whole-line'
source "$SCRIPT"
printf '\n' > "$LINE.new"; mv "$LINE.new" "$LINE"
"""

ZSH_RC = r"""
PS1='' RPS1='' PROMPT_EOL_MARK=''
unsetopt beep
autoload -Uz compinit
compinit -u -D
bindkey -e
all() { zle all-matches; zle -R }
zle -C all-matches complete-word _generic
zstyle ':completion:all-matches::::' completer _all_matches _complete
zstyle ':completion:all-matches:*' insert true
bindkey '\eq' all-matches
show() { print -r -- "$BUFFER" > "$LINE.new"; mv "$LINE.new" "$LINE" }
zle -N show
bindkey '\es' show
bindkey '^K' kill-whole-line
source "$SCRIPT"
print > "$LINE.new"; mv "$LINE.new" "$LINE"
"""


class Shell:
    """An interactive shell that has read ``script``. ``folder`` takes its files; it stands in ``cwd``."""

    def __init__(self, name: str, script: Path, folder: Path, cwd: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self._line = folder / "line"
        rc = folder / ".zshrc" if name == "zsh" else folder / "rc"
        rc.write_text(ZSH_RC if name == "zsh" else BASH_RC)
        # Neither reads a file of the machine's, which may print or bind keys.
        command = ["zsh", "-d", "-i"] if name == "zsh" else ["bash", "--noprofile", "--norc", "-i"]
        own = {
            "LINE": str(self._line),
            "SCRIPT": str(script),
            "ZDOTDIR": str(folder),
            "TERM": "vt100",
            "COLUMNS": "200",
        }
        program = shutil.which(command[0])
        assert program is not None
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(cwd)
            os.execve(program, command, {**env, **own})
        self._seen = b""
        if name == "bash":  # with a file of ours as its option it reads the machine's too
            self._send(b"source " + os.fsencode(shlex.quote(str(rc))) + b"\n")
        self._wait()

    def press(self, line: str, key: bytes = TAB) -> str:
        """The whole line after ``key`` was pressed at its end."""
        self._send(b"\x0b" + line.encode() + key + SHOW)
        return self._wait()

    def offered(self, line: str) -> set[str]:
        """Every completion of the last word of ``line``, as the shell would hand it to a program."""
        before = len(shlex.split(line + "x")) - 1
        return set(shlex.split(self.press(line, ALL))[before:]) - {shlex.split(line + "x")[-1][:-1]}

    def end(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)

    def _send(self, data: bytes) -> None:
        self._line.unlink(missing_ok=True)
        os.write(self._terminal, data)

    def _wait(self) -> str:
        deadline = time.monotonic() + SECONDS
        while not self._line.exists():
            assert time.monotonic() < deadline, f"{self.name} did not answer: {self._seen!r}"
            # What it draws must be taken, or it stops drawing.
            if select.select([self._terminal], [], [], 0.01)[0]:
                self._seen = (self._seen + os.read(self._terminal, 1 << 16))[-4000:]
        return self._line.read_text().rstrip("\n")


class Fish:
    """fish tells its completions itself: it needs no terminal."""

    name = "fish"

    def __init__(self, script: Path, folder: Path, cwd: Path, env: Mapping[str, str]) -> None:
        self._script, self._cwd = script, cwd
        self._env = {**env, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}

    def told(self, *lines: str) -> list[dict[str, str]]:
        """For each line its completions with their descriptions."""
        code = "source $argv[1]; for line in $argv[2..-1]; complete -C $line; echo '--- end'; end"
        done = subprocess.run(
            ["fish", "--no-config", "-c", code, str(self._script), *lines],
            capture_output=True, text=True, cwd=self._cwd, env=self._env, timeout=SECONDS, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        parts = done.stdout.split("--- end\n")[:-1]
        return [dict((line.partition("\t")[::2]) for line in part.splitlines()) for part in parts]

    def offered(self, line: str) -> set[str]:
        return set(self.told(line)[0])

    def end(self) -> None:
        """Nothing runs between two questions."""
