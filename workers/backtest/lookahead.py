"""Check that a backtest does not use future bars: without the bars after a time, the trades before it stay the same."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..daily.bars import Bars
from ..detect.definition import PatternDefinition
from .backtest import Loaded, find
from .exits import END_OF_DATA
from .find_signals import Minutes
from .market import Closes
from .orders import Part, joined, part_of
from .report import Request
from .trading import Trade, trade_orders

_DAY_MINUTES = 1440


class Difference(NamedTuple):
    """A trade that changes if later bars are missing. cut: start of the last bar, in minutes since 1970.

    with_future, without: the trade with all bars, and with the bars up to the cut; None: this trade does not exist
    then.
    """

    cut: int
    symbol: str
    with_future: Trade | None
    without: Trade | None


class _Ended(NamedTuple):
    """A trade. known: its values, which must be the same with and without later bars."""

    known: tuple[object, ...]
    trade: Trade


def differences(
    loaded: Sequence[Loaded],
    request: Request,
    patterns: Sequence[PatternDefinition],
    cuts_of: Callable[[list[int]], Iterable[int]],
) -> Iterator[Difference]:
    """Repeat the backtest with the bars up to each cut; yield every trade that ended before it but is different there.

    cuts_of: chooses the cuts among the times of the bars.
    """
    whole = _found(loaded, request, patterns)
    for cut in cuts_of(np.unique(whole.closes.time).tolist()):
        part = _found([one._replace(bars=_until(one.bars, cut)) for one in loaded], request, patterns)
        before, after = _ended(whole, request, cut), _ended(part, request, cut)
        for place in sorted(before.keys() | after.keys()):
            there, here = before.get(place), after.get(place)
            if there is None or here is None or there.known != here.known:
                yield Difference(cut, place[0], there and there.trade, here and here.trade)


def _found(loaded: Sequence[Loaded], request: Request, patterns: Sequence[PatternDefinition]) -> Part:
    return joined([part_of(find(one, request, patterns), request.rules) for one in loaded])


def _ended(found: Part, request: Request, cut: int) -> dict[tuple[str, int], _Ended]:
    """Return the trades that ended before a cut, by symbol and time of entry."""
    closes = found.closes
    return {
        (closes.symbols[one.symbol], int(closes.time[one.entry_bar])): _Ended(_without_numbers(closes, one), one)
        for one in trade_orders(closes, found.orders, request.rules).trades
        if one.reason != END_OF_DATA and closes.time[one.exit_bar] < cut
    }


def _without_numbers(closes: Closes, one: Trade) -> tuple[object, ...]:
    """Return a trade's values, with times instead of bar numbers: numbers change if bars are missing."""
    times = (int(closes.time[one.entry_bar]), int(closes.time[one.exit_bar]))
    return (*times, *one._replace(symbol=0, entry_bar=0, exit_bar=0))


def _until(bars: Bars | Minutes, cut: int) -> Bars | Minutes:
    """Return the bars that begin up to a time."""
    if isinstance(bars, Minutes):
        return bars._replace(bars=bars.bars[bars.bars["minute"] <= cut])
    keep = bars.day * _DAY_MINUTES <= cut
    counts = np.add.reduceat(np.append(keep, False), bars.bounds[:-1]) if len(keep) else np.zeros(len(bars.symbols))
    counts = np.where(np.diff(bars.bounds) > 0, counts, 0)
    return Bars(bars.symbols, np.concatenate([[0], np.cumsum(counts)]), *(column[keep] for column in bars[2:]))
