"""Each verb against a daemon that answers from the contract's own structs: what it asks, prints and exits with."""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any

import msgspec
import pytest
from ingestctl.main import VERBS

from ingestd.protocol import control as c, rpc
from ingestd.protocol.pathtext import PathB64
from tests.ctl.ctlkit import UUID, Home, counts, daemon_status, finished, job, refuse, until


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(home: Home, verb: str) -> None:
    """``VERB --help`` needs no daemon and goes to stdout."""
    ran = home.run(verb, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"usage: ingestctl {verb}")


def test_status_shows_what_a_person_wants(home: Home) -> None:
    """Counts, per cent, rate, forecast, sinks, workers, failures and the log's place are in the text."""
    home.daemon()
    ran = home.run("status")
    assert (ran.code, ran.err) == (0, ""), ran
    for words in (
        "photos  running, working",
        "48.2 % so far",
        "12,300 of 25,600 done, 45 failed, 13,223 to do, 32 in work",
        "4,200 an hour, 3 h to 4 h left or more (still scanning), last commit 2 s ago",
        "1,100 video, 103 sidecar",
        "12,300 done, 12 failed  builtin",
        "3 behind, delivering  /state/sinks/u/qdrant",
        "up to date  /state/sinks/u/photos.jsonl",
        "pid 4321, batch 12: working, 45 items, 32 at hand",
        "corrupt, 2 min ago: image file is truncated\n                /photos/x.jpg",
        "done, 1 s ago  /photos/a.jpg",
        "log /home/u/ingestd.log",
    ):
        assert words in ran.out, ran


def test_status_says_why_nothing_runs(home: Home) -> None:
    """A waiting or paused job carries its reason, who asked, until when; older jobs take one line each."""
    jobs = [
        job(name="nas", status="waiting", phase="waiting", reason="source offline: /nas"),
        job(name="beach", status="paused", phase="paused", actor="ada", until=time.time() + 60),
        finished(name="old"),
    ]
    home.daemon(status=c.StatusReply(daemon_status(), jobs))
    out = home.run("status").out
    assert "nas  waiting: source offline: /nas" in out
    assert "beach  paused (by ada, " in out
    assert " until " in out
    assert "old  completed 60 s ago, 100 of 100 done" in out


def test_status_json_is_exactly_the_reply(home: Home) -> None:
    """``--json`` adds and loses nothing; the job asked for reaches the daemon."""
    daemon = home.daemon()
    ran = home.run("status", "photos", "--json")
    assert json.loads(ran.out) == json.loads(msgspec.json.encode(daemon.replies["status"]))
    assert daemon.asked("status") == [c.Status(job="photos")]


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
def test_control_verbs_say_what_is_now_true(home: Home, verb: str) -> None:
    """The new status is printed; a repetition is no error; who asked is passed on."""
    daemon = home.daemon(
        **{verb: c.ChangeReply([c.JobChange("photos", UUID, "paused", True), c.JobChange("b", "u2", "paused", False)])}
    )
    ran = home.run(verb, "--all")
    assert (ran.code, ran.out) == (0, "photos: paused\nb: was already paused\n"), ran
    home.run(verb, "photos")
    params = c.VERBS[verb][0]
    assert daemon.asked(verb) == [params(all=True, actor="ada"), params(job="photos", actor="ada")]
    assert home.run(verb, "photos", "--all").code == 2


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (finished(), 0),
        (finished(failed=3), 3),
        (job(status="failed", reason="no such model"), 1),
        (job(status="stopped"), 1),
        (job(status="paused"), 5),
    ],
)
def test_wait_exits_with_the_result(home: Home, state: c.JobStatus, code: int) -> None:
    """0 completed, 3 with failed items, 1 failed or stopped, 5 paused."""
    home.daemon(wait=c.WaitReply(state))
    ran = home.run("wait")
    assert ran.code == code
    assert ran.out.startswith(f"photos: {state.status}")


