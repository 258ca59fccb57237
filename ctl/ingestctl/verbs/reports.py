"""Verbs that only tell: ``summary``, ``failed``, ``show``, ``search``, ``config``."""

from __future__ import annotations

import argparse
import json
import sys
import time

from ingestctl import argument_values, locations, rpc
from ingestctl.terminal_text import ago, clean, clock, duration, many, number, percent, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PAGE = 500


def _job_and_json(parser: argparse.ArgumentParser, json_help: str = "the daemon's reply as one JSON document") -> None:
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job's name or uuid (default: the newest)")
    parser.add_argument("--json", action="store_true", help=json_help)


def summary_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "examples:\n  ingestctl summary\n  ingestctl summary photos --json | jq .phases\n"
    _job_and_json(parser)


def summary(args: argparse.Namespace) -> int:
    reply = rpc.call("summary", {"job": args.job})
    print(json.dumps(reply) if args.json else "\n".join(summary_lines(reply)))
    return rpc.EXIT_OK


def summary_lines(reply: dict[str, Any]) -> list[str]:
    """A job's balance: how much, how well, how fast, at what cost."""
    from ingestctl.render import result_text

    job, batches = reply["job"], reply["batches"]
    lines = [result_text(job)]

    def row(label: str, value: str) -> None:
        lines.append(f"  {label:<12}{value}")

    rate = reply["success_rate"]
    row("success", "nothing has been tried yet" if rate is None else f"{percent(100 * rate)} of what was tried")
    contents = many(reply["contents"], "distinct content")
    row("contents", f"{contents}, {many(reply['attempts'], 'attempt')}, {number(job['reused'])} reused without a model")
    if reply["failures"]:
        kinds = sorted(reply["failures"].items(), key=lambda pair: -pair[1])
        row("failures", ", ".join(f"{number(count)} {clean(kind)}" for kind, count in kinds))
    if reply["odd"]:
        words = {"cut": "cut by the token limit", "loop": "going in circles"}
        kinds = sorted(reply["odd"].items(), key=lambda pair: -pair[1])
        row(
            "odd",
            "descriptions " + ", ".join(f"{clean(words.get(kind, kind))} {number(count)}" for kind, count in kinds),
        )
    died = f" ({number(batches['died'])} died)" if batches["died"] else ""
    row("batches", f"{number(batches['count'])}{died}, {duration(batches['load_ms_mean'] / 1000)} to load, on average")
    row("memory", f"{size(batches['peak_bytes'])} in the largest worker")
    cores = f" ({batches['cpu_s'] / reply['active_s']:.1f} cores)" if reply["active_s"] > 0 else ""
    row("time", f"{duration(batches['cpu_s'])} of processor in {duration(reply['active_s'])} of work{cores}")
    if reply["phases"]:
        heads = ("mean", "median", "min", "max", "p99", "items")
        lines += ["", "  seconds per item" + "".join(f"{head:>10}" for head in heads)]
        for phase, times in reply["phases"].items():
            cells = [_seconds(times[f"{head}_ms"]) for head in heads[:-1]]
            lines.append(f"    {clean(phase):<14}" + "".join(f"{cell:>10}" for cell in [*cells, number(times["n"])]))
    return lines


def _seconds(milliseconds: float) -> str:
    seconds = milliseconds / 1000
    return f"{seconds:.4f}" if seconds < 1 else f"{seconds:.2f}"


def failed_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "One line a file: kind, path, message. What to do about each kind is said at the end, on stderr.\n\n"
        "examples:\n  ingestctl failed\n  ingestctl failed photos --kind corrupt\n"
        "  ingestctl failed --json | jq -r .path\n"
    )
    _job_and_json(parser, "one JSON document a line, one line a file, with all details")
    parser.add_argument(
        "--kind", help="only this kind: unreadable, unsupported, corrupt, too_large, empty, changed, model …"
    )


