"""Adds each commit to this worker's counters, once, after the commit."""

from collections import Counter as CountOf
from collections.abc import Mapping, Sequence

from prometheus_client import Counter

from ...db import metrics
from .plan import PartitionPlan


class Tally:
    """The worker's counters. A reduction is subtracted from later additions: a counter never falls."""

    def __init__(self) -> None:
        self._owed: dict[Counter, int] = {}

    def begin(self, partition: int) -> None:
        """Export a partition's counters as 0, so that its first tick shows as an increase."""
        for counter in (
            metrics.TICKS_IN, metrics.TICKS_APPLIED, metrics.TICKS_DUPLICATE, metrics.TICKS_LATE,
            metrics.BARS_CLOSED, metrics.BARS_REVISED,
        ):  # fmt: skip
            counter.labels(partition)

    def add(self, plans: Sequence[PartitionPlan]) -> None:
        """Count a durable commit."""
        for plan in plans:
            self._add_ticks(plan)
            self._add_results(plan)

    def supersede(self, ticks: Mapping[int, int]) -> None:
        """Count ticks that were applied before and are superseded now. ticks: by partition."""
        for partition, count in ticks.items():
            self._raise(metrics.TICKS_SUPERSEDED, count)
            self._raise(metrics.TICKS_APPLIED.labels(partition), -count)

    def _add_ticks(self, plan: PartitionPlan) -> None:
        partition, counts = plan.state.partition, plan.counts.values()
        self._raise(metrics.TICKS_IN.labels(partition), sum(c.ticks_in for c in counts))
        self._raise(metrics.TICKS_APPLIED.labels(partition), sum(c.applied for c in counts))
        self._raise(metrics.TICKS_DUPLICATE.labels(partition), plan.repeats)
        self._raise(metrics.TICKS_REPEATED, sum(c.repeated for c in counts))
        self._raise(metrics.TICKS_LATE.labels(partition), sum(c.too_late for c in counts))
        self._raise(metrics.TICKS_REJECTED.labels("refused"), sum(c.refused for c in counts))
        self._raise(metrics.TICKS_REJECTED.labels("future"), sum(c.future for c in counts))
        self._raise(metrics.TICKS_SUPERSEDED, sum(c.superseded for c in counts))
        self._raise(metrics.TICKS_WITHOUT_TRADE, sum(c.quote_or_zero for c in counts))
        self._raise(metrics.TICKS_LOST, sum(c.lost for c in counts))
        letters = CountOf(metrics.dead_letter_reason(letter.refused.reason) for letter in plan.dead_letters)
        for reason, count in letters.items():
            self._raise(metrics.DEAD_LETTERS.labels(reason), count)

    def _add_results(self, plan: PartitionPlan) -> None:
        partition = plan.state.partition
        self._raise(metrics.BARS_CLOSED.labels(partition), plan.bars)
        self._raise(metrics.BARS_REVISED.labels(partition), plan.revisions)
        for pattern, count in CountOf(detection.pattern for detection in plan.found.new).items():
            self._raise(metrics.PATTERNS_DETECTED.labels(pattern), count)
        self._raise(metrics.INDICATORS_CALCULATED, plan.found.indicator_values)

    def _raise(self, counter: Counter, by: int) -> None:
        if by := by - self._owed.pop(counter, 0):
            if by > 0:
                counter.inc(by)
            else:
                self._owed[counter] = -by