def test_wait_says_what_could_not_be_read(home: Home) -> None:
    """A folder that nobody may read is no failed item: the job completes, and the person is told."""
    errors = [{"path": "/photos/closed", "message": "permission denied"}]
    scan = c.ScanStatus("partial", 1.0, 2.0, 100, {}, errors)
    home.daemon(wait=c.WaitReply(finished(scan=scan)))
    ran = home.run("wait")
    assert ran.code == 0
    assert "Note: 1 place in its sources could not be read; which, and why: ingestctl status photos" in ran.err, ran


def summary_reply() -> c.SummaryReply:
    times = c.PhaseTimes(12345, 12.5, 11.0, 80.0, 2.0, 2500.0)
    batches = c.BatchTotals(124, 1, 12345, 5200.0, 1_200_000_000, 12000.0)
    return c.SummaryReply(finished(3), 0.97, 12000, 12350, 8000.0, {"decode": times}, {"corrupt": 3}, batches)


def test_summary(home: Home) -> None:
    """Success rate, times by phase, failures by kind, batches, memory and processor."""
    home.daemon(summary=summary_reply())
    out = home.run("summary").out
    for words in ("97.0 %", "12,000 distinct contents", "3 corrupt", "124 (1 died)", "1.2 GB", "(1.5 cores)"):
        assert words in out, out
    assert out.splitlines()[-1].split() == ["decode", "0.0125", "0.0110", "0.0020", "2.50", "0.0800", "12,345"]
    assert json.loads(home.run("summary", "--json").out)["contents"] == 12000


def failed_pages(params: c.Failed) -> c.FailedReply:
    """Three pages of two."""
    rows = [failed_row(params.after + i) for i in (1, 2)]
    return c.FailedReply("photos", 6, rows, params.after + 2 if params.after < 4 else None)


def failed_row(item: int) -> c.FailedRow:
    path = f"/p/{item}.jpg"
    return c.FailedRow(item, path, "corrupt", "truncated", "decode", "all", 1, time.time(), "Mend it.", "long detail")


def test_failed_turns_the_pages(home: Home) -> None:
    """Every page is asked for by its cursor; text on stdout, remedies once, on stderr; JSON one row a line."""
    daemon = home.daemon(failed=failed_pages)
    ran = home.run("failed", "photos", "--kind", "corrupt")
    assert ran.out.splitlines() == [f"corrupt     /p/{i}.jpg  truncated" for i in range(1, 7)]
    assert ran.err == "photos: 6 failed files of kind corrupt\n  corrupt: Mend it.\n"
    assert [params.after for params in daemon.asked("failed")] == [0, 2, 4]
    lines = home.run("failed", "--json").out.splitlines()
    assert [json.loads(line)["item"] for line in lines] == [1, 2, 3, 4, 5, 6]


def shown(jobs: tuple[str, ...] = ("photos",), state: str = "done") -> c.ShowReply:
    tags = [{"label": "tabby", "score": 0.6123}, {"label": "lynx", "score": 0.1}]
    results = {"meta": {"camera": "X100"}, "embed": {"dim": 384}, "describe": {"text": "a cat\x1b[31m", "tags": tags}}
    return c.ShowReply([shown_item(job, state, results) for job in jobs])


def shown_item(job: str, state: str, results: dict[str, Any]) -> c.ShownItem:
    return c.ShownItem(
        job, "/p/a.jpg", state, 2, 2_400_000, 1.7e9, "ab" * 32, "JPEG", 4000, 3000, results, [], ["/p/b.jpg"], 5
    )


def test_show(home: Home) -> None:
    """A relative path is asked for absolutely; file, results and copies are shown."""
    daemon = home.daemon(show=shown())
    ran = home.run("show", "a.jpg")
    assert daemon.asked("show") == [c.Show(path=f"{home.cwd}/a.jpg")]
    for words in (
        "done, job photos",
        "4000 × 3000",
        "camera: X100",
        "text: a cat\\x1b[31m",
        "tags: tabby 0.61, lynx 0.10",
        "and 4 more",
    ):
        assert words in ran.out, ran


