"""Which symbols have bars lately, and which had some and have none any more. Looked up now and then: it is dear."""

import math

from ...contracts.fleet.fleet_look import Freshness
from ..postgres import Connection
from ..queries import query

_LOOK_EVERY_S = 15.0  # one index step for each symbol: 10,000 take about 50 ms
_ACTIVE_MINUTES = 5
_STALE_MINUTES = 8 * 60
_LISTED_SYMBOLS = 50


class FreshnessReader:
    """Looks again once 15 s have passed, and until then returns what it saw."""

    def __init__(self) -> None:
        self._seen = Freshness(0, 0, [])
        self._due_s = -math.inf

    def look(self, connection: Connection, now_s: float) -> Freshness:
        """Return the state read in the last 15 s. now_s: monotonic seconds. Raises psycopg errors."""
        if now_s >= self._due_s:
            values = {"active": _ACTIVE_MINUTES, "stale": _STALE_MINUTES, "listed": _LISTED_SYMBOLS}
            self._seen = Freshness(*(connection.execute(query("symbol_freshness"), values).fetchone() or ()))
            self._due_s = now_s + _LOOK_EVERY_S
        return self._seen
