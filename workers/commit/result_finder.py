"""⑥ ⑦ What a commit finds: put its bars into the histories, run the detectors, put the results into its plans.

A bar's patterns are written in the transaction of the bar, if its symbol's history is loaded. Otherwise the bar is
marked in the checkpoint, and a later commit without bars detects it. Indicators always come in such a commit.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import structlog

from ...contracts.bar import has_prices
from ...contracts.detection import iso_minute
from ...contracts.ticks import Codes, Mask, Minutes
from ...contracts.timeframe import HIGHER
from ...db.postgres import Connection
from ...db.sessions import always_open_symbols
from ...db.staged_rows import StagedIndicator, StagedRows
from ...db.tables.detections import WantedBars, load_bars, session_sums_before, standing_detections, volumes_of
from ...db.tables.forgotten_bars import bars_kept, put_back_around
from ...db.tables.splits import split_minutes
from ...db.world import World
from ..detect.definition import Definitions
from ..detect.definitions import read_definitions
from ..detect.detector import COMPLETE, NOT_LOADED, Detector, FoundPatterns, find_patterns, waiting_for
from ..detect.history_memory import WHOLE_WINDOW_BYTES, HistoryMemory
from ..marks import AFFECTED, INDICATORS, NEW, NO_MARKS, PATTERNS, REVISED, Marks, higher_marks, joined, marks_of
from ..partition.bar_book import NO_BARS
from ..partition.feed_bars import ClosedBars
from ..partition.numbering import are_among
from ..partition.partition_state import PartitionState
from ..sessions import ALL_MINUTES, EXTENDED, REGULAR_MINUTES, TRACKS, Sessions, Track, session_of
from ..windows import CLOSED_DTYPE, SLACK, ClosedRows, run_around
from .ahead import Ahead, bars_so_far, found_now
from .histories import Histories
from .plan import Findings, PartitionPlan

log = structlog.get_logger()

_READ_EVERY_S = 60.0
_LOADED_SYMBOLS = 256  # of a partition in one call of load_ahead: bars are read between two calls
_PATTERN_MARKS = 16_384  # in one commit: a quarter of a second's work, two seconds' with every pattern switched on
_INDICATOR_MARKS = 256  # of a partition in one commit
_NO_MINUTE = 2**31 - 1


class _Taken(NamedTuple):
    """Bars that were in the histories before their close, and close now. unchanged: symbols with valid results."""

    ahead: Ahead
    unchanged: Codes


class ResultFinder:
    """Finds results for the commits of one worker. definitions: what is on; read again each minute."""

    def __init__(self, connection: Connection, *, world: World, history_mb: int) -> None:
        self._world = world
        self.histories = Histories()
        self._memory = HistoryMemory(history_mb << 20)
        self._splits: dict[str, tuple[int, ...]] = {}
        self._always_open: frozenset[str] = frozenset()
        self._wanted: frozenset[Track] | None = None  # None: not read yet
        self._taken: dict[int, _Taken] = {}  # by partition, for the present commit
        self.open(connection)

    def open(self, connection: Connection) -> None:
        """Use this connection from now on."""
        self._connection = connection
        self.definitions = Definitions()
        self._read_at = 0.0

    def read_again(self) -> None:
        """Read the definitions again before the next bars."""
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
        """Give a detector the definitions, splits and markets; it drops the histories that these change."""
        detector.take_splits(self._splits)
        detector.take_always_open(self._always_open)
        if self._wanted is not None:
            detector.take_wanted(self._wanted)

    def find(
        self, plans: Sequence[PartitionPlan], rows: StagedRows, changed: Mask, rewritten: Mask, now_s: float
    ) -> None:
        """Absorb the bars that a commit changes, and run the patterns on those whose histories are loaded.

        rows: staged bars. rewritten: a replay or repair wrote the same values again. Other definitions may be on by
        now, so these bars are detected again, but nothing is published. now_s: Unix seconds by Redis's clock.
        """
        self._read_definitions_if_due()
        self._begin(plans)
        done = set()
        for plan in plans:
            self._prepare(plan.detector)
            mine = rows["partition"] == plan.state.partition
            ahead = self._closing_ahead(plan)
            if ahead is not None and self._is_done(ahead, plan, rows["fresh"] & mine):
                ahead.close(plan, now_s)
                done.add(plan.state.partition)
                continue
            if taken := _absorb(plan, rows.compress(changed & mine), ahead):
                self._taken[plan.state.partition] = taken
            if (again := rewritten & mine).any():
                plan.marks = joined([plan.marks, _marks_again(plan.state, rows.compress(again))])
        self._find_patterns([plan for plan in plans if plan.state.partition not in done], now_s)
        self._memory.keep_within()

    def find_ahead(self, soon: Sequence[tuple[PartitionState, ClosedBars, Mask]], now_s: float) -> bool:
        """Put bars that close soon into the histories, and run the patterns on them; `find` uses the results.

        soon: partitions without such bars, their bars that close soon, and a mask of the fresh ones. Returns whether
        the histories of any of these bars are loaded.
        """
        self._read_definitions_if_due()
        begun = [self._put_ahead(state, closed, fresh) for state, closed, fresh in soon]
        ahead = [(one, self.histories.of(one.state)) for one in begun if one is not None and len(one.marks)]
        found = find_patterns(
            [(detector, one.marks) for one, detector in ahead],
            self.definitions,
            now_s,
            partial(volumes_of, self._connection),
        )
        self._compare([(one.state, one.found, one.marks, some) for (one, _), some in zip(ahead, found, strict=True)])
        return any(one is not None for one in begun)

    def _put_ahead(self, state: PartitionState, closed: ClosedBars, fresh: Mask) -> Ahead | None:
        detector = self.histories.of(state)
        self._memory.note(detector)
        self._prepare(detector)
        bars = bars_so_far(closed, fresh)
        loaded = detector.covers(marks_of(bars["symbol"], bars["minute"], NEW, publish=closed.book.publish))
        bars = bars.compress(loaded)
        if not len(bars):
            return None
        marks = _absorb_bars(detector, bars, np.zeros(len(bars), bool), publish=closed.book.publish)
        ready = _whole(detector, marks, PATTERNS, _PATTERN_MARKS)
        ready_marks, before = marks.compress(ready), closed.book.waiting
        waiting = (before, joined([before, higher_marks(marks)]))
        ahead = Ahead(state, closed.feed, closed.rows, bars, ready_marks, Findings(), self.definitions, waiting)
        self.histories.note_ahead(state, ahead)
        return ahead

    def is_ahead(self, state: PartitionState) -> bool:
        """Tell whether a partition's histories hold bars that are still open."""
        self.histories.of(state)
        return self.histories.ahead_of(state) is not None

    def _is_done(self, ahead: Ahead, plan: PartitionPlan, fresh: Mask) -> bool:
        """Tell whether all results on the bars of a plan were found before their close. fresh: of its staged bars."""
        return ahead.definitions is self.definitions and int(fresh.sum()) == len(ahead.rows) and ahead.is_all_of(plan)

    def _closing_ahead(self, plan: PartitionPlan) -> Ahead | None:
        """Return the bars in the histories that this plan closes, and forget that they were open."""
        ahead = self.histories.ahead_of(plan.state)
        if ahead is None:
            return None
        if ahead.closes_with(plan.closed):
            self.histories.note_ahead(plan.state, None)
            return ahead
        earlier = [closed.rows["symbol"] for closed in plan.closed]  # late trades: these histories change before them
        if earlier:
            ahead.take_back(np.concatenate(earlier), plan.detector)
        return None

    def find_marked(self, plans: Sequence[PartitionPlan], now_s: float) -> None:
        """Detect marked bars: load histories, run patterns, compute indicators; as much as fits into one commit."""
        self._read_definitions_if_due()
        self._begin(plans)
        for plan in plans:
            plan.marks = self._load(plan.detector, plan.marks, now_s)
        self._find_patterns(plans, now_s)
        is_awaited = any(plan.found.to_publish for plan in plans)  # a new pattern goes out at once, without indicators
        for plan in plans:
            if not is_awaited:
                self._find_indicators(plan, now_s)
            plan.detector.drop_parts()
        self._memory.keep_within()

    def _begin(self, plans: Sequence[PartitionPlan]) -> None:
        self._taken = {}
        for plan in plans:
            self.histories.lend(plan)
        self._memory.begin([plan.detector for plan in plans])

    # -- patterns --------------------------------------------------------------------------------------------------

    def _find_patterns(self, plans: Sequence[PartitionPlan], now_s: float) -> None:
        """Run the patterns on marked bars whose histories are loaded, at most on _PATTERN_MARKS of them."""
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
            sought.append((plan, self._take_ahead(plan, marks, now_s)))
        sought = [(plan, marks) for plan, marks in sought if len(marks)]
        found = find_patterns(
            [(plan.detector, marks) for plan, marks in sought],
            self.definitions,
            now_s,
            partial(volumes_of, self._connection),
        )
        self._compare([(plan.state, plan.found, marks, one) for (plan, marks), one in zip(sought, found, strict=True)])

    def _take_ahead(self, plan: PartitionPlan, marks: Marks, now_s: float) -> Marks:
        """Use the results found before the close for these marked bars; return the marks of bars without results."""
        taken = self._taken.get(plan.state.partition)
        if taken is None or taken.ahead.definitions is not self.definitions:
            return marks
        ahead, unchanged = taken
        mine = (marks["timeframe"] == 1) & (marks["minute"] == ahead.minute)
        mine &= are_among(marks["symbol"], unchanged) & are_among(marks["symbol"], ahead.marks["symbol"])
        found, gone = ahead.found, np.setdiff1d(ahead.marks["symbol"], marks["symbol"][mine])
        if len(gone):
            found = found.without({plan.state.symbols[code] for code in gone.tolist()}, gone)
        plan.found = replace(found_now(found, now_s), higher=plan.found.higher)
        return marks.compress(~mine)

    def _compare(self, found: Sequence[tuple[PartitionState, Findings, Marks, FoundPatterns]]) -> None:
        """Compare what was found with the stored detections: each is new, found again, or superseded."""
        bars = [
            (state.symbols[mark["symbol"]], int(mark["timeframe"]), int(mark["minute"]))
            for state, _, marks, _ in found
            for mark in marks[marks["kind"] != NEW]
        ]
        flow_ids = [detection.flow_id for *_, one in found for detection in one.detections]
        if not bars and not flow_ids:
            return
        stored = standing_detections(self._connection, bars, flow_ids)
        here = set(flow_ids)
        away = {flow_id: one for flow_id, one in stored.items() if flow_id not in here}
        gone = {flow_id: one.symbol for flow_id, one in away.items() if not one.is_superseded}
        for state, findings, _, one in found:
            findings.superseded |= {i: symbol for i, symbol in gone.items() if state.knows(symbol)}
            for detection, publish in zip(one.detections, one.publish, strict=True):
                before = stored.get(detection.flow_id)
                (findings.again if before else findings.new).append(detection)
                # New; or superseded before; or the repeat of an event whose first detection is gone now.
                if publish and (before is None or before.is_superseded or before.is_repeat):
                    findings.to_publish.append(detection)

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
        plan.found.indicators_to_publish, plan.found.alerts = found.to_publish, found.alerts
        plan.marks = plan.marks.compress(~ready)

    # -- histories -------------------------------------------------------------------------------------------------

    def has_detectable(self, state: PartitionState) -> bool:
        """Tell whether some marked bars of a partition have their histories loaded."""
        return len(state.marks) > 0 and bool(self.histories.of(state).covers(state.marks).any())

    def load_ahead(self, state: PartitionState) -> bool:
        """Load histories of symbols with open bars, before the bars close; return whether any were loaded.

        Only while there is room: otherwise it would push out other histories, which would be loaded again, and so on.
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

    def _load(self, detector: Detector, marks: Marks, now_s: float) -> Marks:
        """Load the histories that marked bars need; return the marks, and those of the bars that depend on them."""
        self._prepare(detector)
        missing = np.unique(marks["symbol"][~detector.covers(marks)])[: self._memory.symbols_of_a_step]
        if not len(missing):
            return marks
        mine = marks[np.isin(marks["symbol"], missing)]
        affected: list[Marks] = []
        for track in (ALL_MINUTES, REGULAR_MINUTES):
            short = np.unique(mine["symbol"][detector.short_of(track, mine)])
            if not len(short):
                continue
            of_short = mine[np.isin(mine["symbol"], short)]
            # A higher bar needs only the 1-minute bars of its own span, which begin before its end.
            first = np.minimum(
                _first_minutes(of_short[of_short["timeframe"] == 1], short),
                _first_minutes(of_short[of_short["timeframe"] > 1], short) + HIGHER[-1],
            )
            loaded = self._load_track(detector, track, short, np.minimum(first, _NO_MINUTE), now_s)
            if track in detector.wanted:
                its = _of_track(mine, track, detector.sessions)
                affected += [
                    _affected(its[its["symbol"] == symbol], minutes)
                    for symbol, minutes in zip(short.tolist(), loaded, strict=True)
                ]
        for track in TRACKS:
            its = mine[(mine["timeframe"] == track.timeframe) & (track.timeframe > 1)]
            symbols = np.unique(its["symbol"][detector.short_of(track, its)])
            if len(symbols):
                self._load_track(detector, track, symbols, _first_minutes(its, symbols), now_s)
        detector.level_reach(missing)
        return joined([marks, *affected])

    def _load_track(
        self, detector: Detector, track: Track, symbols: Codes, first: Minutes, now_s: float | None = None
    ) -> list[Minutes]:
        """Load one track of some symbols, around these minutes, and note how far each history reaches.

        Returns the minutes of each symbol's loaded bars. Some may belong to another run, which the history leaves out.
        now_s: None to load the newest bars, which `recent_bar` always holds.
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
            if runs[i].stop < len(loaded[i]):  # there is no bar up to the begin of the next run
                reach = loaded[i]["minute"][runs[i].stop] - 1
            elif (rows["minute"] > first[i]).sum() == SLACK:  # there may be more
                reach = rows["minute"][-1]
            detector.set_reach(symbol, reach, track)
        detector.note_used(track.timeframe, symbols)
        return [rows["minute"] for rows in loaded]

    def _session_sums(self, names: Sequence[str], bars: Sequence[ClosedRows]) -> dict[int, tuple[int, int]]:
        """Return the session sums before the first loaded bar, for each index whose bars begin inside a session."""
        wanted = {}
        for i, rows in enumerate(bars):
            session = int(session_of(rows["minute"][:1])[0]) if len(rows) else NOT_LOADED
            if 0 <= session < (rows["minute"][0] if len(rows) else 0):
                wanted[i] = (names[i], session, int(rows["minute"][0]))
        if not wanted:
            return {}
        sums = session_sums_before(self._connection, list(wanted.values()))
        return {i: sums[number] for number, i in enumerate(wanted) if number in sums}


