"""The database's clock: the same for every process, whatever the clock of its machine says."""

from datetime import UTC, datetime

from .postgres import Connection
from .queries import query


def database_s(connection: Connection) -> float:
    """Return the time of the database's clock, Unix seconds."""
    (now_s,) = connection.execute(query("database_clock")).fetchone() or (0.0,)
    return float(now_s)


def database_now(connection: Connection) -> datetime:
    """Return the time of the database's clock, UTC."""
    return datetime.fromtimestamp(database_s(connection), UTC)
