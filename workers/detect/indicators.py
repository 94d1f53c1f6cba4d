"""Compute indicator values of many windows at once. TA-Lib gives the same values for the bars of each window. Pure.

A new indicator is one entry below. Values equal TA-Lib's on the same bars to 1e-9, with one exception: the RSI of
closes that do not change (see relative_strength_index). NaN: there is no value yet.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column
from ..windows import WINDOW, SessionSums, Windows
from .averages import plain_mean, recursive_mean, recursive_weights, weighted_sum

# Session sums are added in the order of arrival: only so many decimals are independent of how the stream was split.
VWAP_DECIMALS = 9
_FORGOTTEN = 1e-6
_FAST, _SLOW, _SIGNAL = 12, 26, 9  # bars: Appel's MACD

Outputs = tuple[Column, ...]


class Indicator(NamedTuple):
    """An indicator and its defaults; a row of indicator_definitions overrides enabled and period.

    period: bars; None if it cannot be chosen. least_bars: how many bars the default period needs. longest: the largest
    period whose value over one window differs from that over all history by less than 1e-6 of the price (of 100: RSI).
    keys: takes the period in use and returns the names of the outputs in value_data; the first is the value.
    columns: those of the windows that it reads.
    compute: takes n windows of at most WINDOW bars, their session sums and the period; returns for each key the values
    on the last bars, (n,), NaN if there are too few bars. The value of a row does not depend on other rows.
    """

    name: str  # indicator_type, and the definition's name
    description: str
    enabled: bool
    period: int | None
    least_bars: int
    longest: int
    keys: Callable[[int | None], tuple[str, ...]]
    compute: Callable[[Windows, SessionSums, int | None], Outputs]
    columns: tuple[str, ...] = ("close",)
    of_session: bool = False  # whether it needs the session sums


def relative_strength_index(windows: Windows, _: SessionSums, period: int | None) -> Outputs:
    """Return Wilder's RSI, 0..100 (New Concepts in Technical Trading Systems, 1978).

    NaN if the last `period` closes do not change: TA-Lib returns 0, or the rest of an old move.
    """
    bars, counts, closes = _bars(period), windows.length - 1, _whole(windows.close)
    changes = closes[:, 1:] - closes[:, :-1]
    if (counts < changes.shape[1]).any():
        np.nan_to_num(changes, copy=False)
    is_moving = (changes[:, -bars:] != 0).any(axis=1)
    change = recursive_mean(changes, counts, bars, 1 / bars)  # the mean rise minus the mean fall
    size = recursive_mean(np.abs(changes, out=changes), counts, bars, 1 / bars)  # their sum
    return (50 + 50 * np.divide(change, size, out=np.full(len(size), np.nan), where=is_moving),)


def simple_average(windows: Windows, _: SessionSums, period: int | None) -> Outputs:
    """Return the mean of the last closes, dollars."""
    return (plain_mean(windows.close, _bars(period)),)


def exponential_average(windows: Windows, _: SessionSums, period: int | None) -> Outputs:
    """Return the closes weighted by 2/(period + 1), started on the mean of the first `period`; dollars."""
    bars = _bars(period)
    return (recursive_mean(_present(windows.close), windows.length, bars, _share(bars)),)


def convergence_divergence(windows: Windows, _: SessionSums, __: int | None) -> Outputs:
    """Return Appel's MACD in dollars: EMA 12 minus EMA 26; its signal, the EMA 9 of the MACD; and MACD minus signal.

    As in TA-Lib, EMA 12 starts together with EMA 26, and there is no value before the first signal.
    """
    closes, counts = _present(windows.close), windows.length
    late = np.where(np.arange(closes.shape[1]) < (closes.shape[1] - counts + _SLOW - _FAST)[:, None], 0.0, closes)
    fast = recursive_mean(late, counts - (_SLOW - _FAST), _FAST, _share(_FAST))
    signal = weighted_sum(closes, counts, _signal_weights)
    macd = fast - recursive_mean(closes, counts, _SLOW, _share(_SLOW))
    macd[np.isnan(signal)] = np.nan
    return macd, signal, macd - signal


@lru_cache(maxsize=2 * WINDOW)
def _signal_weights(count: int, width: int) -> Column:
    """Return the weight of each close in the signal: its weight in each MACD, times the MACD's in the EMA, summed."""
    macds = count - _SLOW + 1
    if macds < _SIGNAL:
        return np.full(width, np.nan)
    total = np.zeros(width)
    for age, weight in enumerate(recursive_weights(macds, macds, _SIGNAL, _share(_SIGNAL))[::-1].tolist()):
        fast = recursive_weights(count - age - (_SLOW - _FAST), width - age, _FAST, _share(_FAST))
        total[: width - age] += weight * (fast - recursive_weights(count - age, width - age, _SLOW, _share(_SLOW)))
    return total


def bollinger_bands(windows: Windows, _: SessionSums, period: int | None) -> Outputs:
    """Return Bollinger's bands, dollars: middle = SMA, the others 2 standard deviations (of a population) off it."""
    bars = _bars(period)
    middle = plain_mean(windows.close, bars)
    squares = (windows.close[:, -bars:] - middle[:, None]) ** 2
    deviation = np.sqrt(plain_mean(squares, bars))
    return middle, middle + 2.0 * deviation, middle - 2.0 * deviation


