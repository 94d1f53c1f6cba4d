"""The upkeep of a worker that has read everything: missing frames, and numbers of producers that ended long ago."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

import structlog
from redis.exceptions import ResponseError

from ..contracts.bounds import MAX_PRODUCERS
from ..contracts.names import flow_key
from ..contracts.partition import Position
from ..db import redis
from ..db.postgres import Database
from ..db.queries import query
from ..db.redis import Client
from ..db.streams.flow import fields_of, want_values
from ..db.world import World
from .partition.partition_state import PartitionState
from .partition_reader import PartitionReader

log = structlog.get_logger()

_CLEAN_EVERY_S = 3600.0
_CROWD = MAX_PRODUCERS // 2
_FORGET_FRAMES_MS = 23 * 3_600_000  # an old producer's lease ended at least 24 h ago, so its frames are older


class Upkeep:
    """Maintains the producers' numbers. hole_wait_s: the longest wait for missing live frames."""

    def __init__(
        self, client: Client, database: Database, reader: PartitionReader, *, hole_wait_s: float, world: World
    ) -> None:
        self._world = world
        self._client = client
        self._database = database
        self._reader = reader
        self._hole_wait_ms = int(hole_wait_s * 1000)
        # (partition, producer, number below the missing frames) -> when we asked first
        self._asked: dict[tuple[int, str, int], float] = {}
        self._clean_at = 0.0

    def give_up_holes(
        self,
        states: Mapping[int, PartitionState],
        read_ms: int,
        between: Callable[[], None] = lambda: None,
        *,
        among: Collection[int],
    ) -> bool:
        """Ask producers for missing frames; count those that waited too long as lost. Return whether any was lost.

        among: the partitions that were read to their ends, at read_ms. between: called during long work. The wait
        begins when we ask: later frames may have come long before, while no worker read. A restore does not restart the
        wait; otherwise a partition that is restored often would wait forever.
        """
        now = self._world.monotonic_s()
        restoring = self._reader.restoring
        seen = {p: state for p, state in states.items() if p in among and p not in restoring}
        holes = [state for state in seen.values() if state.holes]
        asked = {key: since for key, since in self._asked.items() if key[0] in states and key[0] not in seen}
        for state in holes:
            for producer, flow in state.holes:
                key = (state.partition, producer, flow.number)
                asked[key] = self._asked.get(key, now)
        self._asked = asked
        if not holes:
            return False
        lost = False
        for state in holes:
            self.ask_again(state, [producer for producer, _ in state.holes])
            given_up = state.give_up_holes(
                read_ms,
                hole_wait_ms=self._hole_wait_ms,
                now_ns=self._world.monotonic_ns(),
                only=self._waited_for(state, now),
                between=between,
            )
            for producer, (first, last) in given_up:
                log.error("ticks lost", partition=state.partition, producer=producer, after=first, through=last)
                lost = True
        return lost

    def _waited_for(self, state: PartitionState, now: float) -> set[str]:
        """Return the producers that were asked long enough ago."""
        until = now - self._hole_wait_ms / 1000
        return {p for p, flow in state.holes if self._asked[state.partition, p, flow.number] <= until}

    def ask_again(self, state: PartitionState, producers: Sequence[str]) -> None:
        """Ask producers to send again after the number that we reached: `want:PRODUCER`."""
        wanted = want_values({p: state.flows[p].number if p in state.flows else 0 for p in producers})
        if not wanted:
            return
        try:
            self._client.hset(flow_key(state.partition), mapping=wanted)
        except ResponseError as e:
            if not redis.is_out_of_memory(e):  # if Redis is full, ask later
                raise

    def drop_old_producers(self, states: Mapping[int, PartitionState]) -> None:
        """Forget the numbers of live producers whose lease ended a day ago, once an hour; at once if too many."""
        for state in states.values():
            if len(state.flows) > _CROWD and not state.holes:
                self._thin_out(state)
        if self._world.monotonic_s() < self._clean_at:
            return
        self._clean_at = self._world.monotonic_s() + _CLEAN_EVERY_S
        names = [name for (name,) in self._database.connection.execute(query("ended_producers"))]
        for state in states.values():
            old = [name for name in names if name in state.flows and name not in state.uncommitted.counts]
            if old and not state.holes:
                # First trim their frames: without numbers they would count again.
                long_ago = Position(max(0, redis.redis_ms(self._client) - _FORGET_FRAMES_MS), 0)
                self._reader.trim(state.partition, min(long_ago, state.position.after()))
                self._forget(state, old)
            self._drop_fields(state)

    def _thin_out(self, state: PartitionState) -> None:
        """Forget the names that PostgreSQL does not know: any sender may invent names."""
        if names := self._over(state, state.flows.keys() - state.uncommitted.counts.keys()):
            # Trim all that is committed, without the retention: without numbers these frames would count again if they
            # were read again.
            self._reader.trim(state.partition, state.position.after())
            self._forget(state, names)
            log.warning("numbers of ended producers deleted", partition=state.partition, names=len(names))

    def _over(self, state: PartitionState, names: Collection[str]) -> list[str]:
        """Return those of some producers from which no frame is expected in a partition."""
        values = {"names": sorted(names), "partition": state.partition}
        return [name for (name,) in self._database.connection.execute(query("producers_that_are_over"), values)]

    def _drop_fields(self, state: PartitionState) -> None:
        """Delete the numbers in Redis of ended replays and of unknown names."""
        fields = {field: _producer_of(field) for field in self._client.hgetall(flow_key(state.partition))}
        names = {name for name in fields.values() if name is not None} - state.flows.keys()
        over = set(self._over(state, names))
        if gone := [field for field, name in fields.items() if name is None or name in over]:
            self._client.hdel(flow_key(state.partition), *gone)

    def _forget(self, state: PartitionState, producers: Sequence[str]) -> None:
        """Forget the numbers of producers whose frames were trimmed."""
        self._client.hdel(flow_key(state.partition), *fields_of(producers))
        state.forget_producers(producers)


def _producer_of(field: bytes) -> str | None:
    """Return the producer of a field of the flow hash; None if it is not a valid name."""
    _, colon, name = field.partition(b":")
    with suppress(UnicodeDecodeError):
        return name.decode() if colon and b"\0" not in name else None
    return None
