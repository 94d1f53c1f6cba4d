"""The fake server's reference data: daily bars, splits, tickers, holidays, new companies."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

from ...contracts.market_hours import NEW_YORK, hours_of

_FIRST_DAY = date(1970, 1, 1)


class DayRow(NamedTuple):
    """One symbol's daily bar, not adjusted for splits."""

    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass
class Reference:
    """Reference data that a test gives, or that is invented for some symbols.

    days: bars by day. splits, tickers, holidays, listings: rows with the vendor's field names. made_up: symbols with
    invented bars on every trading day that is missing in `days`; repeated calls return the same bars.
    """

    days: dict[date, list[DayRow]] = field(default_factory=dict)
    splits: list[dict[str, Any]] = field(default_factory=list)
    tickers: list[dict[str, Any]] = field(default_factory=list)
    holidays: list[dict[str, Any]] = field(default_factory=list)
    listings: list[dict[str, Any]] = field(default_factory=list)
    market_caps: dict[str, float] = field(default_factory=dict)
    made_up: Sequence[str] = ()

    def bars(self, day: date) -> list[DayRow]:
        """Return the bars of a day."""
        if day in self.days or hours_of(day) is None:
            return self.days.get(day, [])
        return [_made_up(symbol, day) for symbol in self.made_up]

    def bar(self, symbol: str, day: date) -> DayRow | None:
        """Return one symbol's bar of a day."""
        if day in self.days or hours_of(day) is None:
            return next((row for row in self.days.get(day, []) if row.symbol == symbol), None)
        return _made_up(symbol, day) if symbol in self.made_up else None


def made_up_reference(symbols: Sequence[str], today: date) -> Reference:
    """Invent a market of these symbols: each is a listed stock; one of them is new, and one has just split."""
    tickers = [
        {"ticker": symbol, "name": f"{symbol} Incorporated", "market": "stocks", "locale": "us", "type": "CS",
         "primary_exchange": "XNAS", "active": True, "currency_name": "usd"}
        for symbol in symbols
    ]  # fmt: skip
    ex_date = today - timedelta(days=today.weekday())
    splits = [{"ticker": symbols[0], "execution_date": str(ex_date), "split_from": 1, "split_to": 2}]
    listings = [{"ticker": symbols[-1], "listing_date": str(today - timedelta(days=20)), "ipo_status": "history"}]
    caps = {symbol: 1e12 / (place + 1) for place, symbol in enumerate(symbols)}
    return Reference(splits=splits, tickers=tickers, listings=listings, market_caps=caps, made_up=symbols)


def _made_up(symbol: str, day: date) -> DayRow:
    """Return an invented bar that depends only on symbol and day; its open is near the close of the day before."""
    number = (day - _FIRST_DAY).days
    opened, closed = _price(symbol, number - 1), _price(symbol, number)
    high, low = max(opened, closed) * (1 + _noise(symbol, number, "high") / 100), min(opened, closed)
    low *= 1 - _noise(symbol, number, "low") / 100
    volume = float(round(1e6 * (1 + _noise(symbol, number, "volume"))))
    opened, high, low, closed = (round(price, 2) for price in (opened, high, low, closed))
    return DayRow(symbol, opened, high, low, closed, volume)


def _price(symbol: str, number: int) -> float:
    base = 20 + 200 * _noise(symbol, 0, "base")
    wave = sum(math.sin(number / period + 6 * _noise(symbol, period, "wave")) / 20 for period in (3, 17, 90))
    return base * math.exp(wave + _noise(symbol, number, "close") / 50)


def _noise(symbol: str, number: int, of: str) -> float:
    """Return a pseudo-random number from 0 to 1."""
    return zlib.crc32(f"{symbol}|{number}|{of}".encode()) / 2**32


def close_ms(day: date) -> int:
    """Return the vendor's timestamp of a day of the whole market: the end of trading, Unix ms."""
    return round(datetime.combine(day, time(16), NEW_YORK).timestamp() * 1000)


def midnight_ms(day: date) -> int:
    """Return the vendor's timestamp of a symbol's day: its begin in New York, Unix ms."""
    return round(datetime.combine(day, time(), NEW_YORK).timestamp() * 1000)
