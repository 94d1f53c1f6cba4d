"""⑦ Compute the indicators of marked bars of several partitions at once, and choose the values to publish. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ...contracts.detection import IndicatorAlert, IndicatorColumn, IndicatorValue
from ...contracts.timeframe import TIMEFRAME_OF
from ..history import windows_of
from ..marks import MARK_DTYPE, NEW, NEW_REDETECT, Marks
from ..sessions import REGULAR_MINUTES, TRACKS, Track
from ..windows import WINDOW, SessionSums, no_session_sums
from .definition import Definitions, IndicatorDefinition
from .detector import Detector
from .indicator_values import Computed, NamedBars, alerts_on, columns_of, computed_on
from .sought import Sought, batches_on


@dataclass(slots=True)
class FoundIndicators:
    """Indicator values on marked bars. to_publish: some of the values."""

    columns: list[IndicatorColumn] = field(default_factory=list)
    to_publish: list[IndicatorValue] = field(default_factory=list)
    alerts: list[IndicatorAlert] = field(default_factory=list)


def find_indicators(
    sought: Sequence[tuple[Detector, Marks]], definitions: Definitions, now_s: float
) -> list[FoundIndicators]:
    """Compute the indicators of the marked bars of several partitions; now_s: Unix seconds by Redis's clock.

    Returns what was found for each (detector, marks).
    """
    found = [FoundIndicators() for _ in sought]
    for track in TRACKS:
        wanted = [
            definition
            for definition in definitions.indicators
            if definition.session == track.session and track.timeframe in definition.timeframes
        ]
        for parts in batches_on(track, sought) if wanted else ():
            _compute(found, parts, track, wanted, now_s)
    return found


def _compute(
    found: Sequence[FoundIndicators],
    parts: Sequence[Sought],
    track: Track,
    wanted: Sequence[IndicatorDefinition],
    now_s: float,
) -> None:
    """Add the values and alerts on some bars of a track."""
    bounds = np.cumsum([0, *(len(part.marks) for part in parts)]).tolist()
    marks = np.concatenate([part.marks for part in parts], dtype=MARK_DTYPE)
    needed = {column for definition in wanted for column in (*definition.indicator.columns, "close")}
    windows = windows_of([(part.detector.histories[track], part.symbols, part.ends) for part in parts], WINDOW, needed)
    sums = no_session_sums(len(marks))
    if any(definition.indicator.of_session for definition in wanted):
        sums = _session_sums(parts, track)
    names = [part.detector.symbols[symbol] for part in parts for symbol in part.symbols.tolist()]
    bars = NamedBars(names, TIMEFRAME_OF[track.timeframe], marks["minute"].tolist())
    is_first = np.isin(marks["kind"], (NEW, NEW_REDETECT))
    computed = computed_on(windows, sums, wanted)
    for part, (first, end) in zip(parts, pairwise(bounds), strict=True):
        mine = NamedBars(bars.symbols[first:end], bars.timeframe, bars.minutes[first:end])
        values = [Computed(definition, tuple(one[first:end] for one in outputs)) for definition, outputs in computed]
        is_newest = part.detector.histories[track].last_minutes(part.symbols) == part.marks["minute"]
        its = found[part.number]
        for rows, column in columns_of(mine, values, ~is_first[first:end], now_s):
            its.columns.append(column)
            its.to_publish += part.detector.published.choose(track, part.marks.take(rows), column, is_newest[rows])
    told = np.flatnonzero(is_first & marks["publish"])
    for row, alert in alerts_on(bars, windows, sums, computed, told, now_s):
        found[parts[int(np.searchsorted(bounds, row, side="right")) - 1].number].alerts.append(alert)


def _session_sums(parts: Sequence[Sought], track: Track) -> SessionSums:
    """Return the session sums of some bars. A longer bar may begin before the session: only its minutes in it count."""
    sums = [
        part.detector.histories[REGULAR_MINUTES].session_sums(part.symbols, part.marks["minute"], track.timeframe)
        for part in parts
    ]
    return SessionSums(*(np.concatenate(some) for some in zip(*sums, strict=True)))