def test_retry_tells_job_from_paths(home: Home) -> None:
    """The first word is the job, unless it has a slash or is a file here; a folder of the job's name is no file."""
    daemon = home.daemon(retry=c.RetryReply(job(), 2), show=shown(state="failed"))
    (home.cwd / "a.jpg").touch()
    (home.cwd / "photos").mkdir()
    ran = home.run("retry", "photos", "--kind", "model", "./x.jpg")
    assert ran.out == "photos: 2 failed files to be tried again, running\n"
    home.run("retry", "a.jpg")
    home.run("retry")
    assert daemon.asked("retry") == [
        c.Retry(job="photos", kind="model", paths=[f"{home.cwd}/x.jpg"]),
        c.Retry(job=UUID, paths=[f"{home.cwd}/a.jpg"]),
        c.Retry(),
    ]


def test_retry_of_a_path_finds_its_jobs(home: Home) -> None:
    """A file without a JOB is tried again in every job in which it failed, be it the newest or not; never in a
    stopped one."""
    jobs = [job(name="newest", uuid="u3"), job(name="photos"), job(name="over", uuid="u2", status="stopped")]
    daemon = home.daemon(
        status=c.StatusReply(daemon_status(), jobs),
        show=shown(("photos", "over"), "failed"),
        retry=c.RetryReply(job(), 1),
    )
    ran = home.run("retry", "/p/a.jpg")
    assert (ran.code, ran.out) == (0, "photos: 1 failed file to be tried again, running\n"), ran
    assert daemon.asked("retry") == [c.Retry(job=UUID, paths=["/p/a.jpg"])]
    daemon.replies["show"] = shown()
    ran = home.run("retry", "/p/a.jpg")
    assert (ran.code, ran.out) == (0, "")
    assert "none of these files has failed" in ran.err
    daemon.replies["show"] = refuse("no job knows it", "show", "/p/x.jpg", "give another")
    assert home.run("retry", "/p/x.jpg").code == 1
    assert len(daemon.asked("retry")) == 1


def test_retry_of_more_paths_than_a_request_holds(home: Home) -> None:
    """``xargs ingestctl retry`` gives thousands of paths: they go in several requests, each within the limit."""
    daemon = home.daemon(retry=lambda params: c.RetryReply(job(), len(params.paths)))
    ran = home.run("retry", "photos", *[f"/p/{'n' * 200}{i}.jpg" for i in range(900)])
    assert "900 failed files" in ran.out, ran
    assert len(daemon.asked("retry")) > 1


def hit(score: float, path: str, **changes: Any) -> c.SearchHit:
    return c.SearchHit(score, path, changes.pop("description", "tabby cat"), "id", [path], 1, {}, **changes)


def test_search_prints_score_path_description(home: Home) -> None:
    """One group needs no heading; several words are one text; filters reach the daemon, dates made exact."""
    daemon = home.daemon(search=c.SearchReply([c.SearchGroup(["photos"], "builtin", [hit(0.3123, "/p/a.jpg")], 4)], []))
    ran = home.run("search", "a", "cat", "--n", "3", "asleep", "--path", "sub", "--since", "2024", "--until", "2024-02")
    assert ran.out == "0.312  /p/a.jpg  tabby cat\n"
    assert ran.err == "Note: photos: 4 changes not searchable yet\n"
    assert daemon.asked("search") == [
        c.Search(
            text="a cat asleep",
            n=3,
            path=f"{home.cwd}/sub",
            since="2024-01-01T00:00:00Z",
            until="2024-02-29T23:59:59.999999Z",
        )
    ]


