"""``completion``: the script with which a shell completes this client's command line."""

from __future__ import annotations

import argparse

from ingestctl import rpc

_WORDS = """\
Installed by make install, it is there already (but for zsh when installed for one user). Else put it where the shell
looks:

  ingestctl completion bash > ~/.local/share/bash-completion/completions/ingestctl
  ingestctl completion zsh > ~/.zfunc/_ingestctl
  ingestctl completion fish > ~/.config/fish/completions/ingestctl.fish

zsh looks into ~/.zfunc when ~/.zshrc has fpath+=(~/.zfunc) before compinit. bash without the package bash-completion
takes it from ~/.bashrc:

  source <(ingestctl completion bash)
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _WORDS
    # The scripts themselves ask for jobs, flags and sinks when TAB is pressed; no person needs to.
    parser.add_argument(
        "shell",
        choices=("bash", "zsh", "fish", "jobs", "flags", "sinks"),
        metavar="bash|zsh|fish",
        help="for this shell",
    )
    parser.add_argument("about", nargs="?", default="", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    if args.shell == "jobs":
        from ingestctl.completion import job_names

        for name, status in job_names.names(args.about):
            print(f"{name}\t{status}")
        return rpc.EXIT_OK
    if args.shell in ("flags", "sinks"):
        from ingestctl.completion import catalogue

        for line in catalogue.flags(args.about) if args.shell == "flags" else catalogue.sinks():
            print(line)
        return rpc.EXIT_OK
    from importlib import import_module

    print(import_module(f"ingestctl.completion.{args.shell}").script(), end="")
    return rpc.EXIT_OK
