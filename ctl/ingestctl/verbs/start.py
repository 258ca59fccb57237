"""``start``: make a job of sources, or find the job that they are and let it go on."""

from __future__ import annotations

import argparse
import sys

from ingestctl import argument_values, kinds, rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EXAMPLES = """\
examples:
  ingestctl start                               start the daemon, show the jobs
  ingestctl start ~/Pictures --follow           ingest a folder and look on; Ctrl-C leaves it running
  ingestctl start ~/Pictures --limit 100        a hundred first; the rest by starting again without it
  ingestctl start /a /b --name family --exclude thumbs/
  find /nas -name '*.jpg' -print0 | ingestctl start -0 - --name nas
  ingestctl start ~/Pictures --sink qdrant --sink jsonl:photos.jsonl

The same sources again find the same job: new and changed files are done, nothing is done twice.
"""

_OUTCOMES = {
    "created": "created",
    "resumed": "goes on",
    "rescanning": "looks for new and changed files",
    "running": "is at it already",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    count = argument_values.count
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="folders or files; - for a file list on stdin; none: just the daemon",
    )
    parser.add_argument(
        "-0", dest="nul", action="store_true", help="paths on stdin end with NUL, as find -print0 writes"
    )
    parser.add_argument("--name", type=argument_values.name, help="the job's name (default: from the sources)")
    for step in kinds.STEPS:
        _add_step(parser, step)
    for setting in [*(setting for step in kinds.STEPS for setting in step["settings"]), *kinds.SETTINGS]:
        _add_setting(parser, setting)
    parser.add_argument(
        "--passes", type=count, metavar="N", help="2: embed everything first, then describe; 1: each photo whole"
    )
    parser.add_argument("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument(
        "--concurrency", type=count, metavar="N", help="requests that an openai: endpoint gets at once (default: 4)"
    )
    parser.add_argument("--batch-size", type=count, metavar="N", help="items per worker process")
    parser.add_argument(
        "--cooldown", type=argument_values.cooldown, metavar="S", help="seconds between worker processes, or auto"
    )
    parser.add_argument("--workers", type=count, metavar="N", help="worker processes at a time")
    parser.add_argument(
        "--limit", type=count, metavar="N", help="only the first N files; a later start without it goes on"
    )
    parser.add_argument(
        "--include",
        action="append",
        metavar="GLOB",
        help="only files like this, as in a .gitignore, case counts; may be repeated",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        metavar="GLOB",
        help="no files or folders like this (a folder: NAME/); may be repeated",
    )
    parser.add_argument("--sink", action="append", metavar="SINK", help=_escaped(kinds.sink_help([])))
    parser.add_argument("--follow", action="store_true", help="show progress until the job rests, exit with its result")


