"""Redis's clock as a worker follows it: checked against PostgreSQL's, each step logged once."""

import structlog

from ..db.look.database_clock import database_s
from ..db.postgres import Database
from ..db.world import World
from .partition.tick_check import MS_NS
from .steady_clock import Reading, SteadyClock

log = structlog.get_logger()


_DRIFT_NS = 100_000  # from one read to the next, more than two clocks drift apart
_STEP_NS = 1_000_000_000  # more than a reply is late


class RedisClock:
    """steady: the clock itself, for a part that reads the time by its own connection.

    read_at_ns: our monotonic time when Redis's clock showed the last reading, or at most some ms later.
    """

    def __init__(self, database: Database, *, world: World) -> None:
        self._database = database
        self.steady = SteadyClock(monotonic_ms=lambda: world.monotonic_ns() // MS_NS, witness_ms=self._database_ms)
        self._world = world
        self.read_at_ns = 0
        self._ahead_ns: int | None = None  # how far our monotonic clock is ahead of Redis's
        self._has_stepped = False  # True after a jump of Redis's clock, while the jump is ignored

    def read(self, redis_ms: int) -> Reading:
        """Return the accepted time. redis_ms: Redis's TIME now, Unix ms."""
        reading = self.steady.read(redis_ms)
        # A reply that came late makes ours look further ahead: the fastest reply tells best.
        ahead_ns = self._world.monotonic_ns() - redis_ms * MS_NS
        if self._ahead_ns is None or abs(ahead_ns - self._ahead_ns) > _STEP_NS:
            self._ahead_ns = ahead_ns
        self._ahead_ns = min(ahead_ns, self._ahead_ns + _DRIFT_NS)
        self.read_at_ns = redis_ms * MS_NS + self._ahead_ns
        self._log_step(redis_ms - reading.ms)
        return reading

    def _database_ms(self) -> int:
        return int(database_s(self._database.connection) * 1000)

    def _log_step(self, ahead_ms: int) -> None:
        if ahead_ms and not self._has_stepped:
            log.error("the clock of Redis has stepped, PostgreSQL's has not: the step is ignored", ahead_ms=ahead_ms)
        elif self._has_stepped and not ahead_ms:
            log.info("the clock of Redis is correct again")
        self._has_stepped = bool(ahead_ms)
