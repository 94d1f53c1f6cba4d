"""The 61 candlesticks of TA-Lib, found exactly as by TA-Lib on the same bars; docs/candlesticks.md lists them.

A pattern is found if TA-Lib's value for the last bar is not 0. Its sign is the direction, except for patterns that are
neither bullish nor bearish by TA-Lib's comments. One exception: a bar without range (high == low) is never a
candlestick, because CDLDOJI counts every flat bar of a thin symbol. Beside the shape each needs a range, and some a
move before it (stand_out.py).

Source: TA-Lib, src/ta_func/ta_CDL*.c, with its candle settings (ta_global.c). Averages exclude the bar itself:
- Doji: body <= 0.1 x the mean range of the 10 bars before.
- Hammer: body < the mean body of the 10 bars before; lower shadow > body; upper shadow < 0.1 x the mean range of the 10
  bars before; the body's low end <= the low of the bar before + 0.2 x the mean range of the 5 bars before that one.

`rule` = "ratios" selects the application's own ratios for these two; they look at one bar.

Confidence (no source gives one; these say how clear the shape is):
- Doji: 1 - 0.5 x body / the largest body that the rule allows. 1 where open == close, 0.5 at the limit.
- Hammer: lower/range x (1 - upper/range), shadows against the bar's range. 1 where all is lower shadow.
- the others, from TA-Lib's strength: 0.6 for 80 (one end of the bodies only touches), 0.7 for 100 (the rule is met),
  1.0 for 200 (a Hikkake that a later close confirms, on the bar of that close).
"""

import math
from functools import partial
from inspect import unwrap
from typing import Any, NamedTuple

import numpy as np
import talib
from numpy.typing import NDArray
from talib import abstract

from ...windows import WINDOW, Windows
from .kind import BULLISH, NEITHER, Found, Parameters, PatternKind, nothing_found, number
from .stand_out import EITHER, FALL, RISE, stand_out

# TA-Lib keeps running totals, whose rounding depends on all given bars: an average differs from that of its own 10 bars
# by less than 4e-14 of the window's highest price. The prefilters keep candidates within this share of the bar's price
# of a limit: they drop nothing that TA-Lib finds, unless the price was 25 million times as high within the window.
_SLACK = 1e-6
# Their sign is always positive, or the colour of the bar: "it does not mean bullish or bearish" (ta_CDLHIGHWAVE.c); for
# the Dragonfly, the Gravestone and Takuri the trend decides.
_NEITHER = {
    "CDLDRAGONFLYDOJI",
    "CDLGRAVESTONEDOJI",
    "CDLHIGHWAVE",
    "CDLLONGLEGGEDDOJI",
    "CDLRICKSHAWMAN",
    "CDLSHORTLINE",
    "CDLSPINNINGTOP",
    "CDLTAKURI",
}
_AFTER = {"CDLHANGINGMAN": RISE, "CDLINVERTEDHAMMER": FALL, "CDLSHOOTINGSTAR": RISE}  # by TA-Lib's own comments
_LARGEST_PENETRATION = 100.0  # share of a body; TA-Lib's own bound is 3e37
_OPTIONS = ("penetration",)  # options of TA-Lib's functions
_REACH = 32  # bars: TA-Lib needs at most 15, and a range is compared with 15
_LEAST_SHARE = 1e-12  # of the range: no division by 0
_MIN_MOVE = 1.0  # ATR
_MIN_RANGE = {"min_ticks": 5.0, "min_atr": 0.75}

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Candle(NamedTuple):
    """The last bar of each window, dollars: (n,) each."""

    body: Floats
    lower: Floats  # shadows
    upper: Floats
    range: Floats

    def share(self, part: Floats) -> Floats:
        """Return a part as a share of the range; NaN for a bar without one."""
        share: Floats = np.divide(part, self.range, out=np.full(len(part), np.nan), where=self.range > 0)
        return share


