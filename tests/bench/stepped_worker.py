"""A worker whose steps are timed from outside: `python stepped_worker.py OUT.json OPTIONS…`, seconds by step.

SIGUSR1 begins anew: what came before is not in the figures.
"""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tickstockpl.ops.cli.fleet.worker_command import worker
from tickstockpl.workers.commit import committer, staging
from tickstockpl.workers.commit.committer import Committer
from tickstockpl.workers.commit.find import result_finder
from tickstockpl.workers.commit.find.result_finder import ResultFinder
from tickstockpl.workers.commit.transaction import CommitTransaction
from tickstockpl.workers.worker import Worker

_TURN = ("read", "apply", "check", "stage", "commit", "ack", "tell", "restore", "_look_at_leases", "_finish_restores")
# Parts of those steps: their time is in the step's own, too.
_PARTS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (Worker, _TURN),
    (Worker, ("_detect_marked",)),
    (Committer, ("_compare_bars", "stage_rest", "stage_marked", "load_ahead", "find_ahead")),
    (ResultFinder, ("find", "_find_patterns", "_compare")),
    (CommitTransaction, ("run",)),
    (committer, ("plan_messages", "hold_back", "restage", "mark_partial", "stage_rows")),
    (result_finder, ("absorb", "find_patterns")),
    (staging, ("save_states", "add_bar_messages", "add_result_messages", "stage_findings")),
)


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


def time_steps(spent: dict[str, list[float]]) -> None:
    """Time each step of all workers of this process, by name: calls, wall and processor seconds."""
    for owner, names in _PARTS:
        for name in (name for name in names if hasattr(owner, name)):
            setattr(owner, name, timed(name.lstrip("_"), getattr(owner, name), spent))


def main() -> None:
    """Run the worker command; when it ends, write calls, wall and processor seconds of each step."""
    out, spent = Path(sys.argv.pop(1)), {}
    time_steps(spent)

    def begin_anew(*_: object) -> None:
        for total in spent.values():
            total[:] = [0, 0.0, 0.0]

    signal.signal(signal.SIGUSR1, begin_anew)
    try:
        worker()
    finally:
        out.write_text(json.dumps({n: {"calls": c, "wall_s": w, "cpu_s": u} for n, (c, w, u) in spent.items()}))


if __name__ == "__main__":
    main()