def _whole(detector: Detector, marks: Marks, stage: int, most: int) -> Mask:
    """Choose up to `most` marked bars of a stage whose windows are loaded.

    While 1-minute bars wait for their patterns, bars of higher timeframes are left to the next commit.
    """
    ready = (marks["stage"] == stage) & detector.covers(marks)
    minutes = ready & (marks["timeframe"] == 1)
    if stage == PATTERNS and minutes.any():
        ready = minutes
    ready &= ready.cumsum() <= most
    detector.expect_fit(marks.compress(ready))
    return np.asarray(ready & detector.covers(marks))


def _absorb(plan: PartitionPlan, rows: StagedRows, ahead: Ahead | None) -> _Taken | None:
    """Put changed bars into the histories; mark them, and the higher bars that close with them.

    ahead: the bars that are in the histories already; those of them with unchanged values are only marked. Returns them
    with the symbols whose bars have not changed.
    """
    state, taken = plan.state, None
    marks = [plan.marks]
    for feed, book in state.feeds.items():
        mine = rows.compress(rows["feed"] == feed.encode())
        priced = has_prices(mine)
        gone = _take_gone(plan, mine.compress(~priced), publish=book.publish)
        mine = mine.compress(priced)
        bars, revised = _staged_bars(state, mine), mine["revision"] > 0
        if ahead is not None and feed == ahead.feed:
            # A late trade of an earlier minute in this commit changes the results on the bar, too.
            earlier = bars["symbol"].compress(bars["minute"] != ahead.minute)
            kept = ahead.are_kept(bars, plan.detector) & ~are_among(bars["symbol"], earlier)
            taken = _Taken(ahead, bars["symbol"].compress(kept))
            ahead.take_back(np.setdiff1d(ahead.bars["symbol"], taken.unchanged), plan.detector)
            there = marks_of(bars["symbol"][kept], bars["minute"][kept], NEW, publish=book.publish)
            new = _absorb_bars(plan.detector, bars.compress(~kept), revised[~kept], publish=book.publish)
            new = joined([there, new])
        else:
            new = _absorb_bars(plan.detector, bars, revised, publish=book.publish)
        waiting = joined([book.waiting, higher_marks(joined([gone, new.compress(new["kind"] != AFFECTED)]))])
        due = book.due_higher(waiting, state.limits.lateness_ns)
        marks += [gone, new, waiting.compress(due)]
        plan.waiting[feed] = waiting.compress(~due)
    plan.marks = joined(marks)
    return taken