def find_doji(windows: Windows, parameters: Parameters) -> Found:
    """Find open and close near each other. Raises ValueError for a wrong parameter."""
    rule = _rule(parameters)
    most = number(parameters, "max_body_of_range", 0.0, 1.0)
    least_range = number(parameters, "min_range", 0.0, math.inf)
    candle = _last_candle(windows)
    if rule == "ratios":
        body = candle.share(candle.body)
        here = (candle.range > 0) & (body < most) & (candle.range >= least_range)
        here = stand_out(windows, here, parameters, EITHER)
        return _found(here, NEITHER, 1 - 0.5 * body / max(most, _LEAST_SHARE))
    ready = _ready(windows, candle, "CDLDOJI")
    limit = 0.1 * _mean(windows.high[:, -11:-1] - windows.low[:, -11:-1])
    maybe = stand_out(windows, ready & (candle.body <= limit + _slack(windows)), parameters, EITHER)
    of_limit = np.divide(candle.body, limit, out=np.zeros(len(limit)), where=limit > 0)
    return _found(_signals("CDLDOJI", windows, maybe) != 0, NEITHER, 1 - 0.5 * np.minimum(of_limit, 1.0))


def find_hammer(windows: Windows, parameters: Parameters) -> Found:
    """Find a small body above a long lower shadow. Raises ValueError for a wrong parameter."""
    rule = _rule(parameters)
    least_of_body = number(parameters, "min_lower_of_body", 0.0, math.inf)
    most_upper = number(parameters, "max_upper_of_range", 0.0, 1.0)
    least_lower = number(parameters, "min_lower_of_range", 0.0, 1.0)
    most_body = number(parameters, "max_body_of_range", 0.0, 1.0)
    candle = _last_candle(windows)
    body, lower, upper = (candle.share(part) for part in (candle.body, candle.lower, candle.upper))
    if rule == "ratios":
        here = (candle.range > 0) & (candle.lower >= least_of_body * candle.body)
        here &= (upper < most_upper) & (lower > least_lower) & (body < most_body)
        here = stand_out(windows, here, parameters, FALL)
    else:
        maybe = _ready(windows, candle, "CDLHAMMER") & _maybe_hammer(windows, candle)
        here = _signals("CDLHAMMER", windows, stand_out(windows, maybe, parameters, FALL)) != 0
    return _found(here, BULLISH, lower * (1 - upper))


def _maybe_hammer(windows: Windows, candle: Candle) -> Mask:
    """Return where TA-Lib may find a hammer: its rule, each limit widened by the slack."""
    slack = _slack(windows)
    ranges = windows.high[:, -11:-1] - windows.low[:, -11:-1]
    bodies = np.abs(windows.close[:, -11:-1] - windows.open[:, -11:-1])
    near = windows.low[:, -2] + 0.2 * _mean(windows.high[:, -7:-2] - windows.low[:, -7:-2])
    maybe: Mask = candle.body < _mean(bodies) + slack
    maybe &= candle.lower > candle.body - slack
    maybe &= candle.upper < 0.1 * _mean(ranges) + slack
    maybe &= np.minimum(windows.open[:, -1], windows.close[:, -1]) <= near + slack
    return maybe


def find_by_talib(windows: Windows, parameters: Parameters, *, function: str) -> Found:
    """Find the pattern of a TA-Lib function. Raises ValueError for a wrong parameter."""
    options = {name: number(parameters, name, 0.0, _LARGEST_PENETRATION) for name in _OPTIONS if name in parameters}
    ready = _ready(windows, _last_candle(windows), function)
    signal = _signals(function, windows, stand_out(windows, ready, parameters, _AFTER.get(function)), **options)
    strength = np.abs(signal)
    direction = NEITHER if function in _NEITHER else np.sign(signal)
    return _found(signal != 0, direction, np.select([strength >= 200, strength >= 100], [1.0, 0.7], 0.6))


