"""Count as lost the ticks of ended producers that were sent (PostgreSQL knows) but are not in Redis any more.

A running producer sends lost frames again. An ended one does not, and an empty Redis does not even know them. So the
number that the producer recorded with its lease decides.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from ..db.lease import RENEW_EVERY_S
from ..db.postgres import Database
from ..db.queries import query
from ..db.world import World
from .partition.partition_state import PartitionState
from .partition_reader import PartitionReader

log = structlog.get_logger()

_LOOK_EVERY_S = 5.0
_WHY = "Redis lost them, and their producer has ended"
_PERHAPS_MORE = " (killed: it may have sent more in its last half second)"


class _Rest(NamedTuple):
    """A producer's uncommitted numbers in a partition: above `committed`, up to `sent`; times in Unix s.

    was_killed: it may have sent more after its last record.
    """

    partition: int
    producer: str
    feed: str
    sent: int
    committed: int
    since_s: float
    until_s: float
    was_killed: bool


class Vanished:
    """Counts ticks that no producer sends again and no stream has. wait_s: how long a producer must have ended."""

    def __init__(self, database: Database, reader: PartitionReader, *, wait_s: float, world: World) -> None:
        self._world = world
        self._database = database
        self._reader = reader
        self._values = {"wait_s": wait_s, "renew_s": RENEW_EVERY_S}
        self._look_at = 0.0
        self._read_again: dict[tuple[int, str], int] = {}
        self._found: list[_Rest] = []

    def to_read_again(self, states: Mapping[int, PartitionState]) -> set[int]:
        """Check every few seconds; return the partitions to read from the stream's start before counting a loss.

        Call it when everything was read: ticks missing then were never there, or another client read them.
        """
        self._found = []
        if self._world.monotonic_s() < self._look_at:
            return set()
        self._look_at = self._world.monotonic_s() + _LOOK_EVERY_S
        self._database.connection.execute(query("forget_settled_sent"))
        rows = [_Rest(*row) for row in self._database.connection.execute(query("vanished_sent"), self._values)]
        missing = list(self._missing(rows, states))
        self._found = [rest for rest in missing if self._read_again.get((rest.partition, rest.producer)) == rest.sent]
        self._read_again |= {(rest.partition, rest.producer): rest.sent for rest in missing}
        return {rest.partition for rest in missing if rest not in self._found}

    def _missing(self, rows: Iterable[_Rest], states: Mapping[int, PartitionState]) -> Iterable[_Rest]:
        for rest in rows:
            if rest.partition not in states or rest.partition in self._reader.restoring:
                continue
            flow = states[rest.partition].flows.get(rest.producer)
            if flow is None or (flow.number < rest.sent and not flow.held and not flow.ended):
                yield rest

    def give_up(self, states: Mapping[int, PartitionState]) -> bool:
        """Count as lost the ticks that the second read did not find either; return whether there were any."""
        found = [
            rest for rest in self._found if rest.partition in states and rest.partition not in self._reader.restoring
        ]
        for rest in found:
            numbers, window_ms = (rest.committed, rest.sent), (int(rest.since_s * 1000), int(rest.until_s * 1000))
            ticks = states[rest.partition].give_up_rest(rest.producer, rest.feed, numbers, window_ms)
            log.error(
                "ticks lost",
                partition=rest.partition,
                producer=rest.producer,
                ticks=ticks,
                why=_WHY + (_PERHAPS_MORE if rest.was_killed else ""),
                since=_iso(rest.since_s),
                until=_iso(rest.until_s),
            )
        return bool(found)


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