def _absorb_bars(detector: Detector, bars: ClosedRows, revised: Mask, *, publish: bool) -> Marks:
    """Put bars into the histories; return their marks, and the marks of the bars that depend on them."""
    if not len(bars):
        return NO_MARKS
    marks = detector.absorb(bars, revised, publish=publish)
    if jumped := detector.jumped:
        first, minute = jumped[0]
        log.info("histories restarted: a split, or a long gap", symbols=len(jumped), first=first, at=iso_minute(minute))
    return marks


def _marks_again(state: PartitionState, rows: StagedRows) -> Marks:
    """Mark bars whose values did not change, and the higher bars that they belong to."""
    codes = state.codes_of(symbol.decode() for symbol in rows["symbol"].tolist())
    minutes = marks_of(codes, rows["minute"], AFFECTED, publish=False)
    higher = higher_marks(minutes)
    higher["kind"] = AFFECTED
    return joined([minutes, higher])


def _take_gone(plan: PartitionPlan, rows: StagedRows, *, publish: bool) -> Marks:
    """Drop the histories of symbols with a bar that lost its last trade (a cancel), and mark its minute.

    So later bars, which depend on it, are detected again.
    """
    if not len(rows):
        return NO_MARKS
    codes = plan.state.codes_of(symbol.decode() for symbol in rows["symbol"].tolist())
    for code in codes.tolist():
        plan.detector.set_reach(code, NOT_LOADED)
    return marks_of(codes, rows["minute"], REVISED, publish=publish)


