"""⑥ ⑦ What a commit finds: bars absorbed or marked, marked bars detected, all of it put into the commit's plans.

A commit's own bars are detected in its transaction where their symbols' histories are there. What waits, for a history
or because indicators come after patterns, stands as marks in the checkpoint, and is done by commits without bars.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import structlog

from ...contracts.bar import has_prices
from ...contracts.detection import iso_minute
from ...contracts.ticks import Column
from ...contracts.timeframe import HIGHER
from ...db.postgres import Connection
from ...db.sessions import always_open_symbols
from ...db.staged_rows import StagedIndicator
from ...db.tables.detections import WantedBars, load_bars, session_sums_before, standing_detections, volumes_of
from ...db.tables.forgotten_bars import bars_kept, put_back_around
from ...db.tables.splits import split_minutes
from ...db.world import World
from ..detect.definition import Definitions
from ..detect.definitions import read_definitions
from ..detect.detector import COMPLETE, NOT_LOADED, Detector, FoundPatterns, find_patterns, waiting_for
from ..detect.history_memory import WHOLE_WINDOW_BYTES, HistoryMemory
from ..marks import AFFECTED, INDICATORS, NEW, PATTERNS, REVISED, higher_marks, joined, marks_of
from ..partition.bar_book import NO_BARS
from ..partition.partition_state import PartitionState
from ..sessions import ALL_MINUTES, EXTENDED, REGULAR_MINUTES, TRACKS, Sessions, Track, session_of
from ..windows import CLOSED_DTYPE, SLACK, run_around
from .histories import Histories
from .plan import PartitionPlan

log = structlog.get_logger()

_READ_EVERY_S = 60.0
_LOADED_SYMBOLS = 256  # of a partition in one step ahead: bars flow on between two
_PATTERN_MARKS = 16_384  # in one commit: a quarter of a second's work, two seconds' with every pattern switched on
_INDICATOR_MARKS = 256  # of a partition in one commit
_NO_MINUTE = 2**31 - 1


class ResultFinder:
    """Finds results for the commits of one worker. definitions: read again each minute."""

    def __init__(self, connection: Connection, *, world: World, history_mb: int) -> None:
        self._world = world
        self.histories = Histories()
        self._memory = HistoryMemory(history_mb << 20)
        self._splits: dict[str, tuple[int, ...]] = {}
        self._always_open: frozenset[str] = frozenset()
        self._wanted: frozenset[Track] | None = None  # None: not read yet
        self.open(connection)

    def open(self, connection: Connection) -> None:
        """Use this connection from now on."""
        self._connection = connection
        self.definitions = Definitions()
        self._read_at = 0.0

    def read_again(self) -> None:
        """Read the definitions with the next bars."""
        self._read_at = 0.0

    def _read_definitions_if_due(self) -> None:
        """Read which detectors are on."""
        if self._world.monotonic_s() >= self._read_at:
            self.definitions = read_definitions(self._connection)
            if (wanted := self.definitions.tracks()) != self._wanted:
                self._wanted = wanted
            if (always_open := always_open_symbols(self._connection)) != self._always_open:
                self._always_open = always_open
            if (splits := split_minutes(self._connection)) != self._splits:
                self._splits = splits
            self._read_at = self._world.monotonic_s() + _READ_EVERY_S

    def _prepare(self, detector: Detector) -> None:
        """Let a detector know what was read; it loads again what is other than it was."""
        detector.take_splits(self._splits)
        detector.take_always_open(self._always_open)
        if self._wanted is not None:
            detector.take_wanted(self._wanted)

    def find(
        self, plans: Sequence[PartitionPlan], rows: Column, changed: Column, stand_again: Column, now_s: float
    ) -> None:
        """Absorb the bars that a commit changes, and run the patterns on those whose histories are there.

        rows: staged bars. stand_again: replayed or repaired to what they were; what is on may be other than then, so
        they are looked at once more, and nothing is told. now_s: Unix seconds by Redis's clock.
        """
        self._read_definitions_if_due()
        self._begin(plans)
        for plan in plans:
            self._prepare(plan.detector)
            mine = rows["partition"] == plan.state.partition
            _absorb(plan, rows.compress(changed & mine))
            if (again := stand_again & mine).any():
                plan.marks = joined([plan.marks, _marks_again(plan.state, rows.compress(again))])
        self._find_patterns(plans, now_s)
        self._memory.keep_within()

    def find_marked(self, plans: Sequence[PartitionPlan], now_s: float) -> None:
        """Do what marked bars wait for: load histories, run patterns, compute indicators; as much as fits a commit."""
        self._read_definitions_if_due()
        self._begin(plans)
        for plan in plans:
            plan.marks = self._load(plan.detector, plan.marks, now_s)
        self._find_patterns(plans, now_s)
        is_awaited = any(plan.found.told for plan in plans)  # indicators would only delay what is told
        for plan in plans:
            if not is_awaited:
                self._find_indicators(plan, now_s)
            plan.detector.drop_parts()
        self._memory.keep_within()

    def _begin(self, plans: Sequence[PartitionPlan]) -> None:
        for plan in plans:
            self.histories.lend(plan)
        self._memory.begin([plan.detector for plan in plans])

    # -- patterns --------------------------------------------------------------------------------------------------

    def _find_patterns(self, plans: Sequence[PartitionPlan], now_s: float) -> None:
        """Run the patterns on marked bars whose histories are there, on _PATTERN_MARKS of them."""
        most = _PATTERN_MARKS
        sought = []
        for plan in plans:
            detector = plan.detector
            ready = _whole(detector, plan.marks, PATTERNS, most)
            if not ready.any():
                continue
            most -= int(ready.sum())
            marks = plan.marks.compress(ready)
            plan.found.higher, higher = detector.absorb_higher(marks.compress(marks["timeframe"] > 1))
            marks = joined([marks.compress(marks["timeframe"] == 1), higher])
            rest = waiting_for(marks, INDICATORS) if self.definitions.indicators else marks[:0]
            plan.marks = joined([plan.marks.compress(~ready), rest])
            sought.append((plan, marks))
        found = find_patterns(
            [(plan.detector, marks) for plan, marks in sought],
            self.definitions,
            now_s,
            partial(volumes_of, self._connection),
        )
        self._compare([(plan, marks, one) for (plan, marks), one in zip(sought, found, strict=True)])

    def _compare(self, found: Sequence[tuple[PartitionPlan, Column, FoundPatterns]]) -> None:
        """Hold what was found against the detections that stand: new, found again, or taken away."""
        bars = [
            (plan.state.symbols[mark["symbol"]], int(mark["timeframe"]), int(mark["minute"]))
            for plan, marks, _ in found
            for mark in marks[marks["kind"] != NEW]
        ]
        flow_ids = [detection.flow_id for _, _, one in found for detection in one.detections]
        if not bars and not flow_ids:
            return
        standing = standing_detections(self._connection, bars, flow_ids)
        here = set(flow_ids)
        away = {flow_id: one for flow_id, one in standing.items() if flow_id not in here}
        gone = {flow_id: one.symbol for flow_id, one in away.items() if not one.is_superseded}
        for plan, _, one in found:
            plan.found.superseded |= {i: symbol for i, symbol in gone.items() if plan.state.knows(symbol)}
            for detection, publish in zip(one.detections, one.publish, strict=True):
                stands = standing.get(detection.flow_id)
                (plan.found.again if stands else plan.found.new).append(detection)
                # Not there yet, or taken away and back, or the repeat of an event whose first bar is none any more.
                if publish and (stands is None or stands.is_superseded or stands.is_repeat):
                    plan.found.told.append(detection)

    # -- indicators ------------------------------------------------------------------------------------------------

    def _find_indicators(self, plan: PartitionPlan, now_s: float) -> None:
        detector = plan.detector
        ready = _whole(detector, plan.marks, INDICATORS, _INDICATOR_MARKS)
        if not ready.any():
            return
        found = detector.find_indicators(plan.marks.compress(ready), self.definitions, now_s)
        partition = plan.state.partition
        plan.found.indicators = [
            StagedIndicator(partition, again, value) for again, value in zip(found.again, found.values, strict=True)
        ]
        plan.found.told_indicators, plan.found.alerts = found.told, found.alerts
        plan.marks = plan.marks.compress(~ready)

    # -- histories -------------------------------------------------------------------------------------------------

    def has_detectable(self, state: PartitionState) -> bool:
        """Tell whether marked bars of a partition wait whose histories are there."""
        return len(state.marks) > 0 and bool(self.histories.of(state).covers(state.marks).any())

    def load_ahead(self, state: PartitionState) -> bool:
        """Load histories of symbols with open bars, before those close; return whether there were any to load.

        Only as far as there is room: what was loaded to make room for it would be loaded again, without an end.
        """
        symbols = np.unique(
            np.concatenate([NO_BARS["symbol"], *(book.bars["symbol"] for book in state.feeds.values())])
        )
        if len(state.marks) or not len(symbols):
            return False
        detector = self.histories.of(state)
        self._prepare(detector)
        for track in TRACKS:
            missing = symbols[~detector.has(symbols, track)]
            if len(missing) and (most := min(self._memory.room() // WHOLE_WINDOW_BYTES, _LOADED_SYMBOLS)):
                self._memory.note(detector)
                some = missing[:most].astype(np.int32)
                self._load_track(detector, track, some, np.full(len(some), _NO_MINUTE))
                detector.drop_parts()
                return True
        return False

    def _load(self, detector: Detector, marks: Column, now_s: float) -> Column:
        """Load the histories that marked bars need; return the marks with those of what hangs on these bars."""
        self._prepare(detector)
        missing = np.unique(marks["symbol"][~detector.covers(marks)])[: self._memory.symbols_of_a_step]
        if not len(missing):
            return marks
        mine = marks[np.isin(marks["symbol"], missing)]
        hanging: list[Column] = []
        for track in (ALL_MINUTES, REGULAR_MINUTES):
            short = np.unique(mine["symbol"][detector.short_of(track, mine)])
            if not len(short):
                continue
            of_short = mine[np.isin(mine["symbol"], short)]
            # A higher bar needs those of its own span alone, which stand before its end.
            first = np.minimum(
                _first_minutes(of_short[of_short["timeframe"] == 1], short),
                _first_minutes(of_short[of_short["timeframe"] > 1], short) + HIGHER[-1],
            )
            loaded = self._load_track(detector, track, short, np.minimum(first, _NO_MINUTE), now_s)
            if track in detector.wanted:
                its = _of_track(mine, track, detector.sessions)
                hanging += [
                    _hanging(its[its["symbol"] == symbol], minutes)
                    for symbol, minutes in zip(short.tolist(), loaded, strict=True)
                ]
        for track in TRACKS:
            its = mine[(mine["timeframe"] == track.timeframe) & (track.timeframe > 1)]
            symbols = np.unique(its["symbol"][detector.short_of(track, its)])
            if len(symbols):
                self._load_track(detector, track, symbols, _first_minutes(its, symbols), now_s)
        detector.level_reach(missing)
        return joined([marks, *hanging])

    def _load_track(
        self, detector: Detector, track: Track, symbols: Column, first: Column, now_s: float | None = None
    ) -> list[Column]:
        """Load one track of some symbols, around these minutes, and note how far each reaches.

        Returns the minutes of each symbol's loaded bars, with those of other runs, which its history does not hold.
        now_s: None where the newest bars are loaded, which are always there.
        """
        history = detector.histories[track]
        names = [detector.symbols[symbol] for symbol in symbols]
        is_whole = [True] * len(names)
        if track.session != EXTENDED:
            is_whole = detector.sessions.are_always_open(symbols).tolist()
        minutes = dict(zip(names, first.tolist(), strict=True))
        wanted = WantedBars(track.timeframe, minutes, is_whole, history.window, SLACK)
        with bars_kept(self._connection, first if now_s is not None else first[:0], now_s or 0.0) as are_old:
            if are_old:
                put_back_around(self._connection, wanted)
            loaded = load_bars(self._connection, wanted)
            found = [_closed_bars(int(symbol), rows) for symbol, rows in zip(symbols, loaded, strict=True)]
            runs = [
                run_around(rows, minute, detector.splits) for rows, minute in zip(found, first.tolist(), strict=True)
            ]
            bars = [rows[run] for rows, run in zip(found, runs, strict=True)]
            sums = self._session_sums(names, bars) if track == REGULAR_MINUTES else {}
        history.clear(symbols)
        history.append(np.concatenate(bars))
        before = [(rows["minute"] <= minute).sum() for rows, minute in zip(bars, first, strict=True)]
        begins = [rows["minute"][0] if run.start else 0 for rows, run in zip(bars, runs, strict=True)]
        history.note_cut(symbols, np.array(before) >= history.window, np.array(begins))
        for i, (symbol, rows) in enumerate(zip(symbols.tolist(), bars, strict=True)):
            history.add_before(symbol, sums.get(i, (0, 0)))
            reach = COMPLETE
            if runs[i].stop < len(loaded[i]):  # nothing stands up to where the next run begins
                reach = loaded[i]["minute"][runs[i].stop] - 1
            elif (rows["minute"] > first[i]).sum() == SLACK:  # there may be more
                reach = rows["minute"][-1]
            detector.set_reach(symbol, reach, track)
        detector.note_used(track.timeframe, symbols)
        return [rows["minute"] for rows in loaded]

    def _session_sums(self, names: Sequence[str], bars: Sequence[Column]) -> dict[int, tuple[int, int]]:
        """Return the session sums up to the first loaded bar of those that begin within a session."""
        wanted = {}
        for i, rows in enumerate(bars):
            session = int(session_of(rows["minute"][:1])[0]) if len(rows) else NOT_LOADED
            if 0 <= session < (rows["minute"][0] if len(rows) else 0):
                wanted[i] = (names[i], session, int(rows["minute"][0]))
        if not wanted:
            return {}
        sums = session_sums_before(self._connection, list(wanted.values()))
        return {i: sums[number] for number, i in enumerate(wanted) if number in sums}


def _whole(detector: Detector, marks: Column, stage: int, most: int) -> Column:
    """Choose up to `most` of the bars that wait for a stage and have whole windows.

    While 1-minute bars wait for their patterns, those of higher timeframes are left to the next commit.
    """
    ready = (marks["stage"] == stage) & detector.covers(marks)
    minutes = ready & (marks["timeframe"] == 1)
    if stage == PATTERNS and minutes.any():
        ready = minutes
    ready &= ready.cumsum() <= most
    detector.expect_fit(marks.compress(ready))
    return np.asarray(ready & detector.covers(marks))


def _absorb(plan: PartitionPlan, rows: Column) -> None:
    """Bring changed bars into the histories, and mark them and the higher bars that they close."""
    state = plan.state
    marks = [plan.marks]
    for feed, book in state.feeds.items():
        mine = rows.compress(rows["feed"] == feed.encode())
        priced = has_prices(mine)
        gone = _take_gone(plan, mine.compress(~priced), publish=book.publish)
        mine = mine.compress(priced)
        new = plan.detector.absorb(_staged_bars(state, mine), mine["revision"] > 0, publish=book.publish)
        if jumped := plan.detector.jumped:
            first, minute = jumped[0]
            log.info(
                "histories begin anew: a split, or a long gap", symbols=len(jumped), first=first, at=iso_minute(minute)
            )
        waiting = joined([book.waiting, higher_marks(joined([gone, new.compress(new["kind"] != AFFECTED)]))])
        due = book.due_higher(waiting, state.limits.lateness_ns)
        marks += [gone, new, waiting.compress(due)]
        plan.waiting[feed] = waiting.compress(~due)
    plan.marks = joined(marks)


def _marks_again(state: PartitionState, rows: Column) -> Column:
    """Mark bars that stand as they were, and the higher ones that they belong to."""
    codes = state.codes_of(symbol.decode() for symbol in rows["symbol"].tolist())
    minutes = marks_of(codes, rows["minute"], AFFECTED, publish=False)
    higher = higher_marks(minutes)
    higher["kind"] = AFFECTED
    return joined([minutes, higher])


def _take_gone(plan: PartitionPlan, rows: Column, *, publish: bool) -> Column:
    """Forget the histories of symbols with a bar that is none any more; mark it, for what hangs on it."""
    codes = plan.state.codes_of(symbol.decode() for symbol in rows["symbol"].tolist())
    for code in codes.tolist():
        plan.detector.set_reach(code, NOT_LOADED)
    return marks_of(codes, rows["minute"], REVISED, publish=publish)


def _staged_bars(state: PartitionState, rows: Column) -> Column:
    bars = np.empty(len(rows), CLOSED_DTYPE)
    for name in CLOSED_DTYPE.names or ():
        if name != "symbol":
            bars[name] = rows[name]
    bars["symbol"] = state.codes_of(symbol.decode() for symbol in rows["symbol"].tolist())
    return bars


def _closed_bars(symbol: int, rows: Column) -> Column:
    bars = np.empty(len(rows), CLOSED_DTYPE)
    for name in CLOSED_DTYPE.names or ():
        bars[name] = symbol if name == "symbol" else rows[name]
    return bars


def _first_minutes(marks: Column, symbols: Column) -> Column:
    """Return the earliest marked minute of each of some symbols; far in the future where none is marked."""
    marks = marks[np.isin(marks["symbol"], symbols)]
    first = np.full(int(symbols.max()) + 1, _NO_MINUTE, np.int64)
    np.minimum.at(first, marks["symbol"], marks["minute"])
    earliest: Column = first[symbols]
    return earliest


def _of_track(marks: Column, track: Track, sessions: Sessions) -> Column:
    """Return the marks of a track's bars."""
    marks = marks[marks["timeframe"] == track.timeframe]
    if track.session == EXTENDED:
        return marks
    return np.asarray(marks[sessions.are_regular(marks["symbol"], marks["minute"], track.timeframe)])


def _hanging(marks: Column, minutes: Column) -> Column:
    """Mark the loaded 1-minute bars of a symbol that come behind a marked one and are not marked: they hang on it.

    Those of the next run, too: where it begins may hang on the marked bar.
    """
    mine: Column = marks[(marks["timeframe"] == 1) & (marks["stage"] == PATTERNS) & (marks["kind"] != AFFECTED)]
    if not len(mine):
        return mine
    behind = np.setdiff1d(minutes[minutes > mine["minute"].min()], mine["minute"])
    publish = bool(mine["publish"].any())
    return marks_of(np.full(len(behind), mine["symbol"][0]), behind, AFFECTED, publish=publish)
