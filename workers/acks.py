"""⑧ Ack and trim committed entries, and tell producers which numbers are done; also while Redis is full."""

from collections.abc import Mapping, Sequence

import structlog

from ..contracts.partition import Position
from ..db import redis
from ..db.redis import Client
from .commit.plan import PartitionPlan
from .partition.partition_state import PartitionState
from .partition_reader import PartitionReader

log = structlog.get_logger()

_PRESSED_SHARE = 0.7  # of maxmemory; producers wait at 0.9


class Acks:
    """Acks committed entries. retention_s: how long committed entries are kept, if Redis has room."""

    def __init__(self, client: Client, reader: PartitionReader, *, retention_s: float) -> None:
        self._client = client
        self._reader = reader
        self._retention_ms = int(retention_s * 1000)
        self._pressed = False  # Redis is nearly full
        self._undone: dict[int, dict[str, int]] = {}  # `done` numbers that Redis had no room for

    def ack(self, plans: Sequence[PartitionPlan], states: Mapping[int, PartitionState]) -> None:
        """Advance the states of committed plans, then ack and trim. states: of all partitions."""
        acked, trim_to = {}, {}
        keep_ms = 0 if self._pressed else self._retention_ms
        for plan in plans:
            p, heard = plan.state.partition, plan.state.uncommitted.heard
            acked[p] = plan.state.committed(plan.position, plan.closed, plan.marks, plan.waiting, held=plan.held_after)
            done = {producer: number for producer, number in plan.state.done.items() if producer in heard}
            self.note_done(p, done)
            trim_to[p] = Position(max(0, plan.position.ms - keep_ms), plan.position.seq if not keep_ms else 0)
        self._send(acked, trim_to, states)

    def note_done(self, partition: int, numbers: Mapping[str, int]) -> None:
        """Record the numbers that producers may forget; they are sent with the next ack, or by `send`."""
        self._undone.setdefault(partition, {}).update(numbers)

    def send(self, states: Mapping[int, PartitionState]) -> None:
        """Send the waiting `done` numbers."""
        self._send({}, {}, states)

    def _send(
        self, acked: dict[int, list[bytes]], trim_to: dict[int, Position], states: Mapping[int, PartitionState]
    ) -> None:
        """Ack and trim. If Redis is out of memory, keep the `done` numbers for later.

        Then drop the retention, so that committed entries make room for new ones.
        """
        refused = self._reader.ack(acked, self._undone, trim_to)
        if refused:
            log.warning("retention shortened, because Redis is nearly full", why=refused)
            self._trim(states)
        else:
            self._undone = {}

    def watch_memory(self, states: Mapping[int, PartitionState]) -> None:
        """Drop the retention while Redis is nearly full: producers wait then, and only a trim lets them continue."""
        pressed = redis.memory_share(self._client) > _PRESSED_SHARE
        if pressed and not self._pressed:
            log.warning("Redis is nearly full: committed entries are trimmed at once, not after the retention")
        self._pressed = pressed
        if pressed:
            self._trim(states)

    def _trim(self, states: Mapping[int, PartitionState]) -> None:
        """Trim the streams up to the committed positions, except of partitions that are being restored."""
        restoring = self._reader.restoring
        self._reader.ack({}, {}, {p: state.position for p, state in states.items() if p not in restoring})

    def leave(self, partition: int) -> None:
        """Forget a partition."""
        self._undone.pop(partition, None)
