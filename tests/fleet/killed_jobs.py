"""Runs `tickstock-jobs`, to be killed at one of its places: `killed_jobs.py PLACE COUNT NOTES -- its options`.

PLACE: of the worker: read, compute, write (inside the transaction), commit, tell, ack; of the coordinator: move,
open (inside the transaction that opens a phase), deal; never. COUNT: the pass that it does not survive.
NOTES: a file; each computing of a step is a line in it, `computes UNIX_S STEP`, and each death, `dies UNIX_S PLACE`.
"""

import functools
import os
import signal
import sys
import time
from pathlib import Path

from tickstockpl.db.streams.jobs_stream import JobsStream
from tickstockpl.db.tables.run_results import RunTeller
from tickstockpl.ops.cli.fleet.jobs_command import jobs
from tickstockpl.workers.daily import job_worker
from tickstockpl.workers.daily.coordinator import Coordinator
from tickstockpl.workers.daily.job_worker import JobWorker
from tickstockpl.workers.daily.run_moves import RunMoves

OF_WORKERS = {
    "read": (JobWorker, "_next"),
    "compute": (job_worker, "prepare"),
    "write": (job_worker, "end_step"),
    "commit": (JobWorker, "_attempt"),
    "tell": (RunTeller, "tell"),
    "ack": (JobsStream, "ack"),
}
OF_COORDINATORS = {"move": (Coordinator, "_move"), "open": (RunMoves, "_open"), "deal": (JobsStream, "deal")}
NOTHING_DONE = {"read": None, "move": None, "deal": 0}  # what these return where they had nothing to do
NEVER = "never"


class Killer:
    """Wraps a place from outside; the product knows nothing of it."""

    def __init__(self, place, count, notes):
        self.place, self.count, self.notes = place, count, notes
        self.passed = 0
        self.wrap(job_worker, "prepare", before=lambda _, __, step, *___, **____: self.note("computes", step.key.text))
        if place != NEVER:
            owner, name = (OF_WORKERS | OF_COORDINATORS)[place]
            self.wrap(owner, name, after=self.pass_by)

    @staticmethod
    def wrap(owner, name, *, before=lambda *_, **__: None, after=lambda _: None):
        original = getattr(owner, name)

        @functools.wraps(original)
        def run(*arguments, **options):
            before(*arguments, **options)
            done = original(*arguments, **options)
            after(done)
            return done

        setattr(owner, name, run)

    def note(self, what, which):
        with self.notes.open("a") as file:
            file.write(f"{what} {time.time()} {which}\n")

    def pass_by(self, done):
        if self.place in NOTHING_DONE and done == NOTHING_DONE[self.place]:
            return
        self.passed += 1
        if self.passed == self.count:
            self.note("dies", self.place)
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Killer(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    jobs(sys.argv[5:])