def catalogue_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of steps that other packages declare, and name their sinks in the help.

    A flag that has a meaning here already is left out: nothing that is installed can take it away.
    """
    steps, sinks = kinds.catalogue()
    taken = parser._option_string_actions
    groups: dict[str, Any] = {}
    added = []
    for step in steps:
        if step["flag"] in taken:
            continue
        package = step["package"]
        group = groups.get(package) or groups.setdefault(package, parser.add_argument_group(f"from {package}"))
        _add_step(group, step, dest=step["flag"])
        settings = []
        for setting in step["settings"]:
            if setting["flag"] not in taken:
                _add_setting(group, setting, dest=setting["flag"])
                settings.append(setting)
        added.append({**step, "settings": settings})
    taken["--sink"].help = _escaped(kinds.sink_help(sinks))
    parser.set_defaults(added=tuple(added))


def _add_step(parser: Any, step: dict[str, Any], **more: Any) -> None:
    """The flag that asks for a step; it is None where it was not typed."""
    if step["takes"] == "switch":
        more |= {"action": "store_true", "default": None}
    elif step["takes"] == "choice":
        more |= {"choices": step["choices"], "metavar": step["metavar"]}
    else:
        more |= {"type": argument_values.model, "metavar": step["metavar"]}
    parser.add_argument(step["flag"], help=_escaped(step["help"]), **more)


def _add_setting(parser: Any, setting: dict[str, Any], **more: Any) -> None:
    """The flag of one setting; it is None where it was not typed."""
    if setting["type"] == "switch":
        more |= {"action": "store_true", "default": None}
    else:
        more["metavar"] = setting["metavar"]
    if setting["type"] in ("int", "float"):
        number = argument_values.whole if setting["type"] == "int" else argument_values.number
        more["type"] = number(setting.get("low"), setting.get("high"))
    parser.add_argument(setting["flag"], help=_escaped(setting["help"]), **more)


def _escaped(help: str) -> str:
    """Help as argparse takes it, which puts values in for what follows a percent sign."""
    return help.replace("%", "%%")


def run(args: argparse.Namespace) -> int:
    if not args.sources:
        return _only_the_daemon(args)
    params: dict[str, Any] = {
        key: value
        for key, value in vars(args).items()
        if key not in ("sources", "nul", "sink", "follow", "color", "added") and not key.startswith("-")
    }
    params["steps"] = _added_steps(args)
    params["actor"] = rpc.actor()
    params["sinks"] = None if args.sink is None else [argument_values.sink(sink) for sink in args.sink]
    params |= _sources(args)
    # A request that cannot be sent should not leave a daemon behind.
    rpc.request("start", params, 1)
    _have_daemon()
    # The daemon lets a child look at the sources first; a disk that must spin up takes its time.
    reply = rpc.call("start", params, timeout=None, patience="the daemon is looking at the sources …")
    _tell(reply)
    job = reply["job"]
    if args.follow:
        from ingestctl.job_progress import follow

        return follow(job["uuid"], job)
    print("look on with: ingestctl status --watch", file=sys.stderr)
    return rpc.EXIT_OK


def _added_steps(args: argparse.Namespace) -> list[dict[str, Any]]:
    """What was typed about steps that do not ship, one entry per step.

    ``model`` is the model or the choice, and an empty text for a switch; it is left out where settings alone were
    typed.
    """
    given = vars(args)
    asked = []
    for step in given.get("added", ()):
        typed = given[step["flag"]]
        settings = {one["name"]: given[one["flag"]] for one in step["settings"] if given[one["flag"]] is not None}
        if typed is not None or settings:
            model = {} if typed is None else {"model": "" if typed is True else typed}
            asked.append({"name": step["name"], **model, "settings": settings})
    return asked


def _sources(args: argparse.Namespace) -> dict[str, Any]:
    if "-" not in args.sources:
        if args.nul:
            raise rpc.usage(
                "-0 is about a file list on stdin",
                operation="start",
                object="these sources",
                remedy="find DIR -print0 | ingestctl start -0 -",
            )
        return {"sources": [argument_values.wire_path(source) for source in args.sources]}
    if len(args.sources) > 1:
        raise rpc.usage(
            "a file list on stdin is a job of its own",
            operation="start",
            object="- together with other sources",
            remedy="start them one after the other, or write a folder called - as ./-",
        )
    from ingestctl.filelist import keep_list
    from ingestctl.terminal_text import many

    if sys.stdin.isatty():
        print("reading paths from the terminal, one a line; Ctrl-D ends", file=sys.stderr)
    place, digest, total = keep_list(sys.stdin.buffer, nul=args.nul)
    print(f"read {many(total, 'path')} from stdin", file=sys.stderr)
    return {"list_file": place, "list_sha256": digest}


def _have_daemon() -> bool:
    from ingestctl.daemon_process import ensure

    started = ensure()
    if started:
        print(started, file=sys.stderr)
    return bool(started)


def _only_the_daemon(args: argparse.Namespace) -> int:
    typed = {key: value for key, value in vars(args).items() if key not in ("sources", "color", "added")}
    given = [key for key, value in typed.items() if value not in (None, False)]
    if given:
        raise rpc.usage(
            "there is no source",
            operation="start",
            object=f"a job with --{given[0].lstrip('-').replace('_', '-')}",
            remedy="ingestctl start FOLDER",
        )
    from ingestctl.render import print_status

    if not _have_daemon():
        print("the daemon is running already", file=sys.stderr)
    print_status(rpc.call("status", {}), args.color)
    return rpc.EXIT_OK


def _tell(reply: dict[str, Any]) -> None:
    from ingestctl.render import sink_name
    from ingestctl.terminal_text import clean

    job = reply["job"]
    print(f"{clean(job['name'])}: {_OUTCOMES.get(reply['outcome'], clean(reply['outcome']))}")
    for source in job["sources"]:
        print(f"  source  {clean(source)}")
    for sink in job["sinks"]:
        print(f"  {sink_name(sink):<7} {clean(sink['place'])}")
    sys.stdout.flush()
    for note in reply["notes"]:
        print(f"Note: {clean(note)}", file=sys.stderr)
