"""``python -m ingestd.worker --fd N --parent PID``."""

from ingestd.child import run_child
from ingestd.protocol.work import ToWorker
from ingestd.worker.main import main
from ingestd.worker.sandbox import access

if __name__ == "__main__":
    run_child("worker", ToWorker, main, access)