def test_search_shows_the_path_that_was_asked_for(home: Home) -> None:
    """Of a photo in several places the one below ``--path`` is printed; ``~`` means the home folder there."""
    copies = ["/p/first.jpg", "/p/subway/b.jpg", "/p/sub/a.jpg"]
    found = msgspec.structs.replace(hit(0.3, "/p/first.jpg"), paths=copies, paths_total=3)
    daemon = home.daemon(search=c.SearchReply([c.SearchGroup(["photos"], "builtin", [found], 0)], []))
    for folder in ("/p/sub", "/p/sub/", "/p//x/../sub"):
        assert home.run("search", "cat", "--path", folder).out == "0.300  /p/sub/a.jpg  tabby cat  (+2 copies)\n"
    assert home.run("search", "cat").out.startswith("0.300  /p/first.jpg")
    home.run("search", "cat", "--path=~/sub", env={"HOME": "/p"})
    assert daemon.asked("search")[-1].path == "/p/sub"


def test_words_after_two_dashes(home: Home) -> None:
    """``--`` ends the options: what begins with a dash may be searched for, too."""
    daemon = home.daemon(search=c.SearchReply([c.SearchGroup(["photos"], "builtin", [], 0)], []))
    assert home.run("search", "--n", "3", "a", "--", "-cat", "--n").code == 0
    assert daemon.asked("search") == [c.Search(text="a -cat --n", n=3)]


@pytest.mark.parametrize(
    "words",
    [["start", ""], ["show", ""], ["search", "x", "--path", ""], ["retry", "photos", ""], ["start", "x", "--name", ""]],
)
def test_an_empty_path_is_not_this_folder(home: Home, words: list[str]) -> None:
    """What a script's unset variable leaves is refused, before any daemon is asked."""
    daemon = home.daemon()
    ran = home.run(*words)
    assert (ran.code, ran.out) == (2, ""), ran
    assert not [verb for verb, _ in daemon.requests if verb != "hello"]


def test_words_that_are_not_utf8_are_named(home: Home) -> None:
    """The word itself is shown, not the request around it."""
    home.daemon()
    ran = home.run("search", b"c\xffat", "--n", "1")
    assert ran.code == 2
    assert "Error: cannot search with these words: 'c\\udcffat' is not UTF-8" in ran.err, ran


def test_search_groups_by_jobs(home: Home) -> None:
    """Scores of different encoders do not compare, so each group has its heading."""
    groups = [
        c.SearchGroup(["photos", "nas"], "builtin", [hit(0.3, "/p/a.jpg")], 0),
        c.SearchGroup(["beach"], "clip", [hit(0.2, "/b.jpg", description="")], 0),
    ]
    home.daemon(search=c.SearchReply(groups, ["one job has no store"]))
    ran = home.run("search", "cat")
    assert ran.out == "photos, nas (builtin)\n0.300  /p/a.jpg  tabby cat\n\nbeach (clip)\n0.200  /b.jpg\n"
    assert ran.err == "Note: one job has no store\n"


@pytest.mark.parametrize("date", ["yesterday", "2024-13", "24", "2024-02-30", "2024-01-01-01", "-5"])
def test_search_refuses_what_is_no_date(home: Home, date: str) -> None:
    """A date that cannot be read is a usage error that shows the forms, and the daemon is not asked."""
    ran = home.run("search", "cat", f"--since={date}")
    assert (ran.code, ran.out) == (2, "")
    assert "2024-05-17" in ran.err