def _signals(function: str, windows: Windows, maybe: Mask, **options: float) -> NDArray[np.int64]:
    """Return TA-Lib's value for the last bar of the candidate windows, 0 for the others.

    TA-Lib gets exactly the bars of a window: with fewer, its running totals round differently. It is called once a
    window, which takes longer than all other tests: do them first.
    """
    signal = np.zeros(len(maybe), dtype=np.int64)
    rows = np.flatnonzero(maybe)
    # Where polars or pandas is installed, talib puts a wrapper around it that asks each column whether it is theirs.
    compute, whole = unwrap(getattr(talib, function)), windows.whole(rows)
    prices = np.stack([whole.open, whole.high, whole.low, whole.close], axis=1)
    for row, bars, length in zip(rows.tolist(), prices, whole.length.tolist(), strict=True):
        signal[row] = compute(*bars[:, -length:], **options)[-1]
    return signal


def _found(here: Mask, direction: NDArray[Any] | int, confidence: Floats) -> Found:
    """Return the detections; the confidence stays in bounds even if open or close is outside the bar's range."""
    found = nothing_found(len(here))
    found.confidence[here] = np.clip(confidence[here], 0.01, 1.0)
    found.direction[here] = np.broadcast_to(direction, here.shape)[here]
    return found


def _last_candle(windows: Windows) -> Candle:
    opened, high, low, close = (c[:, -1] for c in (windows.open, windows.high, windows.low, windows.close))
    lower, upper = np.minimum(opened, close) - low, high - np.maximum(opened, close)
    return Candle(np.abs(close - opened), lower, upper, high - low)


def _ready(windows: Windows, candle: Candle, function: str) -> Mask:
    """Return the windows with enough bars, and with a range in the last bar."""
    ready: Mask = (windows.length >= _least_bars(function)) & (candle.range > 0)
    return ready


def _mean(bars: Floats) -> Floats:
    """Return the mean of each row; columns are added one by one, so that rounding never depends on other rows."""
    total: Floats = np.zeros(len(bars))
    for column in bars.T:
        total += column
    mean: Floats = total / bars.shape[1]
    return mean


def _slack(windows: Windows) -> Floats:
    """Return the distance from a limit, in dollars, within which TA-Lib may decide either way."""
    slack: Floats = _SLACK * windows.high[:, -1]
    return slack


def _rule(parameters: Parameters) -> str:
    rule = parameters["rule"]
    if rule not in ("talib", "ratios"):
        raise ValueError(f"rule: {rule!r} is neither talib nor ratios")
    return str(rule)


def _least_bars(function: str) -> int:
    return int(getattr(abstract, function).lookback) + 1


