"""Alerts: an indicator value crosses its threshold on this bar. Pure.

| alert_type | where | value | threshold | warning from, else info |
|---|---|---|---|---|
| RSI_OVERBOUGHT | a rising close takes the RSI above `overbought` (70) | RSI | 70 | 10 points above |
| RSI_OVERSOLD | a falling close takes the RSI below `oversold` (30) | RSI | 30 | 10 points below |
| MACD_BULLISH_CROSS | the histogram turns positive | MACD | its signal | histogram 0.1 % of the close |
| MACD_BEARISH_CROSS | the histogram turns negative | MACD | its signal | histogram 0.1 % of the close |
| BB_UPPER_BREAK | the close rises above the upper band | close | upper band | half a standard deviation off |
| BB_LOWER_BREAK | the close falls below the lower band | close | lower band | half a standard deviation off |

There is no alert if one of the values, on this bar or the bar before, is NaN.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column, Mask
from .patterns.kind import Parameters

RSI_FAR = 10.0  # points: 80 and 20 are the stricter lines in use beside 70 and 30
MACD_FAR = 0.001  # of the close, so that it means the same for every symbol
BAND_FAR = 0.25  # of the distance between the middle and a band, which is 2 standard deviations
# Of the close. On a series without any change, the rounding of TA-Lib's running totals moves the MACD some 1e-15 away
# from zero, and the bands as much away from the close, in either direction.
ROUNDING = 1e-9

ALERT_PARAMETERS: Mapping[str, Mapping[str, float]] = {"RSI": {"overbought": 70.0, "oversold": 30.0}}


class Crossing(NamedTuple):
    """A value that was on one side of its threshold on the bar before, and is beyond it now."""

    alert_type: str
    value: float
    threshold: float
    severity: str  # info or warning


class Step(NamedTuple):
    """The values on n bars (`now`) and on the bar before each of them (`before`): (n,) each."""

    before: Column
    now: Column


class Crossings(NamedTuple):
    """The bars on which a value crossed its threshold. far: an alert so far beyond it or farther is a warning."""

    alert_type: str
    crossed: Mask
    value: Column
    threshold: Column | float
    beyond: Column
    far: Column | float


def has_alerts(indicator_name: str) -> bool:
    """Tell whether an indicator has alerts."""
    return indicator_name in _CROSSINGS


def alerts_of(
    indicator_name: str, outputs: Sequence[Column], close: Column, parameters: Parameters
) -> Iterator[tuple[int, Crossing]]:
    """Yield the crossings on n bars, each with the index of its bar.

    outputs: the outputs of the indicator, (n, 2) each: on the bar before and on the bar. close: the closes of the same
    bars. parameters: checked by `checked_alert_parameters`; missing ones have their defaults.
    """
    of_indicator = _CROSSINGS.get(indicator_name)
    if of_indicator is None:
        return
    steps = [Step(values[:, 0], values[:, 1]) for values in (*outputs, close)]
    is_known = ~np.isnan([column for step in steps for column in step]).any(axis=0)
    for found in of_indicator(steps, {**ALERT_PARAMETERS.get(indicator_name, {}), **parameters}):
        threshold, far = (np.broadcast_to(one, len(close)) for one in (found.threshold, found.far))
        for row in np.flatnonzero(found.crossed & is_known).tolist():
            severity = "warning" if found.beyond[row] >= far[row] else "info"
            yield row, Crossing(found.alert_type, float(found.value[row]), float(threshold[row]), severity)


def checked_alert_parameters(indicator_name: str, given: Parameters) -> dict[str, float]:
    """Return all parameters of an indicator's alerts, with the defaults of those not given.

    Raises ValueError for an unknown name, a value that is not a number, or RSI lines out of order or not in 0..100.
    """
    defaults = ALERT_PARAMETERS.get(indicator_name, {})
    if unknown := sorted(given.keys() - defaults.keys()):
        raise ValueError(f"unknown parameter {unknown[0]}; there are: {', '.join(defaults) or 'none'}")
    parameters = {name: _number(name, given.get(name, default)) for name, default in defaults.items()}
    if parameters and not 0 <= parameters["oversold"] < parameters["overbought"] <= 100:
        raise ValueError("oversold must be less than overbought, both from 0 to 100")
    return parameters


def _number(name: str, value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{name}: {value!r} is not a number") from None


def _of_rsi(steps: list[Step], parameters: Parameters) -> list[Crossings]:
    """Compare the close, too: while it does not change, the RSI may move only because old bars leave its window."""
    rsi, close = steps
    overbought, oversold = float(parameters["overbought"]), float(parameters["oversold"])
    rises = (close.now > close.before) & (rsi.before <= overbought) & (rsi.now > overbought)
    falls = (close.now < close.before) & (rsi.before >= oversold) & (rsi.now < oversold)
    return [
        Crossings("RSI_OVERBOUGHT", rises, rsi.now, overbought, rsi.now - overbought, RSI_FAR),
        Crossings("RSI_OVERSOLD", falls, rsi.now, oversold, oversold - rsi.now, RSI_FAR),
    ]


def _of_macd(steps: list[Step], _: Parameters) -> list[Crossings]:
    macd, signal, histogram, close = steps
    zero = ROUNDING * close.now
    rises = (histogram.before <= zero) & (histogram.now > zero)
    falls = (histogram.before >= -zero) & (histogram.now < -zero)
    beyond, far = np.abs(histogram.now), MACD_FAR * close.now
    return [
        Crossings("MACD_BULLISH_CROSS", rises, macd.now, signal.now, beyond, far),
        Crossings("MACD_BEARISH_CROSS", falls, macd.now, signal.now, beyond, far),
    ]


def _of_bands(steps: list[Step], _: Parameters) -> list[Crossings]:
    middle, upper, lower, close = steps
    touch, far = ROUNDING * close.now, BAND_FAR * (upper.now - middle.now)
    above, below = close.now - upper.now, lower.now - close.now
    rises = (close.before - upper.before <= touch) & (above > touch)
    falls = (lower.before - close.before <= touch) & (below > touch)
    return [
        Crossings("BB_UPPER_BREAK", rises, close.now, upper.now, above, far),
        Crossings("BB_LOWER_BREAK", falls, close.now, lower.now, below, far),
    ]


_CROSSINGS: dict[str, Callable[[list[Step], Parameters], list[Crossings]]] = {
    "RSI": _of_rsi,
    "MACD": _of_macd,
    "BollingerBands": _of_bands,
}
