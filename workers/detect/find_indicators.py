"""⑦ Compute the indicators of marked bars of one partition, and choose the values to publish. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...contracts.detection import IndicatorAlert, IndicatorColumn, IndicatorValue
from ...contracts.ticks import Column
from ...contracts.timeframe import TIMEFRAME_OF
from ..marks import NEW, NEW_REDETECT, NO_MARKS, Marks
from ..sessions import REGULAR_MINUTES, TRACKS, Track
from ..windows import WINDOW, no_session_sums
from .definition import Definitions, IndicatorDefinition
from .detector import ROWS_OF_A_BATCH, Detector
from .indicator_values import NamedBars, alerts_on, columns_of, computed_on


@dataclass(slots=True)
class FoundIndicators:
    """Indicator values on marked bars. to_publish: some of the values."""

    columns: list[IndicatorColumn] = field(default_factory=list)
    to_publish: list[IndicatorValue] = field(default_factory=list)
    alerts: list[IndicatorAlert] = field(default_factory=list)


def find_indicators(detector: Detector, marks: Marks, definitions: Definitions, now_s: float) -> FoundIndicators:
    """Compute the indicators of marked bars; now_s: Unix seconds by Redis's clock."""
    found = FoundIndicators()
    for track in TRACKS:
        wanted = [
            definition
            for definition in definitions.indicators
            if definition.session == track.session and track.timeframe in definition.timeframes
        ]
        mine, ends = detector.located(track, marks) if wanted else (NO_MARKS, np.zeros(0, np.int64))
        for first in range(0, len(mine), ROWS_OF_A_BATCH):
            some = slice(first, first + ROWS_OF_A_BATCH)
            _compute(detector, track, mine[some], ends[some], wanted, now_s, found)
    return found


def _compute(  # the bars, what is wanted of them, and where it goes
    detector: Detector,
    track: Track,
    marks: Marks,
    ends: Column,
    wanted: Sequence[IndicatorDefinition],
    now_s: float,
    found: FoundIndicators,
) -> None:
    """Add the values and alerts on some bars of a track. ends: the end of each bar's window in its history."""
    symbols = marks["symbol"].astype(np.int64)
    needed = {column for definition in wanted for column in (*definition.indicator.columns, "close")}
    windows = detector.histories[track].windows(symbols, ends, WINDOW, needed)
    sums = no_session_sums(len(marks))
    if any(definition.indicator.of_session for definition in wanted):
        # A longer bar may begin before the session: add up those of its minutes that are in it.
        sums = detector.histories[REGULAR_MINUTES].session_sums(symbols, marks["minute"], track.timeframe)
    names = [detector.symbols[symbol] for symbol in symbols.tolist()]
    bars = NamedBars(names, TIMEFRAME_OF[track.timeframe], marks["minute"].tolist())
    is_first = np.isin(marks["kind"], (NEW, NEW_REDETECT))
    is_newest = detector.histories[track].last_minutes(symbols) == marks["minute"]
    computed = computed_on(windows, sums, wanted)
    for rows, column in columns_of(bars, computed, ~is_first, now_s):
        found.columns.append(column)
        found.to_publish += detector.published.choose(track, marks.take(rows), column, is_newest[rows])
    told = np.flatnonzero(is_first & marks["publish"])
    found.alerts += alerts_on(bars, windows, sums, computed, told, now_s)