def _staged_bars(state: PartitionState, rows: StagedRows) -> ClosedRows:
    bars = np.empty(len(rows), CLOSED_DTYPE)
    for name in CLOSED_DTYPE.names or ():
        if name != "symbol":
            bars[name] = rows[name]
    bars["symbol"] = state.codes_of(symbol.decode() for symbol in rows["symbol"].tolist())
    return bars


def _closed_bars(symbol: int, rows: ClosedRows) -> ClosedRows:
    bars = np.empty(len(rows), CLOSED_DTYPE)
    for name in CLOSED_DTYPE.names or ():
        bars[name] = symbol if name == "symbol" else rows[name]
    return bars


def _first_minutes(marks: Marks, symbols: Codes) -> Minutes:
    """Return each symbol's earliest marked minute; far in the future if it has none."""
    marks = marks[np.isin(marks["symbol"], symbols)]
    first = np.full(int(symbols.max()) + 1, _NO_MINUTE, np.int64)
    np.minimum.at(first, marks["symbol"], marks["minute"])
    return first[symbols]


def _of_track(marks: Marks, track: Track, sessions: Sessions) -> Marks:
    """Return the marks of a track's bars."""
    marks = marks[marks["timeframe"] == track.timeframe]
    if track.session == EXTENDED:
        return marks
    is_regular: Mask = sessions.are_regular(marks["symbol"], marks["minute"], track.timeframe)
    return marks[is_regular]


def _affected(marks: Marks, minutes: Minutes) -> Marks:
    """Mark the loaded 1-minute bars of a symbol that are later than a marked one: they depend on it.

    Also those of the next run: its begin may depend on the marked bar. Bars that are marked already are left out.
    """
    mine = marks.compress((marks["timeframe"] == 1) & (marks["stage"] == PATTERNS) & (marks["kind"] != AFFECTED))
    if not len(mine):
        return mine
    later = np.setdiff1d(minutes[minutes > mine["minute"].min()], mine["minute"])
    publish = bool(mine["publish"].any())
    return marks_of(np.full(len(later), mine["symbol"][0]), later, AFFECTED, publish=publish)
