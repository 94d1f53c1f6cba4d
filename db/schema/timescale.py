"""What writing bars to TimescaleDB needs: no limit on decompressed rows, and only one process that makes chunks.

On plain PostgreSQL nothing here has an effect.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np

from ...contracts.ticks import Column
from ..postgres import Connection
from ..queries import query

_HOUR = 60  # minutes: the longest timeframe; its bar begins at most this long before its last minute


def lift_limits(connection: Connection) -> None:
    """Let this session change any number of rows of compressed chunks in a transaction.

    By default at most 100,000 rows are decompressed, and a larger commit would always fail.
    """
    connection.execute(query("lift_decompression_limit"))


class Chunks:
    """The minutes for which the hypertables of bars have chunks, as far as this session has read."""

    def __init__(self, connection: Connection) -> None:
        (has_hypertables,) = connection.execute(query("has_hypertables")).fetchone() or (False,)
        self._has_hypertables = bool(has_hypertables)
        self._spans: dict[str, set[tuple[int, int]]] = {}  # by table: from minute, before minute

    def lacks(self, connection: Connection, minutes: Column) -> bool:
        """Tell whether a bar of these minutes (since 1970), or the hourly bar around it, has no chunk yet.

        Reads the database if unknown; do not call it within a pipeline.
        """
        if not self._has_hypertables or not len(minutes):
            return False
        begun = np.unique(np.concatenate([minutes, minutes // _HOUR * _HOUR]))
        if self._covers(begun):
            return False
        self._read(connection, int(begun[0]), int(begun[-1]))
        self._has_hypertables = bool(self._spans)
        return self._has_hypertables and not self._covers(begun)

    def _read(self, connection: Connection, first: int, last: int) -> None:
        values = {"first_minute": first, "last_minute": last}
        for table, start, end in connection.execute(query("chunks_of_bars"), values, prepare=False):
            spans = self._spans.setdefault(table, set())
            if start is not None:
                spans.add((start, end))

    def _covers(self, minutes: Column) -> bool:
        return bool(self._spans) and all(_are_within(minutes, spans) for spans in self._spans.values())


def _are_within(minutes: Column, spans: set[tuple[int, int]]) -> bool:
    if not spans:
        return False
    starts, ends = np.array(sorted(spans)).T
    at = np.searchsorted(starts, minutes, side="right") - 1
    return bool(((at >= 0) & (minutes < ends[at])).all())


def lock_chunk_making(connection: Connection) -> None:
    """Make this transaction the only one that makes chunks, until it ends. It must be its first statement."""
    connection.execute(query("lock_chunk_making"))


def lock_missing_chunks(connection: Connection, days: Sequence[date]) -> None:
    """Before bars of days, weeks and months are written: `lock_chunk_making`, if one of their chunks is missing.

    These tables are hypertables only if the application made them so. Call it before anything locks `symbols`.
    """
    if connection.execute(query("has_hypertables")).fetchone() != (True,):
        return
    if connection.execute(query("days_lack_chunks"), {"days": list(days)}).fetchone() == (True,):
        lock_chunk_making(connection)