def failed(args: argparse.Namespace) -> int:
    after, told, job = 0, 0, args.job
    remedies: dict[str, str] = {}
    with rpc.Connection() as connection:
        while True:
            page = connection.call("failed", {"job": job, "kind": args.kind, "after": after, "limit": _PAGE})
            # Pages of one job, even when a newer one begins meanwhile.
            job, told = page["job"], told + len(page["rows"])
            for row in page["rows"]:
                if args.json:
                    print(json.dumps(row))
                else:
                    print(_failed_line(row))
                    remedies.setdefault(row["kind"], row["remedy"])
            if page["next"] is None:
                break
            after = page["next"]
    sys.stdout.flush()
    if not args.json:
        of_kind = f" of kind {args.kind}" if args.kind else ""
        print(f"{clean(job)}: {many(told, 'failed file')}{of_kind}", file=sys.stderr)
        for kind, remedy in remedies.items():
            if remedy:
                print(f"  {clean(kind)}: {clean(remedy)}", file=sys.stderr)
    return rpc.EXIT_OK


def _failed_line(row: dict[str, Any]) -> str:
    tries = "" if row["attempts"] == 1 else f" ({number(row['attempts'])} attempts)"
    return f"{clean(row['kind']):<12}{clean(row['path'])}  {clean(row['message'])}{tries}"


def show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n  ingestctl show IMG_0001.JPG\n  ingestctl show ~/Pictures/cat.jpg --json | jq .items[0].results\n"
    )
    parser.add_argument("path", metavar="PATH", help="a file, as it lies in a source")
    parser.add_argument("--job", help="only in this job (default: in every job that has it)")
    parser.add_argument("--json", action="store_true", help="the daemon's reply as one JSON document")


def show(args: argparse.Namespace) -> int:
    reply = rpc.call("show", {"path": argument_values.wire_path(args.path), "job": args.job})
    print(json.dumps(reply) if args.json else "\n\n".join("\n".join(_shown(item)) for item in reply["items"]))
    return rpc.EXIT_OK


def _shown(item: dict[str, Any]) -> list[str]:
    lines = [f"{clean(item['path'])}  {item['state']}, job {clean(item['job'])}"]

    def row(label: str, value: str) -> None:
        lines.append(f"  {clean(label):<12}{value}")

    facts = [size(item["size"])]
    if item["format"]:
        facts.append(clean(item["format"]))
    if item["width"] and item["height"]:
        facts.append(f"{item['width']} × {item['height']}")
    row("file", f"{', '.join(facts)}, changed {clock(item['mtime'])}, {many(item['attempts'], 'attempt')}")
    if item["sha256"]:
        row("sha256", item["sha256"])
    for kind, body in item["results"].items():
        pairs = body.items() if isinstance(body, dict) else [("", body)]
        for index, (key, value) in enumerate(pairs):
            text = _words(value)
            row("" if index else kind, f"{clean(str(key))}: {clean(text)}" if key else clean(text))
    now = time.time()
    for failure in item["failures"]:
        where = f"{clean(failure['kind'])} in {clean(failure['stage'])} for {clean(failure['step'])}"
        row("failed", f"{where}, {ago(now - failure['at'])}: {clean(failure['message'])}")
        if failure["remedy"]:
            row("", clean(failure["remedy"]))
    for index, copy in enumerate(item["copies"]):
        row("" if index else "copies", clean(copy))
    if item["copies_total"] > len(item["copies"]):
        row("", f"and {number(item['copies_total'] - len(item['copies']))} more")
    return lines


def _words(value: Any) -> str:
    """A value of a result for a person: tags as words with their scores, what else is no text as JSON."""
    if isinstance(value, str):
        return value
    if (
        isinstance(value, list)
        and value
        and all(isinstance(one, dict) and {*one} == {"label", "score"} for one in value)
    ):
        return ", ".join(f"{one['label']} {one['score']:.2f}" for one in value)
    return json.dumps(value, ensure_ascii=False)


def search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Prints score, path and description, best first; all paths of a photo with --json.\n\n"
        "examples:\n  ingestctl search a cat on a sofa\n"
        "  ingestctl search snow --since 2023-12 --until 2024-02 --n 50\n"
        "  ingestctl search --like ~/Pictures/cat.jpg\n"
        "  ingestctl search birthday --path ~/Pictures/2024 --json | jq -r '.groups[].hits[].path'\n"
    )
    parser.add_argument("text", nargs="*", metavar="TEXT", help="what to look for, in words")
    parser.add_argument("--like", metavar="IMAGE", help="look for what is like this image file")
    parser.add_argument("--n", type=argument_values.count, metavar="N", help="how many (default: 10)")
    parser.add_argument("--path", metavar="FOLDER", help="only below this folder")
    parser.add_argument("--since", metavar="DATE", help="taken on or after: 2024, 2024-05, 2024-05-17 or RFC 3339")
    parser.add_argument("--until", metavar="DATE", help="taken on or before; a year, month or day is meant whole")
    parser.add_argument("--job", help="only in this job (default: in every job that can be searched)")
    parser.add_argument("--json", action="store_true", help="the daemon's reply as one JSON document")


