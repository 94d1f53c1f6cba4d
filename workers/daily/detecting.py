"""The live detectors on daily, weekly and monthly bars: the same functions, windows and rules. Pure.

A daily bar has neither the same minute on other days nor session sums; detectors work without them.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from ...contracts.detection import Detection, IndicatorValue
from ..detect.definition import IndicatorDefinition, PatternDefinition
from ..detect.detections import LEAST_DEPTH, FoundBar, detections_of
from ..detect.indicator_values import NamedBars, columns_of, computed_on
from ..detect.one_event import join_parts
from ..detect.patterns.cool_down import columns_for
from ..detect.search import hits_of
from ..windows import WINDOW, no_session_sums
from .bars import Bars, Ends, windows_of

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
            hits = hits_of(pattern, windows)
            named = _named(bars, some.of_rows(hits.rows), timeframe)
            on = [*map(FoundBar, named.symbols, repeat(timeframe), named.minutes, hits.since.tolist())]
            found += detections_of(on, pattern, hits, windows, now_s, tier=TIER)
    return join_parts(found)


def find_indicators(
    bars: Bars, ends: Ends, timeframe: str, indicators: Sequence[IndicatorDefinition], now_s: float
) -> Iterator[IndicatorValue]:
    """Yield the indicator values on some bars, without NaN."""
    for first in range(0, len(ends), _ROWS_OF_A_BATCH):
        some = ends.part(first, first + _ROWS_OF_A_BATCH)
        windows = windows_of(bars, some, WINDOW)
        named = _named(bars, some, timeframe)
        again = np.zeros(len(some), bool)
        computed = computed_on(windows, no_session_sums(len(some)), indicators)
        for _, column in columns_of(named, computed, again, now_s):
            yield from column.each()


def _named(bars: Bars, ends: Ends, timeframe: str) -> NamedBars:
    minutes = bars.day[ends.place - 1] * _DAY_MINUTES
    return NamedBars([bars.symbols[symbol] for symbol in ends.symbol.tolist()], timeframe, minutes.tolist())
