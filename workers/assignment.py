"""Assign partitions: this worker takes its fair share, one at a time, and releases a surplus. Rows decide."""

import psycopg
import structlog

from ..contracts.errors import LeaseLost, LeaseTaken, SetupError
from ..contracts.lease import Lease
from ..db import lease as leases
from ..db.lease import RENEW_EVERY_S
from ..db.postgres import Database
from ..db.queries import query
from ..db.schema.migrate import expect_partitions
from ..db.world import World
from .partition.partition_state import Held

log = structlog.get_logger()

_LOCK_WAIT = "200ms"  # a commit takes less time; if the row stays locked for longer, the worker looks who locks it
_WORKING_OWNER_WAIT_S = 60.0
DEFINITIONS_CHANNEL = "tickstock_definitions"  # the NOTIFY channel of changed definitions
_LOOK_EVERY_S = 0.2  # between reads of the leases: a killed worker notifies nobody
_STANDBY_LOOK_EVERY_S = 1.0  # without a partition: a hundred such workers are a small load


class Assignment:
    """This worker's leases: its own name, and its partitions."""

    def __init__(self, database: Database, consumer: str, partitions: int, *, world: World) -> None:
        self._world = world
        self._database = database
        self._consumer = consumer
        self._partitions = partitions
        self._name: Lease | None = None
        self._blocked_since: dict[int, float] = {}
        self._renew_at = 0.0
        self._look_at = 0.0
        self._share = 1  # as last computed
        self._definitions_changed = False
        self._noted: dict[int, int] = {}  # partition -> epoch of the last move with a recorded pause

    def join(self) -> None:
        """Take the consumer's name, and notify the others.

        Raises LeaseTaken if another process has it: after a kill the lease ends within LEASE_TTL_S. Raises SetupError
        if the partition count has changed.
        """
        self._name = leases.take(self._database.connection, f"consumer:{self._consumer}", self._consumer)
        self._expect_partitions()
        self.listen()
        self._database.connection.execute(query("tell_lease_moved"))

    def _expect_partitions(self) -> None:
        try:
            expect_partitions(self._database.connection, self._partitions)
        except SetupError:
            self.leave([])
            raise

    def listen(self) -> None:
        """Listen for moved leases and changed definitions on this connection."""
        self._database.connection.execute(query("listen_leases"))
        self._database.connection.execute(query("listen_definitions"))
        self._look_at = 0.0

    def renew_if_due(self, held: list[Held]) -> list[Held]:
        """Renew all leases every third of their time; return the partitions that were taken from us.

        Raises LeaseLost if another process took our name.
        """
        if self._world.monotonic_s() < self._renew_at or self._name is None:
            return []
        mine = leases.renew(
            self._database.connection, self._consumer, [self._name, *(partition.lease for partition in held)]
        )
        self._renew_at = self._world.monotonic_s() + RENEW_EVERY_S
        if self._name.unit not in mine:
            expect_partitions(self._database.connection, self._partitions)
            raise LeaseLost(f"another worker took the name {self._consumer}: start this one with another --consumer")
        return [partition for partition in held if partition.lease.unit not in mine]

    def moved(self) -> bool:
        """Tell whether to read the leases: one moved, or enough time has passed."""
        told = [notify.channel for notify in self._database.connection.notifies(timeout=0)]
        self._definitions_changed |= DEFINITIONS_CHANNEL in told
        heard = [channel for channel in told if channel != DEFINITIONS_CHANNEL]
        due = self._world.monotonic_s() >= self._look_at
        if heard or due:
            self._look_at = self._world.monotonic_s() + (_LOOK_EVERY_S if self._share else _STANDBY_LOOK_EVERY_S)
        return bool(heard) or due

    def definitions_changed(self) -> bool:
        """Tell whether definitions have changed since the last call."""
        changed, self._definitions_changed = self._definitions_changed, False
        return changed

    def surplus(self, held: list[Held]) -> list[Held]:
        """Return the partitions beyond the fair share."""
        return sorted(held, key=lambda partition: partition.partition)[self._fair_share() :]

    def take_one(self, held: list[Held]) -> Held | None:
        """Take one free partition if we have less than the fair share."""
        if len(held) >= self._fair_share():
            return None
        for (partition,) in self._database.connection.execute(query("free_partitions")).fetchall():
            if taken := self._take(partition):
                self._look_at = 0.0  # there may be another
                return taken
        return None

    def _fair_share(self) -> int:
        """Return floor(P/n), plus one for the first P mod n workers by name."""
        names = [name for (name,) in self._database.connection.execute(query("live_consumers"))]
        share, rest = divmod(self._partitions, max(1, len(names)))
        self._share = share + (self._consumer in names[:rest])
        return self._share

    @property
    def stands_by(self) -> bool:
        """Tell whether other workers own all partitions."""
        return self._share == 0

    def _take(self, partition: int) -> Held | None:
        connection = self._database.connection
        token = self._world.token()
        try:
            with connection.transaction():
                connection.execute(query("limit_lock_wait"), {"wait": _LOCK_WAIT})
                connection.execute(query("lock_checkpoint_for_take"), {"partition": partition})
                lease = leases.take(connection, f"partition:{partition}", self._consumer)
                values = {"partition": partition, "epoch": lease.epoch, "token": token}
                connection.execute(query("refence_checkpoint"), values)
        except LeaseTaken:
            return None
        except psycopg.errors.LockNotAvailable:
            self._end_former_owner(partition)
            return None
        self._blocked_since.pop(partition, None)
        log.debug("partition taken", partition=partition, epoch=lease.epoch)
        return Held(partition, lease, token)

    def _end_former_owner(self, partition: int) -> None:
        """End the backend that locks the row if it waits for its client: no timeout ends a stalled COPY."""
        since = self._blocked_since.setdefault(partition, self._world.monotonic_s())
        values = {"unit": f"partition:{partition}"}
        row = self._database.connection.execute(query("former_owner"), values).fetchone()
        if row is None:
            return
        pid, waits_for_client = row
        if waits_for_client or self._world.monotonic_s() > since + _WORKING_OWNER_WAIT_S:
            log.warning("former owner ended", partition=partition, backend=pid)
            self._database.connection.execute(query("end_backend"), {"pid": pid})

    def note_pause(self, held: Held, *, served_s: float | None) -> float | None:
        """Store, once per move, for how many seconds nobody processed the partition before it moved to us; return it.

        None if it had no owner before, if this move is recorded already, or if a server was away meanwhile. served_s:
        how long both servers have answered since one of them was away; None: neither was.
        """
        if self._noted.get(held.partition) == held.lease.epoch:
            return None
        values = {"unit": held.lease.unit, "epoch": held.lease.epoch, "served_s": served_s}
        (pause_s,) = self._database.connection.execute(query("note_pause"), values).fetchone() or (None,)
        self._noted[held.partition] = held.lease.epoch
        return None if pause_s is None else float(pause_s)

    def release(self, held: list[Held]) -> None:
        """Release partitions, for workers with too few."""
        if held:
            leases.release(self._database.connection, self._consumer, [partition.lease for partition in held])

    def leave(self, held: list[Held]) -> None:
        """Release everything, the name included."""
        own = [self._name] if self._name else []
        leases.release(self._database.connection, self._consumer, [*(partition.lease for partition in held), *own])
