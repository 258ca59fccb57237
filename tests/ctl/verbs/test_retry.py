"""``retry``: the job, the files, or both."""

from __future__ import annotations

from ingestd.protocol import control as c
from tests.ctl.ctlkit import UUID, Home, daemon_status, job, refuse, shown


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
