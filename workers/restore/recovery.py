"""While a server is away, a worker waits with growing pauses; then it restores the committed state."""

from collections.abc import Callable

import psycopg
from redis.exceptions import RedisError, ResponseError

from ...contracts.errors import ServerAway
from ...contracts.server import SERVERS
from ...contracts.stop import Stop
from ...db import postgres, redis
from ...db.backoff import Backoff
from ...db.outage import Outage, server_of
from ...db.postgres import Database
from ...db.vitals import VITALS
from ...db.world import World

_FOREIGN_IN_A_ROW = 3  # errors of a key with a wrong type, one after another; more cannot all be keys of partitions
AWAY = (psycopg.Error, RedisError, OSError, ServerAway)  # errors while a server is away; some also have other causes


class Recovery:
    """Waits until both servers serve again.

    reconnect: opens what was lost and restores all partitions; raises one of AWAY while a server is still away.
    """

    def __init__(self, database: Database, *, stop: Stop, world: World, reconnect: Callable[[], None]) -> None:
        self._world = world
        self._database = database
        self._stop = stop
        self._reconnect = reconnect
        self._failures = 0  # since the last turn without an error
        self._served_since: float | None = None  # monotonic time; None: no server was ever away
        self._backoff = Backoff(world)
        self._outages = {server: Outage(server, self._backoff) for server in SERVERS}

    @property
    def is_over(self) -> bool:
        """Tell whether a whole turn went well since the last error."""
        return not self._failures

    @property
    def served_s(self) -> float | None:
        """For how many seconds both servers have served since one was away; None if none ever was."""
        if self._failures:
            return 0.0
        return None if self._served_since is None else self._world.monotonic_s() - self._served_since

    def note_served(self) -> None:
        """Record that both servers serve. Call it after a whole turn: a full Redis still answers reads."""
        if self._failures:
            self._failures = 0
            self._served_since = self._world.monotonic_s()
            VITALS.serves("redis")
            for outage in self._outages.values():
                outage.end()

    def wait_until_served(self, error: Exception) -> bool:
        """Wait until the servers can be reached again; return False if the stop comes first.

        Raises the error if it does not mean that a server is away. Whether both serve, the next turn shows.
        """
        if not self._is_away(error):
            raise error
        # A statement that was refused may have left something behind: begin with a new connection then, too.
        if isinstance(error, psycopg.Error) and not postgres.is_lost(self._database.connection, error):
            self._database.close()
        # A key with a wrong type is set aside at the restore, which logs more about it.
        if not redis.is_foreign(error) or self._failures > _FOREIGN_IN_A_ROW:
            self._log_away(error)
        _note_lost(error)
        while True:
            VITALS.turn()
            if self._failures:
                self._world.wait(self._stop, self._backoff.pause_s())
            self._failures += 1
            if self._stop.is_set():
                return False
            try:
                self._reconnect()
            except AWAY as again:
                self._note_still_away(again)
            else:
                return True

    def _note_still_away(self, error: Exception) -> None:
        if not self._is_away(error):
            raise error
        if isinstance(error, psycopg.Error):
            self._database.close()  # half prepared, or a standby
        _note_lost(error)
        self._log_away(error)

    def _is_away(self, error: Exception) -> bool:
        if isinstance(error, psycopg.Error):
            return postgres.is_lost(self._database.connection, error) or postgres.can_pass(error)
        return not isinstance(error, ResponseError) or redis.can_pass(error)

    def _log_away(self, error: Exception) -> None:
        """Log which server is away, and what a person can do."""
        do = postgres.advice(error) if isinstance(error, psycopg.Error) else redis.advice(error)
        self._outages[server_of(error)].say(error, do=do)


def _note_lost(error: Exception) -> None:
    """Record which server did not serve.

    ServerAway is recorded already; a lost group or a foreign key is not an outage.
    """
    if isinstance(error, psycopg.Error):
        VITALS.lost("postgresql")
    elif not isinstance(error, ServerAway) and not redis.is_gone(error) and not redis.is_foreign(error):
        VITALS.lost("redis")
