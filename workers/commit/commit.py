"""One commit: `Committer.stage` makes it, `transact` writes it, `stage_rest` makes the commit after it."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from ...contracts.ticks import Mask
from ...db.staged_rows import StagedRows
from .first_patterns import HeldBack
from .plan import PartitionPlan
from .staged_bars import NO_ROWS


@dataclass(frozen=True, slots=True, eq=False)
class Commit:
    """Partitions that are committed together, and the bars that this writes. It is replaced, never changed.

    rows: as in the staging table; row_number is the index. changed: the rows that differ from the stored bars; these
    are published. replaces: some rows overwrite bars of another feed. held_back: the bars that the next commit writes.
    began_at: monotonic time in s. redis_ahead_s: Redis's clock minus our monotonic one.
    """

    plans: list[PartitionPlan]
    began_at: float
    redis_ahead_s: float
    rows: StagedRows = field(default_factory=NO_ROWS.copy)
    changed: Mask = field(default_factory=lambda: np.empty(0, bool))
    replaces: bool = False
    held_back: HeldBack | None = None

    @property
    def partitions(self) -> list[int]:
        """The partitions, in the order of the plans."""
        return [plan.state.partition for plan in self.plans]

    def without(self, partitions: Collection[int]) -> Self:
        """Return this commit without some partitions; their bars stay staged, but are not written."""
        return replace(self, plans=[plan for plan in self.plans if plan.state.partition not in partitions])

    def with_rows(self, rows: StagedRows, changed: Mask) -> Self:
        """Return this commit with other rows, numbered from 0; the caller must stage them."""
        rows["row_number"] = np.arange(len(rows))
        return replace(self, rows=rows, changed=changed)