def test_remove_config_shutdown(home: Home) -> None:
    """The small verbs print what is now true; ``shutdown`` returns when the daemon's process is gone."""
    daemon = home.daemon(
        remove=c.RemoveReply("photos", UUID, 12345, ["/home/u/photos.jsonl"]),
        config=c.ConfigReply([c.ConfigRow("workers", "1", "default"), c.ConfigRow("x", "2", "environment")]),
        hello=c.HelloReply(c.PROTOCOL, "0.1.0", 2**22 + 1),
    )
    assert home.run("remove", "photos").out == "photos: removed, 12,345 items forgotten\n  kept  /home/u/photos.jsonl\n"
    places = {"state": "state", "socket": "run/ingestd.sock", "log": "log/ingestd.log", "file": "config.toml"}
    told = "".join(f"{key:<7}  {home.folder}/{place}\n" for key, place in places.items())
    assert home.run("config").out == f"workers  1  default\nx        2  environment\n\n{told}"
    assert json.loads(home.run("config", "--json").out)["places"]["socket"] == str(home.socket)

    def end_soon(_: Any) -> c.ShutdownReply:
        threading.Timer(0.2, daemon.end).start()
        return c.ShutdownReply(2**22 + 1)

    def end_now(_: Any) -> None:
        daemon.end()
        raise OSError

    for ending in (end_soon, end_now):
        daemon.replies["shutdown"] = ending
        ran = home.run("shutdown")
        assert (ran.code, ran.out) == (0, f"the daemon (pid {2**22 + 1}) has ended\n"), ran
        until(lambda: not daemon.alive)
        daemon.begin()


def test_errors_say_operation_object_remedy(home: Home) -> None:
    """The daemon's error is shown in two lines and decides the exit code."""
    home.daemon(pause=refuse("two jobs are active: a, b", "pause", "the job", "name one: ingestctl pause a", 2))
    ran = home.run("pause")
    expected = "Error: cannot pause the job: two jobs are active: a, b\nTry: name one: ingestctl pause a\n"
    assert (ran.code, ran.out, ran.err) == (2, "", expected)


def test_an_error_without_data_still_has_a_way_on(home: Home) -> None:
    """A daemon that is older than the client answers in JSON-RPC's own codes."""
    home.daemon(summary=rpc.Error(rpc.UNKNOWN_METHOD, "no such method"))
    ran = home.run("summary")
    assert ran.code == 1
    assert "Try: the daemon is older than this client" in ran.err


def test_nothing_of_a_name_reaches_the_terminal_raw(home: Home) -> None:
    """Escape sequences, newlines and direction overrides in names, texts and errors are shown as escapes."""
    evil = "/p/\x1b]0;owned\x07\x9b31m\u202egpj.exe\n.jpg"
    home.daemon(
        status=c.StatusReply(daemon_status(), [job(name=evil, last_items=[c.LastItem(evil, 1.0, "done")])]),
        search=c.SearchReply([c.SearchGroup(["photos"], "m", [hit(0.3, evil, description=evil)], 0)], [evil]),
        failed=c.FailedReply(
            "photos", 1, [c.FailedRow(1, evil, "corrupt", evil, "d", "all", 1, 0.0, evil, evil)], None
        ),
        show=refuse(evil, "show", evil, evil),
    )
    for words in (
        ["status"],
        ["search", "cat"],
        ["failed"],
        ["show", "x"],
        ["status", "--json"],
        ["search", "c", "--json"],
    ):
        ran = home.run(*words)
        for character in "\x1b\x07\x9b\u202e":
            assert character not in ran.out + ran.err, words
        if "--json" not in words:
            assert "\\x1b]0;owned\\x07\\x9b31m\\u202egpj.exe\\n.jpg" in ran.out + ran.err, words


def test_colour_only_where_it_is_wanted(home: Home) -> None:
    """A pipe gets none; ``--color always`` works before and after the verb; ``never`` wins over a terminal."""
    home.daemon(status=c.StatusReply(daemon_status(), [job(counts=counts())]))
    assert "\x1b" not in home.run("status").out
    assert "\x1b[" in home.run("status", "--color", "always").out
    assert "\x1b[" in home.run("--color=always", "status").out
    assert "\x1b" not in home.run("--color", "always", "status", "--color", "never").out


def test_base64_is_for_what_is_not_utf8(home: Home) -> None:
    """A path that is no UTF-8 arrives with its true bytes."""
    daemon = home.daemon(show=shown())
    assert home.run("show", b"/p/\xff\xfe.jpg").code == 0
    assert daemon.asked("show") == [c.Show(path=PathB64(base64.b64encode(b"/p/\xff\xfe.jpg").decode()))]
