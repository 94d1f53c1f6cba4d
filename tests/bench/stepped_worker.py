"""A worker whose steps are timed from outside: `python stepped_worker.py OUT.json OPTIONS…`, seconds by step."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tickstockpl.ops.cli.fleet.worker_command import worker
from tickstockpl.workers.commit.transaction import CommitTransaction
from tickstockpl.workers.worker import Worker

_STEPS = ("read", "apply", "check", "stage", "commit", "ack", "tell", "restore", "_look_at_leases", "_finish_restores")


def timed(name: str, method: Callable[..., Any], spent: dict[str, list[float]]) -> Callable[..., Any]:
    """Wrap a step so that each call adds its wall time and the worker's processor time."""
    total = spent.setdefault(name, [0, 0.0, 0.0])

    def step(*args: Any, **kwargs: Any) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return method(*args, **kwargs)
        finally:
            total[0] += 1
            total[1] += time.perf_counter() - wall
            total[2] += time.thread_time() - cpu

    return step


def main() -> None:
    """Run the worker command; when it ends, write calls, wall and processor seconds of each step."""
    out, spent = Path(sys.argv.pop(1)), {}
    for name in _STEPS:
        setattr(Worker, name, timed(name, getattr(Worker, name), spent))
    CommitTransaction.run = timed("transaction", CommitTransaction.run, spent)
    try:
        worker()
    finally:
        out.write_text(json.dumps({n: {"calls": c, "wall_s": w, "cpu_s": u} for n, (c, w, u) in spent.items()}))


if __name__ == "__main__":
    main()
