"""What is answered without a daemon, from the ledger and the configuration alone: one JSON document, or lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from ingestd import __version__, paths, settings_file
from ingestd.errors import IngestError
from ingestd.host.log_note import where
from ingestd.ledger import report
from ingestd.ledger.offline import from_ledger
from ingestd.protocol import control as c, rpc


def answer(verb: str, words: Sequence[str] = ()) -> int:
    """Print the reply to ``verb`` on stdout, or ``{"error": …}``; returns the exit code."""
    try:
        if verb == "models":
            from ingestd import oneshot_models

            return oneshot_models.run(words, job_facts, _print)
        if verb == "doctor":
            from ingestd import doctor

            return doctor.run(words, _print)
        reply = {"status": status, "config": configuration}[verb]()
    except IngestError as error:
        data = rpc.ErrorData(error.operation, error.object, error.remedy, error.exit)
        _print({"error": rpc.Error(rpc.INGEST_ERROR, error.message, data)})
        return error.exit
    _print(reply)
    return 0


def _print(document: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    sys.stdout.flush()


def status() -> c.StatusReply:
    """Every job as the ledger has it; nothing runs."""
    from ingestd.control.job_status import job_status

    places = paths.places()
    jobs = [job_status(facts, None, places.state) for facts in job_facts()]
    size = places.ledger.stat().st_size if places.ledger.exists() else 0
    return c.StatusReply(c.DaemonStatus(0, __version__, 0.0, str(places.state), where(places.log_file), size, 0), jobs)


def job_facts() -> list[report.JobFacts]:
    """Every job of the ledger, newest first; none where there is no ledger. Raises ``IngestError``."""
    return from_ledger(paths.places().ledger, report.facts) or []


def configuration() -> c.ConfigReply:
    """Every setting with its source."""
    places = paths.places()
    settings = settings_file.load(places)
    return c.ConfigReply([c.ConfigRow(key, s.value, s.source) for key, s in settings.values.items()])
