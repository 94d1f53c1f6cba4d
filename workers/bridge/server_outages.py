"""What keeps a bridge from its servers: they are away, busy, refuse a statement, or have no room."""

import psycopg
import structlog
from redis.exceptions import RedisError, ResponseError

from ...contracts.errors import ServerAway
from ...db import postgres, redis
from ...db.backoff import Backoff
from ...db.outage import Outage
from ...db.postgres import Connection
from ...db.vitals import VITALS
from ...db.world import World

log = structlog.get_logger()

_NO_ROOM_WAIT_S = 0.5


class ServerOutages:
    """Notes a bridge's errors, says them once, and tells when to try again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.database = Outage("postgresql", Backoff(world))
        self.redis = Outage("redis", Backoff(world))
        self._refusal = Outage("postgresql", Backoff(world))  # PostgreSQL answers, but refuses a statement
        self._database_is_busy = False
        self._lacks_room = False
        self._no_room_until = 0.0

    @property
    def has_room(self) -> bool:
        """Whether to publish: not for half a second after Redis refused a write."""
        return self._world.monotonic_s() >= self._no_room_until

    @property
    def wait(self) -> bool:
        """Whether the bridge must wait."""
        refuses = self._refusal.is_on and not self._refusal.is_retry_due
        return self.database.is_on or self.redis.is_on or refuses

    def note_database(self, error: psycopg.Error | ServerAway, connection: Connection) -> None:
        """Note that PostgreSQL is away or busy, or refuses a statement that it may accept later; raise other errors."""
        if isinstance(error, psycopg.Error):
            if (error.sqlstate or "").startswith("40"):
                return  # a deadlock: rolled back completely
            if postgres.is_busy(error):
                self._note_busy(error)
                return
            if not postgres.is_lost(connection, error):
                if not postgres.can_pass(error):
                    raise error
                self._refusal.note(error, do=postgres.advice(error))
                VITALS.lost("postgresql")
                return
        VITALS.lost("postgresql")
        self.database.note(error, do=postgres.advice(error) if isinstance(error, psycopg.Error) else "")

    def _note_busy(self, error: psycopg.Error) -> None:
        """Retry in the next turn: the statement itself has already waited."""
        if not self._database_is_busy:
            log.warning("PostgreSQL statement timed out", why=str(error).strip())
        self._database_is_busy = True

    def note_served(self) -> None:
        """Note that PostgreSQL's statements succeed."""
        if self._database_is_busy:
            log.info("PostgreSQL statements succeed again")
        self._database_is_busy = False
        if self._refusal.is_on:
            self._refusal.end()
            VITALS.serves("postgresql")

    def note_redis(self, error: RedisError | OSError) -> None:
        """Note that Redis is away or has no room; raise other errors."""
        if not isinstance(error, ResponseError):
            self.redis.note(error)
            VITALS.lost("redis")
            return
        if not redis.can_pass(error):
            raise error
        self._no_room_until = self._world.monotonic_s() + _NO_ROOM_WAIT_S
        if not self._lacks_room:
            log.warning("publish failed: Redis refuses writes", why=str(error), do=redis.advice(error))
        self._lacks_room = True

    def note_published(self) -> None:
        """Note that Redis accepted a write."""
        if self._lacks_room:
            log.info("publishing resumed: Redis accepts writes")
        self._lacks_room = False

    def end_database(self) -> None:
        """Note that PostgreSQL is back."""
        self.database.end()
        VITALS.serves("postgresql")

    def end_redis(self) -> None:
        """Note that Redis is back."""
        self.redis.end()
        VITALS.serves("redis")
