"""The open minutes of a caller's own loop: single ticks in, closed bars out. Pure.

A minute closes when its own symbol's next one begins: without ticks no clock runs here.
"""

import numpy as np

from ...contracts.bar import MINUTE_NS
from ...contracts.errors import UsageError
from ...contracts.spellings.tick_json import DEFAULT_SECOND_STAMP, SecondStamp
from ...contracts.spellings.tick_object import ticks_of_object
from ...contracts.spellings.tick_values import NotATick
from ...contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ...contracts.ticks import Column, Ticks, concat
from ..partition.bar_book import NO_BARS, bars_of, merge
from ..partition.tick_check import Limits, RowArrivals, check

_FOLDED_TICKS = 1024  # ticks kept for one symbol; beyond it they are merged into a partial bar


class MinuteBook:
    """The ticks of each symbol's newest minute. A symbol is its index in `symbols`, which grows.

    newest: the minute of each symbol's newest tick, by index. revision_minutes: an older tick is refused as too late;
    None: no tick is too late.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        second_stamp: SecondStamp = DEFAULT_SECOND_STAMP,
        rules: TRADE_RULES = DEFAULT_RULES,
        revision_minutes: int | None = None,
    ) -> None:
        if second_stamp not in ("end", "start"):
            raise UsageError(f"second_stamp is {second_stamp!r}: end or start")
        if rules not in ("sip", "all"):
            raise UsageError(f"trade_rules is {rules!r}: sip or all")
        self.limits = limits
        self.symbols: list[str] = []
        self.newest: list[int] = []
        self.ticks = 0  # ticks that changed a bar
        self.quote_or_zero = 0
        self._second_stamp = second_stamp
        self._rules: TRADE_RULES = rules
        self._revision_minutes = revision_minutes
        self._codes: dict[str, int] = {}
        self._ticks: dict[int, list[Ticks]] = {}
        self._partial: dict[int, Column] = {}

    def add(self, tick: object, now_ns: int) -> Column:
        """Add a tick; return the bars that it closes (BAR_DTYPE), mostly no bar; for a late tick its own bar.

        A late tick's bar is partial: merge it with the stored bar. now_ns: Unix ns, to refuse ticks of the future.
        Raises NotATick; then the tick has changed nothing.
        """
        ticks = self._checked(tick, now_ns)
        if not len(ticks):
            return NO_BARS
        code, minute = self._code(ticks.symbols[ticks.symbol_index[0]]), int(ticks.ts[0]) // MINUTE_NS
        behind = self.newest[code] - minute
        if self._revision_minutes is not None and behind > self._revision_minutes:
            raise NotATick("too_late", f"{behind} minutes behind the newest of its symbol")
        self.ticks += 1
        if behind > 0:
            return _bars(ticks, code)
        closed = self._take(code) if behind < 0 else NO_BARS
        self.newest[code] = minute
        waiting = self._ticks.setdefault(code, [])
        waiting.append(ticks)
        if len(waiting) >= _FOLDED_TICKS:
            self._partial[code] = self._take(code)
        return closed

    def close_all(self) -> Column:
        """Close every open minute; a later tick of one of them makes a bar to merge with it."""
        return np.concatenate(
            [NO_BARS, *(self._take(code) for code in sorted(self._ticks.keys() | self._partial.keys()))]
        )

    def _checked(self, tick: object, now_ns: int) -> Ticks:
        ticks = ticks_of_object(tick, second_stamp=self._second_stamp, rules=self._rules)
        # Only ticks of the future are refused here: a caller's loop may bring yesterday's.
        arrivals = RowArrivals(np.zeros(len(ticks), np.int64), np.full(len(ticks), now_ns))
        checked = check(ticks, arrivals, self.limits)
        if checked.refused:
            raise NotATick(checked.refused[0].reason, checked.refused[0].detail)
        self.quote_or_zero += checked.quote_or_zero
        return checked.ticks

    def _code(self, symbol: str) -> int:
        code = self._codes.setdefault(symbol, len(self.symbols))
        if code == len(self.symbols):
            self.symbols.append(symbol)
            self.newest.append(-1)
        return code

    def _take(self, code: int) -> Column:
        """Take a symbol's newest minute out as one bar."""
        parts = [self._partial.pop(code, NO_BARS)]
        if waiting := self._ticks.pop(code, None):
            parts.append(_bars(concat(waiting), code))
        return merge(*parts)


def _bars(ticks: Ticks, code: int) -> Column:
    return bars_of(ticks, np.full(len(ticks), code, "<i4"))
