"""The live detectors on daily, weekly and monthly bars: the same functions, windows and rules. Pure.

A daily bar has neither the same minute on other days nor session sums; detectors work without them.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ...contracts.detection import Detection, IndicatorValue
from ..detect.definition import IndicatorDefinition, PatternDefinition
from ..detect.detector import LEAST_DEPTH, FoundBar, detection_of, least_of
from ..detect.one_event import join_parts
from ..detect.patterns.cool_down import bars_since, columns_for, found_before
from .bars import Bars, Ends, series_of, windows_of

_ROWS_OF_A_BATCH = 1024  # 10 MB of windows
_DAY_MINUTES = 1440
TIER = "daily"


def find_patterns(
    bars: Bars, ends: Ends, timeframe: str, patterns: Sequence[PatternDefinition], now_s: float
) -> list[Detection]:
    """Return the patterns on some bars. A detection's minute is midnight UTC of its bar's first day."""
    if not patterns:
        return []
    found: list[Detection] = []
    depth = max(LEAST_DEPTH, *(columns_for(pattern.kind, pattern.parameters) for pattern in patterns))
    for first in range(0, len(ends), _ROWS_OF_A_BATCH):
        some = ends.part(first, first + _ROWS_OF_A_BATCH)
        windows = windows_of(bars, some, depth)
        for pattern in patterns:
            there = pattern.kind.find(windows.last(pattern.kind.depth), pattern.parameters)
            rows = np.flatnonzero(there.confidence >= least_of(pattern))
            before = found_before(windows, rows, pattern.kind, pattern.parameters, pattern.threshold, there)
            for row, after in zip(rows.tolist(), bars_since(before).tolist(), strict=True):
                symbol, minute = bars.symbols[int(some.symbol[row])], _minute_of(bars, int(some.place[row]))
                bar = FoundBar(symbol, timeframe, minute, after)
                found.append(detection_of(bar, pattern, there, windows, row, now_s, tier=TIER))
    return join_parts(found)


def find_indicators(
    bars: Bars, ends: Ends, timeframe: str, indicators: Sequence[IndicatorDefinition], now_s: float
) -> Iterator[IndicatorValue]:
    """Yield the values on some bars, except those that are NaN or infinite."""
    wanted = [(one, one.indicator.keys(one.period)) for one in indicators]
    for symbol, place in zip(ends.symbol.tolist(), ends.place.tolist(), strict=True):
        series = series_of(bars, symbol, place)
        for definition, keys in wanted:
            indicator = definition.indicator
            if definition.period == indicator.period and len(series.close) < indicator.least_bars:
                continue
            last = [float(output[-1]) for output in indicator.compute(series, definition.period)]
            if all(map(math.isfinite, last)):
                yield IndicatorValue(
                    symbol=bars.symbols[symbol],
                    indicator=indicator.name,
                    timeframe=timeframe,
                    minute=_minute_of(bars, place),
                    value=last[0],
                    values=dict(zip(keys, last, strict=True)),
                    period=definition.period,
                    calculated_at=now_s,
                )


def _minute_of(bars: Bars, place: int) -> int:
    return int(bars.day[place - 1]) * _DAY_MINUTES
