"""The partitions that a worker owns: take them, restore them, set them aside, give them back, or lose them."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from ..contracts.partition import START
from ..db.metrics import TAKEOVERS
from .assignment import Assignment
from .commit.worker_figures import WorkerFigures
from .partition.partition_state import Held, PartitionState
from .partition.tick_check import Limits
from .partition_reader import Entries
from .restore.restorer import Restorer
from .set_aside import SetAside

log = structlog.get_logger()


class Part(Protocol):
    """A part of the worker that keeps something for each partition."""

    def leave(self, partition: int) -> None:
        """Forget a partition."""


class OwnedPartitions:
    """states: by partition, without those that are set aside. The dict stays the same object."""

    def __init__(  # three parts that act, and what a state needs
        self,
        assignment: Assignment,
        restorer: Restorer,
        *,
        set_aside: SetAside,
        figures: WorkerFigures,
        limits: Limits,
        parts: Sequence[Part],
    ) -> None:
        """parts: of the worker; each forgets a partition that leaves."""
        self.states: dict[int, PartitionState] = {}
        self._left: dict[int, Entries] = {}  # entries of the last read that one turn could not take
        self._assignment = assignment
        self._restorer = restorer
        self._set_aside = set_aside
        self._figures = figures
        self._limits = limits
        self._parts = parts

    @property
    def held(self) -> list[Held]:
        """How each is held, including those that are set aside."""
        return [state.held for state in self.states.values()] + self._set_aside.held

    @property
    def left(self) -> set[int]:
        """The partitions with entries that were read and wait for the next turn."""
        return set(self._left)

    def take_left(self) -> dict[int, Entries]:
        """Return the entries that the last turn left, and forget them here."""
        left, self._left = self._left, {}
        return left

    def leave_left(self, entries: dict[int, Entries]) -> None:
        """Keep these entries for the next turn. A restore drops them, because it reads them again."""
        self._left |= entries

    def renew_leases(self) -> None:
        """Renew the leases if it is time, and drop the partitions that another worker has taken."""
        for lost in self._assignment.renew_if_due(self.held):
            self.drop(lost.partition, "lease lost")

    def has_surplus(self) -> bool:
        """Tell whether we hold more than the fair share."""
        return bool(self._assignment.surplus(self.held))

    def release_surplus(self) -> None:
        """Give back the partitions beyond the fair share that have nothing uncommitted."""
        surplus = [held for held in self._assignment.surplus(self.held) if not self._is_dirty(held.partition)]
        for held in surplus:
            self._forget(held.partition)
        self._assignment.release(surplus)
        if surplus:
            log.info("partitions released", partitions=[held.partition for held in surplus])

    def _is_dirty(self, partition: int) -> bool:
        return partition in self.states and self.states[partition].uncommitted.dirty

    def take_one(self) -> None:
        """Take one free partition if we hold less than the fair share."""
        if taken := self._assignment.take_one(self.held):
            TAKEOVERS.inc()
            self._figures.begin(taken.partition)
            self._begin(taken)

    def take_back(self) -> None:
        """Restore the partitions that were set aside and whose keys are right again."""
        for held in self._set_aside.put_right():
            self._begin(held)

    def _begin(self, held: Held) -> None:
        self.states[held.partition] = PartitionState(held, position=START, limits=self._limits)
        self.restore(held.partition)

    def restore(self, partition: int, *, from_start: bool = False) -> None:
        """Go back to the committed state and read again: at a start, a take-over, missing frames, anything unexpected.

        from_start: read the stream from its start, because its entries have other ids than when they were committed.
        """
        self._left.pop(partition, None)
        state = self._restorer.restore(self.states[partition], from_start=from_start)
        if state is None:
            self.drop(partition, "taken by another worker")
            return
        self.states[partition] = state
        self._figures.count_restore()

    def restore_all(self) -> None:
        """Set aside the partitions with a foreign key, and restore all others."""
        for partition in self._set_aside.check(self.states):
            self._leave(partition)
        for partition in list(self.states):
            self.restore(partition)

    def drop(self, partition: int, why: str) -> None:
        """Forget a partition that another worker owns now."""
        if self._forget(partition):
            log.info("partition dropped", partition=partition, why=why)

    def clear(self) -> None:
        """Forget every state: they may differ from the committed ones. The next owner restores them."""
        self._left.clear()
        self.states.clear()

    def _forget(self, partition: int) -> bool:
        """Forget a partition; return whether it was here."""
        self._leave(partition)
        return self.states.pop(partition, None) is not None or self._set_aside.drop(partition)

    def _leave(self, partition: int) -> None:
        self._left.pop(partition, None)
        for part in self._parts:
            part.leave(partition)
