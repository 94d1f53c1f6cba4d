"""The database's clock: the same for every process, whatever the clock of its machine says."""

from dataclasses import replace
from datetime import UTC, datetime

from ..postgres import Connection
from ..queries import query
from ..world import World


def database_s(connection: Connection) -> float:
    """Return the time of the database's clock, Unix seconds."""
    (now_s,) = connection.execute(query("database_clock")).fetchone() or (0.0,)
    return float(now_s)


def database_now(connection: Connection) -> datetime:
    """Return the time of the database's clock, UTC."""
    return datetime.fromtimestamp(database_s(connection), UTC)


class DatabaseClock:
    """The database's time for a process that also needs it while the database does not answer.

    Between two readings this process's steady clock continues it.
    """

    def __init__(self, world: World) -> None:
        """world: its clock of the day counts until the first reading."""
        self._steady = world.monotonic_ns
        self._ahead_ns = world.unix_ns() - world.monotonic_ns()  # of the steady clock
        self.world = replace(world, unix_ns=self._unix_ns)

    def read(self, connection: Connection) -> None:
        """Read the database's clock. Raises psycopg.Error."""
        self._ahead_ns = round(database_s(connection) * 1e9) - self._steady()

    def _unix_ns(self) -> int:
        return self._steady() + self._ahead_ns
