"""⑥ Run the patterns on marked bars of several partitions at once: one call costs more than its rows. Pure."""

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.detection import Detection, Event
from ...contracts.ticks import Column
from ...contracts.timeframe import TIMEFRAME_OF
from ..history import windows_of
from ..marks import Marks
from ..sessions import EXTENDED, TRACKS, Track, end_regular_hours, same_minutes_before
from ..windows import Windows
from .definition import Definitions, PatternDefinition
from .detections import LEAST_DEPTH, FoundBar, detections_of
from .detector import Detector
from .one_event import join_parts
from .patterns.cool_down import columns_for
from .patterns.kind import OtherDays
from .search import Hits, hits_of
from .sought import Sought, batches_on

_DAY_MINUTES = 1440  # the regular hours lie within one day of UTC


class FoundPatterns(NamedTuple):
    """Detections on marked bars, and whether each is published: if its bar is, and if it is the first of its event."""

    detections: list[Detection]
    publish: list[bool]


# (timeframe, symbols (n,), minutes (n, k)) -> volume of each of these bars in shares, (n, k); NaN: no such bar.
VolumesOf = Callable[[int, Sequence[str], Column], Column]


def _no_volumes(timeframe: int, names: Sequence[str], minutes: Column) -> Column:
    del timeframe, names
    return np.full(minutes.shape, np.nan)


def find_patterns(
    sought: Sequence[tuple[Detector, Marks]],
    definitions: Definitions,
    now_s: float,
    volumes_of: VolumesOf = _no_volumes,
) -> list[FoundPatterns]:
    """Run the patterns on marked bars of several partitions at once: one call costs more than its rows.

    now_s: Unix seconds by Redis's clock. volumes_of: for bars that the histories no longer hold. Returns what was found
    for each (detector, marks).
    """
    found = [FoundPatterns([], []) for _ in sought]
    for track in TRACKS:
        wanted = [
            pattern
            for pattern in definitions.patterns
            if pattern.session == track.session and track.timeframe in pattern.timeframes
        ]
        if not wanted:
            continue
        for some in batches_on(track, sought):
            _find_in(found, some, track, wanted, now_s, volumes_of)
    return [_of_one_event(some) for some in found]


def _of_one_event(found: FoundPatterns) -> FoundPatterns:
    """Keep for publishing only the first detection of each event."""
    detections = join_parts(found.detections)
    is_first = [one.event is Event.FIRST for one in detections]
    return FoundPatterns(detections, [*map(operator.and_, found.publish, is_first)])


def _find_in(
    found: Sequence[FoundPatterns],
    parts: Sequence[Sought],
    track: Track,
    wanted: Sequence[PatternDefinition],
    now_s: float,
    volumes_of: VolumesOf,
) -> None:
    depth = max(LEAST_DEPTH, *(columns_for(pattern.kind, pattern.parameters) for pattern in wanted))
    windows, others = _windows_of(parts, track, depth), _Others(parts, track, volumes_of)
    for pattern in wanted:
        _note(found, parts, hits_of(pattern, windows, others), pattern, windows, now_s)


class _Others(NamedTuple):
    """The other bars that confirm the patterns on marked bars of several partitions, one track. rows: of all parts."""

    parts: Sequence[Sought]
    track: Track
    volumes_of: VolumesOf

    def other_days(self, rows: Column) -> OtherDays:
        """Return the same minute on other days for some rows."""
        return _other_days(self.parts, rows, self.track, self.volumes_of)

    def earlier(self, rows: Column, bars: Column, depth: int) -> tuple[Windows, OtherDays]:
        """Return the windows that end `bars` bars before some rows, and their other days."""
        parts = _moved_back(self.parts, rows, bars, self.track)
        days = _other_days(parts, np.arange(len(rows)), self.track, self.volumes_of)
        return _windows_of(parts, self.track, depth), days


