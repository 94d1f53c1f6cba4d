"""When the market of a live feed trades: whether its silence and its gaps mean anything."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import structlog

from ...contracts.errors import ServerAway, SetupError, first_line
from ...contracts.market_hours import NO_CLOSURES, Closures, day_of, hours_of, is_market_open, is_traded, night_of
from ...db.postgres import Connection, connect
from ...db.sessions import market_closures

log = structlog.get_logger()

_READ_EVERY_S = 30.0
# A longer gap is cut at the hours without trading. A shorter one is requested whole: this is cheap, and a simulated
# market trades at any hour, even on a holiday.
_LONG_MS = 4 * 3600 * 1000


class LiveHours:
    """The hours of one feed's market, with the table market_closure as last read. Any thread may ask.

    watches_always: silence means a dead connection at any hour (`--watch always`): then the market trades at any hour,
    too. never_closes: it does (`--always-open`).
    """

    def __init__(self, database_url: str, *, watches_always: bool, never_closes: bool) -> None:
        self._database_url = database_url
        self._watches_always = watches_always
        self._never_closes = never_closes or watches_always
        self._closures: Closures = NO_CLOSURES
        self._read_at_s = 0.0  # monotonic
        self._fault = ""

    def read(self, connection: Connection) -> None:
        """Read the closures. Raises psycopg.Error."""
        self._closures = market_closures(connection)
        self._read_at_s = time.monotonic()

    def refresh(self) -> None:
        """Read the closures every 30 s, by a connection of its own; without the database they stay as they are."""
        if time.monotonic() < self._read_at_s + _READ_EVERY_S:
            return
        self._read_at_s = time.monotonic()
        try:
            with connect(self._database_url, name="tickstock-hours") as connection:
                self.read(connection)
        except (psycopg.Error, SetupError, ServerAway) as e:
            if first_line(e) != self._fault:
                log.warning("closures of the market cannot be read: unchanged", why=first_line(e))
            self._fault = first_line(e)
            return
        self._fault = ""

    def is_watched(self, at: datetime) -> bool:
        """Tell whether a silent connection is a dead one at a time."""
        return self._watches_always or is_market_open(at, self._closures)

    def is_traded(self, at: datetime) -> bool:
        """Tell whether the market trades at a time."""
        return self._never_closes or is_traded(at, self._closures)

    def parts(self, first_ms: int, last_ms: int) -> list[tuple[int, int]]:
        """Return the parts of a gap in which something may have been missed."""
        if self._never_closes:
            return [(first_ms, last_ms)]
        return market_parts(first_ms, last_ms, self._closures)


def market_parts(first_ms: int, last_ms: int, closures: Closures = NO_CLOSURES) -> list[tuple[int, int]]:
    """Cut a long gap into trading hours, the extended hours and the night included: in between nothing was missed."""
    if last_ms - first_ms <= _LONG_MS:
        return [(first_ms, last_ms)]
    day, last_day = day_of(_at(first_ms)), day_of(_at(last_ms)) + timedelta(days=1)  # its night may have begun
    parts = []
    while day <= last_day:
        if hours := hours_of(day, closures):
            begins, _ = night_of(day, closures) or (hours.first_trades, None)
            part = (max(first_ms, _ms(begins)), min(last_ms, _ms(hours.last_trades) - 1))
            if part[0] <= part[1]:
                parts.append(part)
        day += timedelta(days=1)
    return parts


def at_clock(now_ms: Callable[[], int], ask: Callable[[datetime], bool]) -> Callable[[], bool]:
    """Return a question about a time as a question about now."""
    return lambda: ask(_at(now_ms()))


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
