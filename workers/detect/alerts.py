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

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .indicators import Outputs
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
    """A value on the bar before, and on this bar."""

    before: float
    now: float


def alerts_of(
    indicator_name: str, outputs: Outputs, close: NDArray[np.float64], parameters: Parameters
) -> list[Crossing]:
    """Return the crossings on the last bar. outputs: of the indicator; close: of the same bars.

    parameters: as checked by `checked_alert_parameters`; missing ones have their defaults.
    """
    crossings = _CROSSINGS.get(indicator_name)
    if crossings is None or any(len(values) < 2 for values in (*outputs, close)):
        return []
    steps = [Step(float(values[-2]), float(values[-1])) for values in (*outputs, close)]
    if any(math.isnan(value) for step in steps for value in step):
        return []
    return crossings(steps, {**ALERT_PARAMETERS.get(indicator_name, {}), **parameters})


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


def _of_rsi(steps: list[Step], parameters: Parameters) -> list[Crossing]:
    """Compare the close, too: while it does not change, the RSI may move only because old bars leave its window."""
    rsi, close = steps
    overbought, oversold = float(parameters["overbought"]), float(parameters["oversold"])
    if close.now > close.before and rsi.before <= overbought < rsi.now:
        return [Crossing("RSI_OVERBOUGHT", rsi.now, overbought, _severity(rsi.now - overbought, RSI_FAR))]
    if close.now < close.before and rsi.before >= oversold > rsi.now:
        return [Crossing("RSI_OVERSOLD", rsi.now, oversold, _severity(oversold - rsi.now, RSI_FAR))]
    return []


def _of_macd(steps: list[Step], _: Parameters) -> list[Crossing]:
    macd, signal, histogram, close = steps
    zero = ROUNDING * close.now
    severity = _severity(abs(histogram.now), MACD_FAR * close.now)
    if histogram.before <= zero < histogram.now:
        return [Crossing("MACD_BULLISH_CROSS", macd.now, signal.now, severity)]
    if histogram.before >= -zero > histogram.now:
        return [Crossing("MACD_BEARISH_CROSS", macd.now, signal.now, severity)]
    return []


def _of_bands(steps: list[Step], _: Parameters) -> list[Crossing]:
    middle, upper, lower, close = steps
    touch = ROUNDING * close.now
    far = BAND_FAR * (upper.now - middle.now)
    if close.before - upper.before <= touch < close.now - upper.now:
        return [Crossing("BB_UPPER_BREAK", close.now, upper.now, _severity(close.now - upper.now, far))]
    if lower.before - close.before <= touch < lower.now - close.now:
        return [Crossing("BB_LOWER_BREAK", close.now, lower.now, _severity(lower.now - close.now, far))]
    return []


def _severity(beyond: float, far: float) -> str:
    return "warning" if beyond >= far else "info"


_CROSSINGS: dict[str, Callable[[list[Step], Parameters], list[Crossing]]] = {
    "RSI": _of_rsi,
    "MACD": _of_macd,
    "BollingerBands": _of_bands,
}
