"""Which symbols have recent bars, and which had some but have none now. Read every 15 s, because it is slow."""

import math

from ...contracts.fleet.fleet_look import Freshness
from ..postgres import Connection
from ..queries import query

_LOOK_EVERY_S = 15.0  # one index step for each symbol: 10,000 take about 50 ms
_ACTIVE_MINUTES = 5
_STALE_MINUTES = 8 * 60
_LISTED_SYMBOLS = 50


class FreshnessReader:
    """Reads every 15 s, and returns the last result in between."""

    def __init__(self) -> None:
        self._seen = Freshness(0, 0, [])
        self._due_s = -math.inf

    def read(self, connection: Connection, now_s: float) -> Freshness:
        """Return the state, at most 15 s old. now_s: monotonic seconds. Raises psycopg errors."""
        if now_s >= self._due_s:
            values = {"active": _ACTIVE_MINUTES, "stale": _STALE_MINUTES, "listed": _LISTED_SYMBOLS}
            self._seen = Freshness(*(connection.execute(query("symbol_freshness"), values).fetchone() or ()))
            self._due_s = now_s + _LOOK_EVERY_S
        return self._seen
