"""One commit on its way: what `Committer.stage` returns, and what `transact` and `stage_rest` take."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from ...contracts.ticks import Column
from .plan import NO_ROWS, HeldBack, PartitionPlan


@dataclass(frozen=True, slots=True, eq=False)
class Commit:
    """Partitions that are committed together, and the bars that this writes. It is replaced, never changed.

    rows: as they stand in the staging table, row_number is the index. changed: which of them differ from what stood:
    these are told. replaces: some take the place of what another feed wrote. held_back: what the next commit writes.
    began_at: monotonic time. redis_ahead_s: Redis's clock less our monotonic one.
    """

    plans: list[PartitionPlan]
    began_at: float
    redis_ahead_s: float
    rows: Column = field(default_factory=NO_ROWS.copy)
    changed: Column = field(default_factory=lambda: np.empty(0, bool))
    replaces: bool = False
    held_back: HeldBack | None = None

    @property
    def partitions(self) -> list[int]:
        """The partitions, in the order of the plans."""
        return [plan.state.partition for plan in self.plans]

    def without(self, partitions: Collection[int]) -> Self:
        """Return this commit without some partitions; their bars stay staged, and are not written."""
        return replace(self, plans=[plan for plan in self.plans if plan.state.partition not in partitions])

    def with_rows(self, rows: Column, changed: Column) -> Self:
        """Return this commit with other rows, numbered anew: they are to be staged again."""
        rows["row_number"] = np.arange(len(rows))
        return replace(self, rows=rows, changed=changed)
