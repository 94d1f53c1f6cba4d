"""What TimescaleDB wants of who writes bars: its limit lifted, and new chunks made by one at a time.

Nothing here does anything on plain PostgreSQL.
"""

import numpy as np

from ...contracts.ticks import Column
from ..postgres import Connection
from ..queries import query

_HOUR = 60  # minutes: the longest timeframe, whose bar begins at most so long before its last minute


def lift_limits(connection: Connection) -> None:
    """Let this session change any number of rows of compressed chunks in a transaction.

    By default 100,000 are decompressed at most, and a commit that needs more would fail for ever.
    """
    connection.execute(query("lift_decompression_limit"))


class Chunks:
    """Which minutes the hypertables of bars have chunks for, as far as this session has asked."""

    def __init__(self, connection: Connection) -> None:
        (has_hypertables,) = connection.execute(query("has_hypertables")).fetchone() or (False,)
        self._has_hypertables = bool(has_hypertables)
        self._spans: dict[str, set[tuple[int, int]]] = {}  # by table: from minute, before minute

    def lacks(self, connection: Connection, minutes: Column) -> bool:
        """Tell whether a bar of these minutes (since 1970), or a longer one around it, has no chunk yet.

        Asks the database where it does not know; not to be called within a pipeline.
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
    """Be the only one who makes chunks until this transaction ends; the first thing in it."""
    connection.execute(query("lock_chunk_making"))
