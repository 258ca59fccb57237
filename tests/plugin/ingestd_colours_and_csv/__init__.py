"""What this package declares to ingestd. Only a child of the daemon's ever imports it."""

from __future__ import annotations

from ingestd.kinds.sinks import SinkKind
from ingestd.kinds.steps import Setting, StepKind

COLOURS = StepKind(
    "colours",
    "the main colours of each picture (default: none)",
    api=1,
    takes="switch",
    metavar="on|none",
    settings=(Setting("most_colours", "int", "how many colours of a picture are kept (default: 5)", "N", 1, 16),),
    module="ingestd_colours_and_csv.colours",
)

CSV = SinkKind(
    "csv",
    "a file with one row for each photo",
    "ingestd_colours_and_csv.csv_sink:CsvSink",
    api=1,
    takes=("file",),
    copies=0.2,
    writes=("place",),
)
