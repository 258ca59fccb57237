"""Verbs that change something: ``pause``, ``resume``, ``stop``, ``wait``, ``retry``, ``remove``, ``shutdown``.

Each returns when it has taken effect, says what is now true, and is no error when that was true before.
"""

from __future__ import annotations

import argparse
import os
import sys

from ingestctl import argument_values, locations, rpc
from ingestctl.terminal_text import clean, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _one_or_all(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.epilog = f"examples:\n  ingestctl {verb}\n  ingestctl {verb} photos\n  ingestctl {verb} --all\n"
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job's name or uuid (default: the one active job)")
    parser.add_argument("--all", action="store_true", help="every active job")


def pause_arguments(parser: argparse.ArgumentParser) -> None:
    _one_or_all(parser, "pause")


def resume_arguments(parser: argparse.ArgumentParser) -> None:
    _one_or_all(parser, "resume")


def stop_arguments(parser: argparse.ArgumentParser) -> None:
    _one_or_all(parser, "stop")


def pause(args: argparse.Namespace) -> int:
    return _change("pause", args)


def resume(args: argparse.Namespace) -> int:
    return _change("resume", args)


def stop(args: argparse.Namespace) -> int:
    return _change("stop", args)


def _change(verb: str, args: argparse.Namespace) -> int:
    from ingestctl.verbs.start import actor

    if args.job and args.all:
        raise rpc.usage(
            "they exclude each other", operation=verb, object="a JOB and --all", remedy=f"ingestctl {verb} --all"
        )
    reply = rpc.call(verb, {"job": args.job, "all": args.all, "actor": actor()}, timeout=None, patience=rpc.FINISHING)
    for job in reply["jobs"]:
        print(f"{clean(job['name'])}: {'' if job['changed'] else 'was already '}{job['status']}")
    if not reply["jobs"]:
        print(f"there is no job to {verb}", file=sys.stderr)
    return rpc.EXIT_OK


def wait_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "exit codes: 0 completed, 3 completed with failed files, 1 failed or stopped, 5 paused\n\n"
        "example:\n  ingestctl start ~/Pictures && ingestctl wait && ingestctl search sunset\n"
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job's name or uuid (default: the newest)")


class _Quiet:
    def clear(self) -> None:
        """Nothing is drawn."""


def wait(args: argparse.Namespace) -> int:
    from ingestctl.job_progress import exit_code, tell_unread, with_patience
    from ingestctl.render import result_text

    # Without a daemon at the start there is nothing to wait for; one that restarts meanwhile is waited for.
    rpc.Connection().close()
    try:
        job: dict[str, Any] = with_patience(
            lambda connection: connection.call("wait", {"job": args.job}, timeout=None), _Quiet()
        )["job"]
    except KeyboardInterrupt:
        print("the job goes on; see it with: ingestctl status", file=sys.stderr)
        return rpc.EXIT_INTERRUPTED
    print(result_text(job))
    tell_unread(job)
    return exit_code(job)


def retry_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A first word without a slash that is no file here is the JOB; write a file as ./file to be sure.\n"
        "Files without a JOB are tried again in every job in which they failed.\n\n"
        "examples:\n  ingestctl retry\n  ingestctl retry photos --kind model\n  ingestctl retry ./IMG_0001.JPG\n"
    )
    parser.add_argument(
        "words", nargs="*", metavar="[JOB] PATH", help="only these files (default: all that failed in the newest job)"
    )
    parser.add_argument("--kind", help="only failures of this kind, as 'ingestctl failed' names it")


def retry(args: argparse.Namespace) -> int:
    words = list(args.words)
    job = words.pop(0) if words and "/" not in words[0] and not os.path.isfile(words[0]) else None
    given = [argument_values.wire_path(path) for path in words]
    jobs = _where_failed(given) if given and job is None else [(job, given)]
    for chosen, files in jobs:
        retried, reply = 0, {}
        for paths in _portions(files):
            reply = rpc.call("retry", {"job": chosen, "kind": args.kind, "paths": paths}, timeout=None)
            retried += reply["retried"]
        result = f"{many(retried, 'failed file')} to be tried again, {reply['job']['status']}"
        print(f"{clean(reply['job']['name'])}: {result}")
    if not jobs:
        print("none of these files has failed: there is nothing to try again", file=sys.stderr)
    return rpc.EXIT_OK


def _where_failed(paths: list[Any]) -> list[tuple[str | None, list[Any]]]:
    """Jobs by uuid, stopped ones left out, each with those of ``paths`` that failed in it.

    Raises ``CommandError`` for a path that no job knows.
    """
    found: dict[str | None, list[Any]] = {}
    with rpc.Connection() as connection:
        known = connection.call("status", {})["jobs"]
        living = {job["name"]: job["uuid"] for job in known if job["status"] != "stopped"}
        for path in paths:
            for item in connection.call("show", {"path": path})["items"]:
                if item["state"] == "failed" and item["job"] in living:
                    found.setdefault(living[item["job"]], []).append(path)
    return list(found.items())


def _portions(paths: list[Any]) -> list[list[Any]]:
    """Paths in lists that each fit into one request, whatever ``xargs`` gave; one empty list for none."""
    portions: list[list[Any]] = [[]]
    room = rpc.MAX_LINE // 2
    for path in paths:
        # A byte is at most six characters of JSON.
        cost = 6 * len(path["b64"] if isinstance(path, dict) else path.encode()) + 16
        if cost > room and portions[-1]:
            portions.append([])
            room = rpc.MAX_LINE // 2
        portions[-1].append(path)
        room -= cost
    return portions


def remove_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  ingestctl stop photos && ingestctl remove photos\n"
    parser.add_argument("job", metavar="JOB", help="a job's name or uuid; it must not run")


def remove(args: argparse.Namespace) -> int:
    reply = rpc.call("remove", {"job": args.job}, timeout=None, patience="removing …")
    print(f"{clean(reply['name'])}: removed, {many(reply['freed_items'], 'item')} forgotten")
    for kept in reply["kept"]:
        print(f"  kept  {clean(kept)}")
    return rpc.EXIT_OK


def shutdown_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Running jobs go on by themselves when the daemon starts again (ingestctl start).\n"


def shutdown(args: argparse.Namespace) -> int:
    from ingestctl import daemon_process

    pid = daemon_process.end()
    if pid is None:
        # What was asked for is true already, and repeating a command is no error.
        print("no daemon is running", file=sys.stderr)
        return rpc.EXIT_OK
    print(f"the daemon (pid {pid}) has ended")
    _tell_the_way_back()
    return rpc.EXIT_OK


def _tell_the_way_back() -> None:
    """Its user may end a daemon that a service of the system keeps, and may not start it again."""
    from ingestctl.service.detect import start_command

    way = "" if locations.is_anothers() else start_command()
    if way.startswith("sudo "):
        print(f"it is a service of the system, which only root may start again: {way}", file=sys.stderr)
