"""The figures of a worker since its start: its counters, and its row in the table `worker`, updated by each commit."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import psutil

from ...db.metrics import COMMITS_FENCED
from ...db.world import World
from .plan import PartitionPlan
from .tally import Tally


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """The counts of a worker since its start."""

    ticks: int = 0
    repeats: int = 0
    bars: int = 0
    revisions: int = 0
    commits: int = 0
    fenced: int = 0
    restores: int = 0
    patterns: int = 0
    indicators: int = 0
    alerts: int = 0


class WorkerFigures:
    """Counts each durable commit once, and makes the worker's row."""

    def __init__(self, consumer: str, *, world: World) -> None:
        self._world = world
        self.counts = WorkerCounts()
        self._consumer = consumer
        self._tally = Tally()
        self._process = psutil.Process()
        self._lag_ms = 0.0

    def begin(self, partition: int) -> None:
        """Export a partition's counters as 0, so that its first tick shows as an increase."""
        self._tally.begin(partition)

    def count_restore(self) -> None:
        """Count one restore of a partition."""
        self.counts = replace(self.counts, restores=self.counts.restores + 1)

    def count_fenced(self, partitions: int) -> None:
        """Count partitions whose commit was refused, because another worker had taken them."""
        self.counts = replace(self.counts, fenced=self.counts.fenced + partitions)
        COMMITS_FENCED.inc(partitions)

    def note_lag(self, lag_ms: float) -> None:
        """Note the age in ms of the oldest entry in a commit."""
        self._lag_ms = lag_ms

    def add(self, plans: Sequence[PartitionPlan]) -> None:
        """Count a durable commit."""
        self.counts = self._counts_with(plans)
        self._tally.add(plans)

    def count_superseded(self, ticks: Mapping[int, int]) -> None:
        """Count the ticks whose bars a durable commit replaced. ticks: by partition."""
        self._tally.supersede(ticks)

    def add_unanswered(self, plan: PartitionPlan) -> None:
        """Count one partition's part of a commit whose answer was lost, but that went through."""
        self.counts = replace(self._counts_with([plan]), commits=self.counts.commits)
        self._tally.add([plan])

    def first_row(self) -> dict[str, object]:
        """Return the values of this worker's row before its first commit."""
        return self._row(self.counts, undetected=0)

    def row_with(self, plans: Sequence[PartitionPlan], *, undetected: int) -> dict[str, object]:
        """Return the values of this worker's row after these plans are committed.

        undetected: closed bars of all its partitions that wait for detection.
        """
        return self._row(self._counts_with(plans), undetected=undetected)

    def _row(self, counts: WorkerCounts, *, undetected: int) -> dict[str, object]:
        used = {
            "cpu_s": self._world.cpu_s(),
            "memory_mb": self._process.memory_info().rss / 2**20,
            "lag_ms": self._lag_ms,
            "undetected": undetected,
        }
        return {"consumer": self._consumer, "host": platform.node(), "pid": os.getpid()} | asdict(counts) | used

    def _counts_with(self, plans: Sequence[PartitionPlan]) -> WorkerCounts:
        counts = self.counts
        return replace(
            counts,
            commits=counts.commits + 1,
            bars=counts.bars + sum(plan.bars for plan in plans),
            revisions=counts.revisions + sum(plan.revisions for plan in plans),
            ticks=counts.ticks + sum(c.ticks_in for plan in plans for c in plan.counts.values()),
            repeats=counts.repeats + sum(plan.repeats for plan in plans),
            patterns=counts.patterns + sum(len(plan.found.new) for plan in plans),
            indicators=counts.indicators + sum(plan.found.indicator_values for plan in plans),
            alerts=counts.alerts + sum(len(plan.found.alerts) for plan in plans),
        )