def search(args: argparse.Namespace) -> int:
    since, until = argument_values.since(args.since), argument_values.until(args.until)
    if since and until and since > until:
        raise rpc.usage(
            f"{args.since} is after {args.until}",
            operation="search",
            object="between these dates",
            remedy="exchange --since and --until",
        )
    if bool(args.text) == (args.like is not None):
        raise rpc.usage(
            "give words or --like IMAGE, and not both" if args.text else "there is nothing to look for",
            operation="search",
            object="the photos",
            remedy="ingestctl search a cat, or: ingestctl search --like cat.jpg",
        )
    folder = None if args.path is None else argument_values.below(args.path)
    params = {
        "text": " ".join(args.text),
        "n": args.n,
        "job": args.job,
        "path": None if folder is None else argument_values.wire_path(folder),
        "since": since,
        "until": until,
    }
    if args.like is not None:
        params["like"] = argument_values.wire_path(argument_values.below(args.like))
    reply = rpc.call("search", params, timeout=None, patience="the store or the model is being opened …")
    if args.json:
        print(json.dumps(reply))
        return rpc.EXIT_OK
    groups = reply["groups"]
    for index, group in enumerate(groups):
        if len(groups) > 1:
            jobs = ", ".join(clean(job) for job in group["jobs"])
            print(f"{chr(10) if index else ''}{jobs} ({clean(group['model'])})")
        for hit in group["hits"]:
            more = f"  (+{many(hit['paths_total'] - 1, 'copy', 'copies')})" if hit["paths_total"] > 1 else ""
            path = hit["path"] if folder is None else _inside(hit, folder)
            digits = 3 if group["order"] == "cosine" else 4  # ranks are worth a sixtieth and less
            print(f"{hit['score']:.{digits}f}  {clean(path)}  {clean(hit['description'])}{more}".rstrip())
    sys.stdout.flush()
    if not any(group["hits"] for group in groups):
        print("nothing found", file=sys.stderr)
    for group in groups:
        if group["lag"]:
            jobs = ", ".join(clean(job) for job in group["jobs"])
            print(f"Note: {jobs}: {many(group['lag'], 'change')} not searchable yet", file=sys.stderr)
    for note in reply["notes"]:
        print(f"Note: {clean(note)}", file=sys.stderr)
    return rpc.EXIT_OK


def _inside(hit: dict[str, Any], folder: str) -> str:
    """Of a photo that lies in several places, the one below the folder that was asked for."""
    above = argument_values.absolute(folder).decode("utf-8", "replace").rstrip("/") + "/"
    inside: str = next((path for path in hit["paths"] if path.startswith(above)), hit["path"])
    return inside


def config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A flag wins over INGESTD_… in the environment, that over the file, that over the default.\n"
        "The places are no settings: they follow from INGESTD_HOME and the platform.\n"
    )
    parser.add_argument("--json", action="store_true", help="the daemon's reply and the places as one JSON document")


def config(args: argparse.Namespace) -> int:
    try:
        reply = rpc.call("config", {})
    except rpc.Away as away:
        if not away.absent:
            raise
        from ingestctl import daemon_oneshot

        reply = daemon_oneshot.reply("config")
        print("no daemon is running: this is what one would start with", file=sys.stderr)
    places = {
        "state": locations.state(),
        "socket": locations.socket(),
        "log": locations.log_file(),
        "file": locations.config(),
    }
    if args.json:
        print(json.dumps(reply | {"places": places}))
        return rpc.EXIT_OK
    rows = [[clean(row[key]) for key in ("key", "value", "source")] for row in reply["rows"]]
    widths = [max([len(row[i]) for row in rows], default=0) for i in (0, 1)]
    widths[0] = max(widths[0], *map(len, places))
    for key, value, source in rows:
        print(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {source}")
    print()
    for key, value in places.items():
        print(f"{key:<{widths[0]}}  {clean(value)}")
    return rpc.EXIT_OK
