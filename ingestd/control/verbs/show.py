"""The verb ``show``: everything known about the file at a path, in each job that has it."""

from __future__ import annotations

from ingestd.control.verb_context import VerbContext
from ingestd.errors import IngestError
from ingestd.ledger import report
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import path_bytes, shown


async def handle(context: VerbContext, params: c.Show) -> c.ShowReply:
    """See ``protocol.control.ShownItem``. Raises ``IngestError`` when no job knows the path."""
    path = path_bytes(params.path)
    only = (await context.jobbook.one(params.job, "show")).row.id if params.job else None
    found = await context.supervisor.ledger.browse(lambda db: report.show(db, path))
    items = [item for job, item in found if only in (None, job)]
    if not items:
        raise IngestError(
            "no job knows it", operation="show", object=shown(path)[0],
            remedy="Give the path of a file below a job's folder; ingestctl status lists the folders",
        )  # fmt: skip
    return c.ShowReply(items)
