"""From signals to trades: at most one position a symbol, and no borrowed money. Pure."""

import heapq
import math
from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from .exits import REASONS
from .market import Closes, Market, Signals
from .orders import NEVER, Orders, find_orders
from .rules import Rules

_AT_OPEN, _IN_BAR = 0, 1


class Trade(NamedTuple):
    """One position from its entry to its exit; prices and money in dollars, slippage included.

    entry_bar, exit_bar: numbers of bars. profit: after both commissions. direction: 1 long, -1 short.
    """

    symbol: int
    pattern: str
    direction: int
    confidence: float
    entry_bar: int
    exit_bar: int
    entry_price: float
    exit_price: float
    shares: int
    commission: float
    profit: float
    reason: str


class Traded(NamedTuple):
    """The trades, ordered by entry. passed_over: reason -> number of signals that opened no position."""

    trades: list[Trade]
    passed_over: dict[str, int]


class _Position(NamedTuple):
    signal: int
    shares: int
    entry_cost: float  # without commission
    paid: float  # commission at the entry


class _Book:
    """The account: realized money, money in open positions, and their value at a time."""

    def __init__(self, closes: Closes, orders: Orders, rules: Rules) -> None:
        # Lists and a memoryview: to read a single number from a numpy array takes ten times as long.
        self._times, self._closes, self._bounds = closes.time.data, closes.close, closes.bounds.tolist()
        self._directions, self._confidences = orders.signals.direction.tolist(), orders.signals.confidence.tolist()
        self._patterns, self._exit_times = orders.signals.pattern, orders.exit_time.tolist()
        self._entries, self._prices, self._bars, self._fills, self._at_open, self._reasons = (
            column.tolist() for column in orders.exits
        )
        self._rules = rules
        self.realized = rules.initial_capital
        self.open: dict[int, _Position] = {}  # by symbol
        self._queue: list[tuple[int, int, int]] = []  # time, phase and symbol of the exits to come
        self.trades: list[Trade] = []

    def close_before(self, time: int) -> None:
        """Close the positions whose exits come before the entries at this time: in earlier bars, or at this open."""
        while self._queue and self._queue[0][:2] <= (time, _AT_OPEN):
            self._close(heapq.heappop(self._queue)[2])

    def close_all(self) -> None:
        """Close all positions that are still open, in the order of their exits."""
        while self._queue:
            self._close(heapq.heappop(self._queue)[2])

    def enter(self, i: int, symbol: int, time: int) -> bool:
        """Open the position of signal i with whole shares; False: there is not enough money for one share."""
        price, rules = self._prices[i], self._rules
        wanted = min(rules.max_position_size * self._equity_before(time), self._free)
        shares = math.floor(wanted / (price * (1 + rules.commission_rate)) + 1e-9)
        if shares < 1:
            return False
        cost = shares * price
        paid = cost * rules.commission_rate
        self.realized -= paid
        self.open[symbol] = _Position(i, shares, cost, paid)
        heapq.heappush(self._queue, (self._exit_times[i], _AT_OPEN if self._at_open[i] else _IN_BAR, symbol))
        return True

    @property
    def _free(self) -> float:
        """Return the money that is not in positions. A short position takes its value of money, as a long one does."""
        if not self.open:
            return self.realized
        return self.realized - sum([position.entry_cost for position in self.open.values()])

    def _equity_before(self, time: int) -> float:
        """Return the equity at the closes of the last bars that begin before a time."""
        if not self.open:
            return self.realized
        return self.realized + sum([self._unrealized(symbol, one, time) for symbol, one in self.open.items()])

    def _unrealized(self, symbol: int, position: _Position, time: int) -> float:
        entry = self._entries[position.signal]
        bar = bisect_left(self._times, time, entry, self._bounds[symbol + 1]) - 1
        if bar < entry:
            return 0.0
        worth = position.shares * float(self._closes[bar])
        gained: float = self._directions[position.signal] * (worth - position.entry_cost)
        return gained

    def _close(self, symbol: int) -> None:
        i, shares, entry_cost, paid = self.open.pop(symbol)
        fill, direction = self._fills[i], self._directions[i]
        paid_at_exit = shares * fill * self._rules.commission_rate
        gained = direction * (shares * fill - entry_cost)
        self.realized += gained - paid_at_exit
        commission, profit = paid + paid_at_exit, gained - paid_at_exit - paid
        entry, left = self._entries[i], self._bars[i]
        what = (symbol, self._patterns[i], direction, self._confidences[i], entry, left, self._prices[i], fill, shares)
        self.trades.append(Trade(*what, commission, profit, REASONS[self._reasons[i]]))


def trade(market: Market, signals: Signals, rules: Rules) -> Traded:
    """Find the exits of the signals, and trade them."""
    return trade_orders(market.closes, find_orders(market, signals, rules), rules)


def trade_orders(closes: Closes, orders: Orders, rules: Rules) -> Traded:
    """Trade. Of entries at the same time the one with the highest confidence is first, then by symbol.

    A signal opens no position if its symbol has one (`in_position`), if no later bar exists (`no_next_bar`), if the
    money is not enough for one share (`no_capital`), or if the rules allow no short position (`short_not_allowed`).
    """
    book = _Book(closes, orders, rules)
    passed_over = {"in_position": 0, "no_next_bar": 0, "no_capital": 0, "short_not_allowed": 0}
    order = np.lexsort((orders.owner, -orders.signals.confidence, orders.entry_time))
    columns = orders.entry_time, orders.owner, orders.signals.direction
    for i, time, symbol, direction in zip(order.tolist(), *(column[order].tolist() for column in columns), strict=True):
        if time == NEVER:
            passed_over["no_next_bar"] += 1
        elif direction < 0 and not rules.short:
            passed_over["short_not_allowed"] += 1
        else:
            book.close_before(time)
            if symbol in book.open:
                passed_over["in_position"] += 1
            elif not book.enter(i, symbol, time):
                passed_over["no_capital"] += 1
    book.close_all()
    times = closes.time[[one.entry_bar for one in book.trades]].tolist()
    ordered = sorted(zip(times, book.trades, strict=True), key=lambda one: (one[0], one[1].symbol))
    return Traded([one for _, one in ordered], passed_over)