def _windows_of(parts: Sequence[Sought], track: Track, depth: int) -> Windows:
    return windows_of([(part.detector.histories[track], part.symbols, part.ends) for part in parts], depth)


def _moved_back(parts: Sequence[Sought], rows: Column, bars: Column, track: Track) -> list[Sought]:
    """Return for each row the bar that is `bars` bars before it. rows: of all parts, ascending."""
    earlier, first = [], 0
    for part in parts:
        here = (rows >= first) & (rows < first + len(part.marks))
        mine = rows[here] - first
        marks, ends = part.marks.take(mine), part.ends[mine] - bars[here]
        marks["minute"] = part.detector.histories[track].starts_of(part.symbols[mine], ends, 1)
        earlier.append(part._replace(marks=marks, ends=ends))
        first += len(part.marks)
    return earlier


def _other_days(parts: Sequence[Sought], rows: Column, track: Track, volumes_of: VolumesOf) -> OtherDays:
    """Return the same minute on other days for some rows (of all parts)."""
    found, first = [], 0
    for part in parts:
        mine = rows[(rows >= first) & (rows < first + len(part.marks))] - first
        found.append((_same_minute(part, mine, track, volumes_of), _are_edges(part, mine, track)))
        first += len(part.marks)
    return OtherDays(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _same_minute(part: Sought, rows: Column, track: Track, volumes_of: VolumesOf) -> Column:
    """Return the volumes of the same minute on the days before; NaN for days before a split."""
    detector, symbols, minutes = part.detector, part.symbols[rows], part.marks["minute"][rows]
    before = same_minutes_before(minutes, track.timeframe)
    each = np.repeat(np.arange(len(rows)), before.shape[1])
    is_split = detector.splits.lie_between(symbols[each], before.ravel(), minutes[each]).reshape(before.shape)
    before[is_split] = -1
    names = [detector.symbols[symbol] for symbol in symbols.tolist()]
    held = detector.histories[track].volumes_at(symbols, before)  # the bars of this commit, too
    return np.where(np.isnan(held), volumes_of(track.timeframe, names, before), held)


def _are_edges(part: Sought, rows: Column, track: Track) -> Column:
    """Tell which bars end their day, or have another day among the 20 before; in a market that never closes none."""
    if track.session == EXTENDED:
        return np.zeros(len(rows), bool)
    symbols, ends = part.symbols[rows], part.ends[rows]
    starts = part.detector.histories[track].starts_of(symbols, ends, LEAST_DEPTH)
    minutes = part.marks["minute"][rows]
    is_other_day = starts // _DAY_MINUTES < minutes // _DAY_MINUTES
    is_edge = is_other_day | end_regular_hours(minutes, track.timeframe)
    return np.asarray(is_edge & ~part.detector.sessions.are_always_open(symbols))


def _note(
    found: Sequence[FoundPatterns],
    parts: Sequence[Sought],
    hits: Hits,
    pattern: PatternDefinition,
    windows: Windows,
    now_s: float,
) -> None:
    """Add a detection for each row (of all parts) in which a pattern was found, to the partition of the row."""
    bounds = np.cumsum([0, *(len(part.marks) for part in parts)])
    owners = (np.searchsorted(bounds, hits.rows, side="right") - 1).tolist()
    bars, publish = [], []
    for row, owner, after in zip(hits.rows.tolist(), owners, hits.since.tolist(), strict=True):
        mark = parts[owner].marks[row - bounds[owner]]
        symbol, timeframe = parts[owner].detector.symbols[mark["symbol"]], TIMEFRAME_OF[int(mark["timeframe"])]
        bars.append(FoundBar(symbol, timeframe, int(mark["minute"]), after))
        publish.append(bool(mark["publish"]))
    detections = detections_of(bars, pattern, hits, windows, now_s)
    for owner, detection, is_told in zip(owners, detections, publish, strict=True):
        found[parts[owner].number].detections.append(detection)
        found[parts[owner].number].publish.append(is_told)
