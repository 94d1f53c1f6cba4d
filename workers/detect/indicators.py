"""Indicator values by TA-Lib over the last bars of one symbol. Pure. A new indicator is one entry below.

Values equal TA-Lib's on the same bars, with one exception: the RSI of closes that do not change (see there).
If the last value is NaN, there is no value yet.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import talib
from numpy.typing import NDArray

from ..windows import WINDOW, Series

# Session sums are added in the order of arrival: only so many decimals are independent of how the stream was split.
VWAP_DECIMALS = 9
_FORGOTTEN = 1e-6

Outputs = tuple[NDArray[np.float64], ...]


class Indicator(NamedTuple):
    """An indicator and its defaults; a row of indicator_definitions overrides enabled and period.

    period: bars; None if it cannot be chosen. least_bars: how many the default period needs. longest: the largest
    period whose value over one window differs from that over all history by less than 1e-6 of the price (of 100: RSI).
    keys: from the period in use, the names of the outputs in value_data; the first is the value.
    compute: from a series and the period, one array for each key, all NaN if there are too few bars; the last element
    belongs to the last bar. An array may cover only the end of the series.
    """

    name: str  # indicator_type, and the definition's name
    description: str
    enabled: bool
    period: int | None
    least_bars: int
    longest: int
    keys: Callable[[int | None], tuple[str, ...]]
    compute: Callable[[Series, int | None], Outputs]


def relative_strength_index(series: Series, period: int | None) -> Outputs:
    """Return Wilder's RSI, 0..100 (New Concepts in Technical Trading Systems, 1978).

    NaN if the last `period` closes do not change: TA-Lib returns 0, or the rest of an old move.
    """
    bars = _bars(period)
    last = series.close[-bars - 1 :]
    if len(last) > bars and bool((last == last[-1]).all()):
        return (np.array([np.nan]),)
    return (talib.RSI(series.close, timeperiod=bars),)


def simple_average(series: Series, period: int | None) -> Outputs:
    """Return the mean of the last closes, dollars."""
    return (talib.SMA(series.close, timeperiod=_bars(period)),)


def exponential_average(series: Series, period: int | None) -> Outputs:
    """Return the closes weighted by 2/(period + 1), started on the mean of the first `period`; dollars."""
    return (talib.EMA(series.close, timeperiod=_bars(period)),)


def convergence_divergence(series: Series, _: int | None) -> Outputs:
    """Return Appel's MACD, dollars: EMA 12 less EMA 26, its EMA 9 as signal, and the first less the second."""
    return tuple(talib.MACD(series.close, fastperiod=12, slowperiod=26, signalperiod=9))


def bollinger_bands(series: Series, period: int | None) -> Outputs:
    """Return Bollinger's bands, dollars: middle = SMA, the others 2 standard deviations (of a population) off it."""
    upper, middle, lower = talib.BBANDS(series.close, timeperiod=_bars(period), nbdevup=2.0, nbdevdn=2.0)
    return middle, upper, lower


def average_true_range(series: Series, period: int | None) -> Outputs:
    """Return Wilder's ATR, dollars (New Concepts in Technical Trading Systems, 1978)."""
    return (talib.ATR(series.high, series.low, series.close, timeperiod=_bars(period)),)


def relative_volume(series: Series, period: int | None) -> Outputs:
    """Return the bar's volume against the mean volume of the `period` bars before it; NaN if that mean is 0."""
    bars = _bars(period)
    before = series.volume[:-1][-bars:]
    usual = before.mean() if len(before) == bars else 0.0
    return (np.array([series.volume[-1] / usual if usual > 0 else np.nan]),)


def volume_weighted_price(series: Series, _: int | None) -> Outputs:
    """Return the session's VWAP from the opening up to this bar, dollars; NaN outside the regular hours."""
    if not series.session_volume > 0:
        return (np.array([np.nan]),)
    return (np.array([round(series.session_notional / series.session_volume, VWAP_DECIMALS)]),)


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
    ),
)
INDICATORS: dict[str, Indicator] = {indicator.name: indicator for indicator in _ALL}
