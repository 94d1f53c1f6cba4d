"""A loop of turns that survives the loss of a server: it waits, and begins the turn again."""

from abc import ABC, abstractmethod
from contextlib import suppress

import psycopg
from redis.exceptions import RedisError, ResponseError

from ...contracts.errors import ServerAway
from ...contracts.stop import Stop
from ...db import postgres, redis
from ...db.backoff import Backoff
from ...db.outage import Outage
from ...db.postgres import Database
from ...db.vitals import VITALS
from ...db.world import World

_LOOK_S = 0.05


class PatientLoop(ABC):
    """One connection, one loop. A turn may fail anywhere: the next one does uncommitted work again.

    is_main_loop: the process counts as alive while this loop turns, even while a server is away.
    """

    is_main_loop = False

    def __init__(self, database: Database, *, stop: Stop, world: World) -> None:
        self.database = database
        self.stop = stop
        self._world = world
        self._database_outage = Outage("postgresql", Backoff(world))
        self._redis_outage = Outage("redis", Backoff(world))

    def run(self) -> None:
        """Take turns until the stop event, then leave."""
        while not self.stop.is_set():
            if self.is_main_loop:
                VITALS.turn()
            try:
                if not self._has_servers():
                    self._world.wait(self.stop, _LOOK_S)
                    continue
                self.turn()
                self._database_outage.end()
                self._redis_outage.end()
            except (psycopg.Error, ServerAway) as e:
                self._note_database(e)
            except (RedisError, OSError) as e:
                self._note_redis(e)
        with suppress(psycopg.Error, RedisError, OSError, ServerAway):  # the other processes will notice
            self.leave()
        self.database.close()

    @abstractmethod
    def turn(self) -> None:
        """Take one turn, of at most a second if there is nothing to do."""

    @abstractmethod
    def begin_anew(self) -> None:
        """Reset all state that depended on the lost connection."""

    @abstractmethod
    def leave(self) -> None:
        """Release leases or claims that other processes wait for."""

    def _has_servers(self) -> bool:
        for outage in (self._database_outage, self._redis_outage):
            if outage.is_on and not outage.is_retry_due:
                return False
        if self._database_outage.is_on and postgres.is_lost(self.database.connection, psycopg.OperationalError()):
            self.database.reopen()
            self.begin_anew()
        return True

    def _note_database(self, error: psycopg.Error | ServerAway) -> None:
        """Record that the database is away; raise the error if waiting cannot help, for example a wrong statement."""
        if isinstance(error, psycopg.Error) and not (
            postgres.can_pass(error) or postgres.is_lost(self.database.connection, error)
        ):
            raise error
        VITALS.lost("postgresql")
        do = postgres.advice(error) if isinstance(error, psycopg.Error) else ""
        self._database_outage.note(error, do=do)
        self.begin_anew()

    def _note_redis(self, error: RedisError | OSError) -> None:
        if isinstance(error, ResponseError) and not redis.can_pass(error):
            raise error
        VITALS.lost("redis")
        self._redis_outage.note(error, do=redis.advice(error))
        self.begin_anew()
