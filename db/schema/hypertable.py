"""ohlcv_1min as a hypertable of TimescaleDB: its chunks and the policies for old ones.

Higher timeframes are plain, unless the application made them hypertables.
"""

from typing import NamedTuple

import psycopg

from ...contracts.errors import SetupError, UsageError
from ..postgres import Connection
from ..queries import query

CHUNK_DAYS = 1


class Hypertable(NamedTuple):
    """How the bars are stored. None: no such policy. locks: how many a statement on all chunks takes."""

    chunk_days: float
    chunks: int
    compresses: bool
    compress_after_days: float | None
    drop_after_days: float | None
    locks: int
    room_for_locks: int

    def __str__(self) -> str:
        kept = "kept for ever" if self.drop_after_days is None else f"dropped after {_days(self.drop_after_days)}"
        packed = f"compressed after {_days(self.compress_after_days)}" if self.compress_after_days else "not compressed"
        return f"{self.chunks} chunks of ohlcv_1min, of {_days(self.chunk_days)} each, {packed}, {kept}"


class DaysInChunks(NamedTuple):
    """A hypertable of daily, weekly or monthly bars. locks: how many a statement on all chunks takes."""

    name: str
    chunks: int
    locks: int
    room_for_locks: int


class Wishes(NamedTuple):
    """Settings to change, in days. None: unchanged; 0: no such policy."""

    chunk_days: int | None = None
    compress_after_days: int | None = None
    drop_after_days: int | None = None


def read_hypertable(connection: Connection) -> Hypertable | None:
    """Return how ohlcv_1min is stored; None if it is a plain table."""
    if connection.execute(query("has_hypertables")).fetchone() != (True,):
        return None
    row = connection.execute(query("hypertable_of_bars"), {}).fetchone()
    if row is None:
        return None
    chunk_days, chunks, compresses, compress_after_days, drop_after_days, locks, room = row
    return Hypertable(
        float(chunk_days),
        chunks,
        compresses,
        None if compress_after_days is None else float(compress_after_days),
        None if drop_after_days is None else float(drop_after_days),
        int(locks),
        room,
    )


def read_days_in_chunks(connection: Connection) -> list[DaysInChunks]:
    """Return the tables of daily, weekly and monthly bars that are hypertables."""
    if connection.execute(query("has_hypertables")).fetchone() != (True,):
        return []
    return [DaysInChunks(*row) for row in connection.execute(query("hypertables_of_days"), {})]


def set_hypertable(connection: Connection, wishes: Wishes) -> Hypertable:
    """Make ohlcv_1min a hypertable if it is not one, apply the settings, and return the result.

    All or nothing. Raises UsageError if the database has no TimescaleDB, SetupError if it refuses.
    """
    if connection.execute(query("has_hypertables")).fetchone() != (True,):
        raise UsageError(
            "--timescale: this database has no TimescaleDB: preload its library, and run `CREATE EXTENSION timescaledb`"
        )
    try:
        with connection.transaction():
            _set(connection, wishes)
    except psycopg.Error as e:
        raise SetupError(f"--timescale: {str(e).strip().splitlines()[0]}") from e
    made = read_hypertable(connection)
    if made is None:
        raise SetupError("--timescale: ohlcv_1min is still a plain table")
    return made


def _set(connection: Connection, wishes: Wishes) -> None:
    days = {"days": wishes.chunk_days or CHUNK_DAYS}
    standing = read_hypertable(connection)
    if standing is None:
        connection.execute(query("make_hypertable"), days)
    elif wishes.chunk_days:
        connection.execute(query("set_chunk_interval"), days)
    if wishes.compress_after_days and not (standing and standing.compresses):
        connection.execute(query("allow_compression"))
    for remove, add, after_days in (
        ("remove_compression_policy", "add_compression_policy", wishes.compress_after_days),
        ("remove_retention_policy", "add_retention_policy", wishes.drop_after_days),
    ):
        if after_days is not None:
            connection.execute(query(remove))
        if after_days:
            connection.execute(query(add), {"days": after_days})


def _days(days: float) -> str:
    return "1 day" if days == 1 else f"{days:g} days"