def average_true_range(windows: Windows, _: SessionSums, period: int | None) -> Outputs:
    """Return Wilder's ATR, dollars (New Concepts in Technical Trading Systems, 1978)."""
    bars, before = _bars(period), _whole(windows.close)[:, :-1]
    high, low = (_whole(column)[:, 1:] for column in (windows.high, windows.low))
    true_range = np.maximum(high - low, np.maximum(np.abs(high - before), np.abs(low - before)))
    return (recursive_mean(np.nan_to_num(true_range), windows.length - 1, bars, 1 / bars),)


def relative_volume(windows: Windows, _: SessionSums, period: int | None) -> Outputs:
    """Return the bar's volume against the mean volume of the `period` bars before it; NaN if that mean is 0."""
    usual = plain_mean(windows.volume[:, :-1], _bars(period))
    return (np.divide(windows.volume[:, -1], usual, out=np.full(len(usual), np.nan), where=usual > 0),)


def volume_weighted_price(_: Windows, sums: SessionSums, __: int | None) -> Outputs:
    """Return the session's VWAP from the opening up to this bar, dollars; NaN outside the regular hours."""
    price = np.divide(sums.notional, sums.volume, out=np.full(len(sums.volume), np.nan), where=sums.volume > 0)
    return (np.array([round(one, VWAP_DECIMALS) for one in price.tolist()], np.float64),)


def _whole(column: Column) -> Column:
    """Return the last WINDOW columns, NaN for missing bars: sums over the same width are rounded in the same way."""
    lacking = WINDOW - column.shape[1]
    if lacking <= 0:
        return np.ascontiguousarray(column[:, -WINDOW:])
    return np.concatenate([np.full((len(column), lacking), np.nan), column], axis=1)


def _present(column: Column) -> Column:
    """Return the last WINDOW columns, with 0 for missing bars."""
    return np.nan_to_num(_whole(column))


def _share(period: int) -> float:
    """Return the weight of the newest close in an exponential average."""
    return 2 / (period + 1)


def _bars(period: int | None) -> int:
    if period is None:
        raise ValueError("this indicator needs a period")
    return period


def _keys(names: tuple[str, ...], period: int | None) -> tuple[str, ...]:
    return tuple(name.format(period=period) for name in names)


def _longest(share_kept: Callable[[int], float], *, more: int) -> int:
    """Return the largest period with which a value over one window no longer depends on how its average began.

    share_kept: of the previous value, with each bar. more: bars that the begin needs beyond the period.
    """
    return max(n for n in range(2, WINDOW) if share_kept(n) ** (WINDOW - n - more) <= _FORGOTTEN)


def _average(kind: str, period: int, *, enabled: bool) -> Indicator:
    words, longest, compute = {
        "SMA": ("Simple moving average", WINDOW, simple_average),
        "EMA": ("Exponential moving average", _LONGEST_EXPONENTIAL, exponential_average),
    }[kind]
    return Indicator(
        name=f"{kind}_{period}",
        description=f"{words} of {period} closes",
        enabled=enabled,
        period=period,
        least_bars=period,
        longest=longest,
        keys=partial(_keys, (kind.lower() + "_{period}",)),
        compute=compute,
    )


_LONGEST_EXPONENTIAL = _longest(lambda n: 1 - 2 / (n + 1), more=0)
_LONGEST_WILDER = _longest(lambda n: 1 - 1 / n, more=1)

_ALL = (
    Indicator(
        name="RSI",
        description="Relative strength index (Wilder)",
        enabled=True,
        period=14,
        least_bars=15,
        longest=_LONGEST_WILDER,
        keys=partial(_keys, ("rsi_{period}",)),
        compute=relative_strength_index,
    ),
    _average("SMA", 5, enabled=True),
    _average("SMA", 20, enabled=True),
    _average("SMA", 50, enabled=False),
    _average("SMA", 200, enabled=False),
    _average("EMA", 12, enabled=False),
    _average("EMA", 26, enabled=False),
    Indicator(
        name="MACD",
        description="Moving average convergence/divergence (12, 26, 9)",
        enabled=False,
        period=None,
        least_bars=34,
        longest=WINDOW,
        keys=partial(_keys, ("macd", "macd_signal", "macd_histogram")),
        compute=convergence_divergence,
    ),
    Indicator(
        name="BollingerBands",
        description="Bollinger bands (2 standard deviations)",
        enabled=False,
        period=20,
        least_bars=20,
        longest=WINDOW,
        keys=partial(_keys, ("bb_middle", "bb_upper", "bb_lower")),
        compute=bollinger_bands,
    ),
    Indicator(
        name="ATR",
        description="Average true range (Wilder)",
        enabled=False,
        period=14,
        least_bars=15,
        longest=_LONGEST_WILDER,
        keys=partial(_keys, ("atr_{period}",)),
        compute=average_true_range,
        columns=("high", "low", "close"),
    ),
    Indicator(
        name="RelativeVolume",
        description="Volume against the mean of the 20 bars before",
        enabled=False,
        period=20,
        least_bars=21,
        longest=WINDOW - 1,
        keys=partial(_keys, ("relative_volume",)),
        compute=relative_volume,
        columns=("volume",),
    ),
    Indicator(
        name="VWAP",
        description="Volume-weighted average price of the session",
        enabled=False,
        period=None,
        least_bars=1,
        longest=WINDOW,
        keys=partial(_keys, ("vwap",)),
        compute=volume_weighted_price,
        columns=(),
        of_session=True,
    ),
)
INDICATORS: dict[str, Indicator] = {indicator.name: indicator for indicator in _ALL}
