"""A producer's leases: taken before the first frame, renewed by a thread, released at the end.

The thread also records the last number that a live producer has sent. If Redis loses the frames and the producer has
died, only this record shows that ticks are missing (workers/vanished.py).
"""

import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg
import structlog

from ..contracts.errors import LeaseLost, LeaseTaken, ServerAway, SetupError
from ..contracts.lease import Lease
from ..db import lease as leases
from ..db.backoff import Backoff
from ..db.lease import LEASE_TTL_S, RENEW_EVERY_S
from ..db.outage import Outage
from ..db.postgres import Connection, connect
from ..db.queries import query
from ..db.schema.migrate import expect_partitions
from ..db.vitals import VITALS
from ..db.world import REAL, World

log = structlog.get_logger()

_INGEST_UNIT = "ingest"  # only one process may send the live market: a second one would double every volume
_INGEST_WAIT_S = LEASE_TTL_S + 1.0  # the lease of a killed process has ended by then
_NOTE_EVERY_S = 0.5  # ticks that a killed producer sent after its last record are known only by their time
_RELEASE_WAIT_S = 6.0  # longer than a running renewal can take, even if the server does not answer


class ProducerLease:
    """The right to send: `producer:NAME` for a live producer, `replay` for a replay, of which one runs at a time.

    A thread renews it, so that a slow PostgreSQL does not delay the ticks.
    """

    def __init__(
        self,
        url: str,
        unit: str,
        owner: str,
        *,
        wait: Callable[[float], bool],
        is_ingest: bool = False,
        partitions: int | None = None,
        world: World = REAL,
    ) -> None:
        """is_ingest: take the lease `ingest` too. partitions: the number that the frames are made for.

        Raises SetupError if another live process holds that lease, or if the stream has another number of partitions.
        """
        self._world = world
        self._backoff = Backoff(world, first_s=_NOTE_EVERY_S)
        self._outage = Outage("postgresql", self._backoff)
        self._url = url
        self._owner = owner
        self._connection: Connection = connect(url, name="tickstock-producer", impatient=True)
        self._leases: list[Lease] = []
        try:
            if is_ingest:
                self._leases.append(self._take_ingest(wait))
            self._leases.append(self._take(unit, wait))
            if partitions:
                expect_partitions(self._connection, partitions)
        except BaseException:
            with suppress(psycopg.Error):
                leases.release(self._connection, self._owner, self._leases)
            self._connection.close()
            raise
        self._feed = ""
        self._sent: Callable[[], list[int]] = list
        self._noted: list[int] = []
        self._spooled: Callable[[], int] | None = None
        self._noted_spool: int | None = -1  # a former owner may have recorded its own
        self._renew_at = 0.0
        self._lost: LeaseLost | None = None
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def _take_ingest(self, wait: Callable[[float], bool]) -> Lease:
        deadline = self._world.monotonic_s() + _INGEST_WAIT_S
        try:
            return self._take(_INGEST_UNIT, lambda seconds: wait(seconds) or self._world.monotonic_s() > deadline)
        except LeaseTaken as e:
            raise SetupError(f"{e}: two ingests would double every volume; stop that one first") from e

    def _take(self, unit: str, wait: Callable[[float], bool]) -> Lease:
        said = False
        while True:
            try:
                return leases.take(self._connection, unit, self._owner)
            except LeaseTaken as e:
                if not said:
                    log.info("waiting for the lease", unit=unit, why=str(e))
                    said = True
                if wait(0.2):
                    raise

    def note_sent(self, feed: str, sent: Callable[[], list[int]]) -> None:
        """Record from now on how far this producer has sent. sent: returns the highest number of each partition."""
        self._feed, self._sent = feed, sent

    def note_spool(self, spooled: Callable[[], int]) -> None:
        """Record from now on how many bytes wait in this producer's spool. spooled: returns them."""
        self._spooled = spooled

    def check(self) -> None:
        """Raise LeaseLost if another process has taken one of the leases."""
        if self._lost:
            raise self._lost

    def _keep(self) -> None:
        """Renew until released, even while the database is away: an expired lease is ours until another takes it."""
        pause_s = _NOTE_EVERY_S
        while not self._lost and not self._world.wait(self._released, pause_s):
            try:
                self._renew_if_due()
                self._note()
                VITALS.serves("postgresql")
                self._outage.end()
                pause_s = _NOTE_EVERY_S
            except (psycopg.Error, ServerAway) as e:
                VITALS.lost("postgresql")
                self._outage.say(e)
                pause_s = self._backoff.pause_s()

    def _renew_if_due(self) -> None:
        if self._world.monotonic_s() < self._renew_at:
            return
        if self._connection.closed or self._connection.broken:
            self._connection = connect(self._url, name="tickstock-producer", impatient=True)
        held = leases.renew(self._connection, self._owner, self._leases)
        if lost := [lease.unit for lease in self._leases if lease.unit not in held]:
            self._lost = LeaseLost(f"another process took {', '.join(lost)}")
        self._renew_at = self._world.monotonic_s() + RENEW_EVERY_S

    def _note(self) -> None:
        """Record the highest sent numbers and the bytes in the spool, if they changed since the last record."""
        mine = self._leases[-1]  # the producer's own lease
        owned = {"unit": mine.unit, "epoch": mine.epoch, "owner": self._owner}
        sent = self._sent()
        if sent != self._noted and any(sent):
            self._connection.execute(query("note_sent"), owned | {"feed": self._feed, "sent": sent})
            self._noted = sent
        spooled = None if self._spooled is None else self._spooled()
        if spooled != self._noted_spool:
            self._connection.execute(query("note_spool"), owned | {"bytes": spooled})
            self._noted_spool = spooled

    def release(self) -> None:
        """Release the leases."""
        self._released.set()
        self._thread.join(_RELEASE_WAIT_S)
        if self._thread.is_alive():
            log.debug("lease left to end by itself", why="the database does not answer")
            return
        try:
            self._note()
            leases.release(self._connection, self._owner, self._leases)
            self._connection.close()
        except psycopg.OperationalError as e:
            log.debug("lease left to end by itself", why=str(e).strip())