# Names: TA-Lib's display names without blanks, hyphens, slashes and explanations.
FUNCTIONS = {
    "TwoCrows": "CDL2CROWS",
    "ThreeBlackCrows": "CDL3BLACKCROWS",
    "ThreeInsideUpDown": "CDL3INSIDE",
    "ThreeLineStrike": "CDL3LINESTRIKE",
    "ThreeOutsideUpDown": "CDL3OUTSIDE",
    "ThreeStarsInTheSouth": "CDL3STARSINSOUTH",
    "ThreeAdvancingWhiteSoldiers": "CDL3WHITESOLDIERS",
    "AbandonedBaby": "CDLABANDONEDBABY",
    "AdvanceBlock": "CDLADVANCEBLOCK",
    "BeltHold": "CDLBELTHOLD",
    "Breakaway": "CDLBREAKAWAY",
    "ClosingMarubozu": "CDLCLOSINGMARUBOZU",
    "ConcealingBabySwallow": "CDLCONCEALBABYSWALL",
    "Counterattack": "CDLCOUNTERATTACK",
    "DarkCloudCover": "CDLDARKCLOUDCOVER",
    "DojiStar": "CDLDOJISTAR",
    "DragonflyDoji": "CDLDRAGONFLYDOJI",
    "EngulfingPattern": "CDLENGULFING",
    "EveningDojiStar": "CDLEVENINGDOJISTAR",
    "EveningStar": "CDLEVENINGSTAR",
    "UpDownGapSideBySideWhiteLines": "CDLGAPSIDESIDEWHITE",
    "GravestoneDoji": "CDLGRAVESTONEDOJI",
    "HangingMan": "CDLHANGINGMAN",
    "HaramiPattern": "CDLHARAMI",
    "HaramiCrossPattern": "CDLHARAMICROSS",
    "HighWaveCandle": "CDLHIGHWAVE",
    "HikkakePattern": "CDLHIKKAKE",
    "ModifiedHikkakePattern": "CDLHIKKAKEMOD",
    "HomingPigeon": "CDLHOMINGPIGEON",
    "IdenticalThreeCrows": "CDLIDENTICAL3CROWS",
    "InNeckPattern": "CDLINNECK",
    "InvertedHammer": "CDLINVERTEDHAMMER",
    "Kicking": "CDLKICKING",
    "KickingByLength": "CDLKICKINGBYLENGTH",
    "LadderBottom": "CDLLADDERBOTTOM",
    "LongLeggedDoji": "CDLLONGLEGGEDDOJI",
    "LongLineCandle": "CDLLONGLINE",
    "Marubozu": "CDLMARUBOZU",
    "MatchingLow": "CDLMATCHINGLOW",
    "MatHold": "CDLMATHOLD",
    "MorningDojiStar": "CDLMORNINGDOJISTAR",
    "MorningStar": "CDLMORNINGSTAR",
    "OnNeckPattern": "CDLONNECK",
    "PiercingPattern": "CDLPIERCING",
    "RickshawMan": "CDLRICKSHAWMAN",
    "RisingFallingThreeMethods": "CDLRISEFALL3METHODS",
    "SeparatingLines": "CDLSEPARATINGLINES",
    "ShootingStar": "CDLSHOOTINGSTAR",
    "ShortLineCandle": "CDLSHORTLINE",
    "SpinningTop": "CDLSPINNINGTOP",
    "StalledPattern": "CDLSTALLEDPATTERN",
    "StickSandwich": "CDLSTICKSANDWICH",
    "Takuri": "CDLTAKURI",
    "TasukiGap": "CDLTASUKIGAP",
    "ThrustingPattern": "CDLTHRUSTING",
    "TristarPattern": "CDLTRISTAR",
    "Unique3River": "CDLUNIQUE3RIVER",
    "UpsideGapTwoCrows": "CDLUPSIDEGAP2CROWS",
    "UpsideDownsideGapThreeMethods": "CDLXSIDEGAP3METHODS",
}


def _by_talib(name: str, function: str) -> PatternKind:
    information = getattr(abstract, function).info
    move = {"min_move": _MIN_MOVE} if function in _AFTER else {}
    return PatternKind(
        name=name,
        description=f"{information['display_name']} (TA-Lib {function})",
        depth=WINDOW,
        least_bars=_least_bars(function),
        threshold=0.5,
        enabled=False,
        parameters={**information["parameters"], **_MIN_RANGE, **move},  # TA-Lib's: penetration, or none
        find=partial(find_by_talib, function=function),
        reach=_REACH,
    )


DOJI = PatternKind(
    name="Doji",
    description="Open and close near each other: indecision (by the bar's own range, or TA-Lib CDLDOJI)",
    depth=WINDOW,
    least_bars=1,
    threshold=0.5,
    enabled=True,
    parameters={"rule": "ratios", "max_body_of_range": 0.1, "min_range": 0.001, **_MIN_RANGE, "min_move": _MIN_MOVE},
    find=find_doji,
    reach=_REACH,
)
HAMMER = PatternKind(
    name="Hammer",
    description="A small body above a long lower shadow, near the low of the bar before (TA-Lib CDLHAMMER)",
    depth=WINDOW,
    least_bars=1,
    threshold=0.6,
    enabled=True,
    parameters={
        "rule": "talib",
        "min_lower_of_body": 2.0,
        "max_upper_of_range": 0.1,
        "min_lower_of_range": 0.6,
        "max_body_of_range": 0.3,
        **_MIN_RANGE,
        "min_move": _MIN_MOVE,
    },
    find=find_hammer,
    reach=_REACH,
)
KINDS: list[PatternKind] = [DOJI, HAMMER, *(_by_talib(name, function) for name, function in FUNCTIONS.items())]
