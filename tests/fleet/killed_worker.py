"""Runs a worker that is killed right after one of its steps: `killed_worker.py STEP WHEN -- options of the worker`.

STEP: read, apply, check, stage, commit, tell, ack. WHEN: the step with work in it by count, 1 is the first; or `end`:
the turn that brings a replay's end frame.
"""

import os
import signal
import sys

from tickstockpl.contracts.frames import frame
from tickstockpl.ops.cli.fleet.worker_command import worker
from tickstockpl.workers.worker import Worker

STEPS = ("read", "apply", "check", "stage", "commit", "tell", "ack")


class Killer:
    """Wraps the steps of Worker from outside; the product knows nothing of it."""

    def __init__(self, step, when):
        self.step, self.when = step, when
        self.calls = 0
        self.is_end = False
        for name in STEPS:
            setattr(Worker, name, self.wrapped(name, getattr(Worker, name)))

    def wrapped(self, name, step):
        def run(worker, *arguments, **options):
            given = self.parts_of(arguments[0]) if arguments else ()
            if name in ("commit", "stage"):
                self.is_end = any(self.state_of(part).uncommitted.ended_replays for part in given)
            done = step(worker, *arguments, **options)
            if name == "read":
                bodies = [body for entries in done.values() for _, body in entries]
                self.is_end = any(frame.decode(body).kind == "end" for body in bodies)
            if name == "check":
                self.is_end = any(state.uncommitted.ended_replays for state in done)
            if name == self.step and (self.parts_of(done) or given):
                self.calls += 1
                if self.is_end if self.when == "end" else self.calls == int(self.when):
                    os.kill(os.getpid(), signal.SIGKILL)
            return done

        return run

    @staticmethod
    def parts_of(given):
        return getattr(given, "plans", given)  # a commit's plans, or what was read, or states

    @staticmethod
    def state_of(part):
        return getattr(part, "state", part)  # a plan's, or a state itself


if __name__ == "__main__":
    Killer(sys.argv[1], sys.argv[2])
    worker(sys.argv[4:])
