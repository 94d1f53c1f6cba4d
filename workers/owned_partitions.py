"""The partitions that a worker owns: taken and begun, restored, set aside, given back, or lost to another worker."""

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
from .restorer import Restorer
from .set_aside import SetAside

log = structlog.get_logger()


class Part(Protocol):
    """A part of the worker that keeps something by partition."""

    def leave(self, partition: int) -> None:
        """Do nothing more for a partition."""


class OwnedPartitions:
    """states: of those that are worked on."""

    def __init__(  # what it goes through, and what it fills
        self,
        assignment: Assignment,
        restorer: Restorer,
        *,
        set_aside: SetAside,
        figures: WorkerFigures,
        limits: Limits,
        parts: Sequence[Part],
    ) -> None:
        """parts: of the worker, which forget a partition that goes."""
        self.states: dict[int, PartitionState] = {}
        self._left: dict[int, Entries] = {}  # of the last read: more rows than one turn may take
        self._assignment = assignment
        self._restorer = restorer
        self._set_aside = set_aside
        self._figures = figures
        self._limits = limits
        self._parts = parts

    @property
    def held(self) -> list[Held]:
        """How each is held, those that are set aside, too."""
        return [state.held for state in self.states.values()] + self._set_aside.held

    @property
    def left(self) -> set[int]:
        """The partitions of which something that was read waits for the next turn."""
        return set(self._left)

    def take_left(self) -> dict[int, Entries]:
        """Return what the last turn left, and leave nothing."""
        left, self._left = self._left, {}
        return left

    def leave_left(self, entries: dict[int, Entries]) -> None:
        """Leave what was read to the next turn; a partition that is restored before reads it again."""
        self._left |= entries

    def renew_leases(self) -> None:
        """Renew the leases where it is time, and drop the partitions that another worker has by now."""
        for lost in self._assignment.renew_if_due(self.held):
            self.drop(lost.partition, "lease lost")

    def has_surplus(self) -> bool:
        """Tell whether there are more than the fair share."""
        return bool(self._assignment.surplus(self.held))

    def release_surplus(self) -> None:
        """Give those beyond the fair share back of which all is committed."""
        surplus = [held for held in self._assignment.surplus(self.held) if not self._is_dirty(held.partition)]
        for held in surplus:
            self._forget(held.partition)
        self._assignment.release(surplus)
        if surplus:
            log.info("partitions released", partitions=[held.partition for held in surplus])

    def _is_dirty(self, partition: int) -> bool:
        return partition in self.states and self.states[partition].uncommitted.dirty

    def take_one(self) -> None:
        """Take one free partition where the fair share is not reached."""
        if taken := self._assignment.take_one(self.held):
            TAKEOVERS.inc()
            self._figures.begin(taken.partition)
            self._begin(taken)

    def take_back(self) -> None:
        """Go on with partitions that were set aside, where their keys are right again."""
        for held in self._set_aside.put_right():
            self._begin(held)

    def _begin(self, held: Held) -> None:
        self.states[held.partition] = PartitionState(held, position=START, limits=self._limits)
        self.restore(held.partition)

    def restore(self, partition: int, *, from_start: bool = False) -> None:
        """Go back to the committed state and read again: start, take-over, hole, anything odd: always this.

        from_start: of the stream, because its ids are not those that the committed position knows.
        """
        self._left.pop(partition, None)
        state = self._restorer.restore(self.states[partition], from_start=from_start)
        if state is None:
            self.drop(partition, "taken by another worker")
            return
        self.states[partition] = state
        self._figures.count_restore()

    def restore_all(self) -> None:
        """Restore every partition whose keys are right, and set the others aside."""
        for partition in self._set_aside.check(self.states):
            self._leave(partition)
        for partition in list(self.states):
            self.restore(partition)

    def drop(self, partition: int, why: str) -> None:
        """Forget a partition that is another worker's now."""
        if self._forget(partition):
            log.info("partition dropped", partition=partition, why=why)

    def clear(self) -> None:
        """Forget every state: they may not fit what is committed, and the next owner restores."""
        self._left.clear()
        self.states.clear()

    def _forget(self, partition: int) -> bool:
        """Keep nothing of a partition; return whether it was here."""
        self._leave(partition)
        return self.states.pop(partition, None) is not None or self._set_aside.drop(partition)

    def _leave(self, partition: int) -> None:
        self._left.pop(partition, None)
        for part in self._parts:
            part.leave(partition)
