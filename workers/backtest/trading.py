"""From signals to trades: at most one position a symbol, and no borrowed money. Pure."""

import heapq
import math
from typing import NamedTuple

import numpy as np

from .exits import END, REASONS, Exits, find_exits
from .market import Market, Signals, one_a_bar
from .rules import Rules

_AT_OPEN, _IN_BAR = 0, 1
_NEVER = 2**62


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

    def __init__(self, market: Market, signals: Signals, exits: Exits, rules: Rules) -> None:
        self._market, self._signals, self._exits, self._rules = market, signals, exits, rules
        self._owner = market.owner
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

    def enter(self, i: int, symbol: int) -> bool:
        """Open the position of signal i with whole shares; False: there is not enough money for one share."""
        price = float(self._exits.price[i])
        entry_time = int(self._market.time[self._exits.entry[i]])
        wanted = min(self._rules.max_position_size * self._equity_before(entry_time), self._free)
        shares = math.floor(wanted / (price * (1 + self._rules.commission_rate)) + 1e-9)
        if shares < 1:
            return False
        cost = shares * price
        paid = cost * self._rules.commission_rate
        self.realized -= paid
        self.open[symbol] = _Position(i, shares, cost, paid)
        phase = _AT_OPEN if self._exits.at_open[i] else _IN_BAR
        ends = _NEVER if self._exits.reason[i] == END else int(self._market.time[self._exits.bar[i]])
        heapq.heappush(self._queue, (ends, phase, symbol))
        return True

    @property
    def _free(self) -> float:
        """Return the money that is not in positions. A short position takes its value of money, as a long one does."""
        return self.realized - sum(position.entry_cost for position in self.open.values())

    def _equity_before(self, time: int) -> float:
        """Return the equity at the closes of the last bars that begin before a time."""
        return self.realized + sum(self._unrealized(symbol, one, time) for symbol, one in self.open.items())

    def _unrealized(self, symbol: int, position: _Position, time: int) -> float:
        first, last = self._market.bounds[symbol : symbol + 2]
        bar = first + int(np.searchsorted(self._market.time[first:last], time)) - 1
        if bar < self._exits.entry[position.signal]:
            return 0.0
        worth = position.shares * float(self._market.close[bar])
        return int(self._signals.direction[position.signal]) * (worth - position.entry_cost)

    def _close(self, symbol: int) -> None:
        position = self.open.pop(symbol)
        i, fill = position.signal, float(self._exits.fill[position.signal])
        direction = int(self._signals.direction[i])
        paid = position.shares * fill * self._rules.commission_rate
        gained = direction * (position.shares * fill - position.entry_cost)
        self.realized += gained - paid
        self.trades.append(
            Trade(
                symbol=symbol,
                pattern=self._signals.pattern[i],
                direction=direction,
                confidence=float(self._signals.confidence[i]),
                entry_bar=int(self._exits.entry[i]),
                exit_bar=int(self._exits.bar[i]),
                entry_price=float(self._exits.price[i]),
                exit_price=fill,
                shares=position.shares,
                commission=position.paid + paid,
                profit=gained - paid - position.paid,
                reason=REASONS[int(self._exits.reason[i])],
            )
        )


def trade(market: Market, signals: Signals, rules: Rules) -> Traded:
    """Trade the signals. Of entries at the same time the one with the highest confidence is first, then by symbol.

    A signal opens no position if its symbol has one (`in_position`), if no later bar exists (`no_next_bar`), if the
    money is not enough for one share (`no_capital`), or if the rules allow no short position (`short_not_allowed`).
    """
    chosen = one_a_bar(signals)
    exits = find_exits(market, chosen, rules)
    book = _Book(market, chosen, exits, rules)
    owner = market.owner[chosen.bar] if len(chosen) else np.zeros(0, np.int64)
    passed_over = {"in_position": 0, "no_next_bar": 0, "no_capital": 0, "short_not_allowed": 0}
    entry_time = np.where(exits.entry >= 0, market.time[exits.entry], np.iinfo(np.int64).max)
    for i in np.lexsort((owner, -chosen.confidence, entry_time)).tolist():
        symbol = int(owner[i])
        if exits.entry[i] < 0:
            passed_over["no_next_bar"] += 1
        elif chosen.direction[i] < 0 and not rules.short:
            passed_over["short_not_allowed"] += 1
        else:
            book.close_before(int(entry_time[i]))
            if symbol in book.open:
                passed_over["in_position"] += 1
            elif not book.enter(i, symbol):
                passed_over["no_capital"] += 1
    book.close_all()
    return Traded(sorted(book.trades, key=lambda one: (market.time[one.entry_bar], one.symbol)), passed_over)
