"""Bars of the trades sent so far: the tests' oracle, in plain Python, and the events of the channels A and AM.

It shares nothing with workers/partition/bar_book.py on purpose.
"""

from collections import defaultdict
from collections.abc import Iterable, MutableMapping
from operator import itemgetter
from typing import Any, NamedTuple

from ...contracts.bar import MINUTE_MS
from .trade import Trade, decimal_text, micro_shares
from .update_rules import Sets, sets

SECOND_MS = 1_000
_VWAP_DECIMALS = 4


class Bar(NamedTuple):
    """A minute. start_ms: Unix ms. volume: shares, fractions included. vwap: over every trade with volume.

    trade_count: trades with volume.
    """

    symbol: str
    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    trade_count: int


class Window:
    """The sums of one symbol's trades in one span of time."""

    __slots__ = ("close", "closed_at", "count", "dollars", "high", "low", "micros", "open", "opened_at")

    def __init__(self) -> None:
        self.opened_at: tuple[int, int] | None = None  # (time, sequence) of the trade that set the open
        self.closed_at: tuple[int, int] = (0, 0)
        self.open = self.close = 0.0
        self.high, self.low = float("-inf"), float("inf")
        self.micros = self.count = 0
        self.dollars = 0.0

    @property
    def is_bar(self) -> bool:
        """Tell whether a trade has set the prices: volume alone makes no bar."""
        return self.opened_at is not None

    def add(self, trade: Trade, allowed: Sets, micros: int) -> None:
        """Add one trade, in any order. micros: its size in millionths of a share."""
        if allowed.volume:
            self.micros += micros
            self.dollars += trade.price * micros / 1e6
            self.count += 1
        if allowed.high_low:
            self.high, self.low = max(self.high, trade.price), min(self.low, trade.price)
        if allowed.open_close:
            at = (trade.at_ms, trade.sequence)
            if self.opened_at is None or at < self.opened_at:
                self.opened_at, self.open = at, trade.price
            if at >= self.closed_at:
                self.closed_at, self.close = at, trade.price

    def add_second(self, told: "Window", at: tuple[int, int]) -> None:
        """Add one A event. at: its start (Unix ms) and its number among all events."""
        self.micros += told.micros
        low, high = min(told.low, told.open, told.close), max(told.high, told.open, told.close)
        vwap = min(max(round(told.vwap, _VWAP_DECIMALS), low), high)  # a reader limits it to this range
        self.dollars += vwap * told.micros / 1e6
        self.count += 1
        self.high, self.low = max(self.high, told.high), min(self.low, told.low)
        if self.opened_at is None or at < self.opened_at:
            self.opened_at, self.open = at, told.open
        if at >= self.closed_at:
            self.closed_at, self.close = at, told.close

    @property
    def vwap(self) -> float:
        """Return dollars per share; the close if no share was traded."""
        return self.dollars / (self.micros / 1e6) if self.micros else self.close


_Minutes = MutableMapping[str, MutableMapping[int, Window]]  # symbol -> start, Unix ms -> its trades


class Aggregates:
    """The bars of all minutes since the tape's start, and the A and AM events that are due.

    A second is sent once, when it is over; a later trade is sent as a further part of its second, so that each trade is
    in exactly one A. A minute is sent when it is over, and again, complete, after each late trade. Windows with volume
    only are not sent.
    """

    def __init__(self) -> None:
        self._minutes: _Minutes = defaultdict(lambda: defaultdict(Window))
        self._minutes_of_seconds: _Minutes = defaultdict(lambda: defaultdict(Window))
        self._days: dict[str, Window] = defaultdict(Window)
        self._seconds: dict[tuple[str, int], Window] = defaultdict(Window)  # not sent yet
        self._changed: set[tuple[str, int]] = set()  # minutes that have changed since they were sent
        self._told_seconds = 0

    def add(self, trades: Iterable[Trade]) -> None:
        """Add trades."""
        for trade in trades:
            symbol, at_ms = trade.symbol, trade.at_ms
            allowed, micros = sets(trade.conditions, at_ms), micro_shares(trade.decimal_size)
            minute = at_ms - at_ms % MINUTE_MS
            self._changed.add((symbol, minute))
            self._minutes[symbol][minute].add(trade, allowed, micros)
            self._seconds[symbol, at_ms - at_ms % SECOND_MS].add(trade, allowed, micros)
            self._days[symbol].add(trade, allowed, micros)

    def due(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the A and AM events that are due and were not sent, oldest first."""
        seconds = [key for key in self._seconds if key[1] + SECOND_MS <= now_ms]
        minutes = [key for key in self._changed if key[1] + MINUTE_MS <= now_ms]
        self._changed.difference_update(minutes)
        told = [("A", key, SECOND_MS, self._seconds.pop(key)) for key in seconds]
        told += [("AM", key, MINUTE_MS, self._minutes[key[0]][key[1]]) for key in minutes]
        told = [event for event in told if event[3].is_bar]
        told.sort(key=lambda event: (event[1][1] + event[2], event[0], event[1][0]))
        for name, (symbol, at_ms), _, window in told:
            if name == "A":
                self._told_seconds += 1
                minute = self._minutes_of_seconds[symbol][at_ms - at_ms % MINUTE_MS]
                minute.add_second(window, (at_ms, self._told_seconds))
        return [self._event(*event) for event in told]

    def bars(
        self, symbol: str | None = None, first_ms: int = 0, last_ms: int | None = None, *, channel: str = "T"
    ) -> list[Bar]:
        """Return bars that start at first_ms to last_ms (Unix ms, both inclusive), by symbol and time.

        channel: T: of the trades; A: of the seconds sent, each counted as one.
        """
        minutes = self._minutes_of_seconds if channel == "A" else self._minutes
        names = sorted(minutes) if symbol is None else [symbol] if symbol in minutes else []
        return [
            Bar(name, at, w.open, w.high, w.low, w.close, w.micros / 1e6, w.vwap, w.count)
            for name in names
            for at, w in sorted(minutes[name].items(), key=itemgetter(0))
            if w.is_bar and at >= first_ms and (last_ms is None or at <= last_ms)
        ]

    def _event(self, name: str, key: tuple[str, int], span_ms: int, window: Window) -> dict[str, Any]:
        """Make an event of https://massive.com/docs/websocket/stocks/aggregates-per-second."""
        symbol, start_ms = key
        day = self._days[symbol]
        return {
            "ev": name,
            "sym": symbol,
            "v": window.micros // 1_000_000,
            "dv": decimal_text(window.micros),
            "av": day.micros // 1_000_000,
            "dav": decimal_text(day.micros),
            "op": day.open,
            "vw": round(window.vwap, _VWAP_DECIMALS),
            "o": window.open,
            "c": window.close,
            "h": window.high,
            "l": window.low,
            "a": round(day.vwap, _VWAP_DECIMALS),
            "z": window.micros // 1_000_000 // max(window.count, 1),
            "s": start_ms,
            "e": start_ms + span_ms,
        }
