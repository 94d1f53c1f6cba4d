"""⑥ ⑦ What a commit finds: put its bars into the histories, run the detectors, put the results into its plans.

A bar's patterns are written in the transaction of the bar, if its symbol's history is loaded. Otherwise the bar is
marked in the checkpoint, and a later commit without bars detects it. Indicators always come in such a commit.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import structlog

from ....contracts.ticks import Mask
from ....db.metrics import HISTORIES_DROPPED_EARLY
from ....db.postgres import Connection
from ....db.staged_rows import StagedRows
from ....db.tables.detections import standing_detections
from ....db.tables.own_bars.history_bars import volumes_of
from ....db.world import World
from ...detect.definition import Definitions
from ...detect.detector import Detector
from ...detect.find_indicators import find_indicators
from ...detect.find_patterns import FoundPatterns, find_patterns
from ...detect.history_memory import HistoryMemory
from ...marks import INDICATORS, NEW, PATTERNS, Marks, again_of, higher_marks, joined, marks_of, waiting_for
from ...partition.feed_bars import ClosedBars
from ...partition.numbering import are_among
from ...partition.partition_state import PartitionState
from ..plan import Findings, PartitionPlan
from .absorb import absorb, absorb_bars, marks_again, take_unchanged
from .ahead import Ahead, Taken, bars_so_far, found_now
from .histories import Histories
from .history_loader import HistoryLoader
from .in_force import InForce

log = structlog.get_logger()

_PATTERN_MARKS = 16_384  # in one commit: a quarter of a second's work, two seconds' with every pattern switched on
_INDICATOR_MARKS = 4_096  # in one commit, an equal part for each of its partitions
_SAY_MEMORY_EVERY_S = 600.0


class ResultFinder:
    """Finds results for the commits of one worker. definitions: what is on; read again each minute."""

    def __init__(self, connection: Connection, *, world: World, history_mb: int) -> None:
        self.histories = Histories()
        self._world = world
        self._memory = HistoryMemory(history_mb << 20)
        self._history_mb = history_mb
        self._say_memory_at = 0.0
        self._in_force = InForce(connection, world=world)
        self._taken: dict[int, Taken] = {}  # by partition: of the commit that is planned now
        self.open(connection)

    def open(self, connection: Connection) -> None:
        """Use this connection from now on."""
        self._connection = connection
        self._loader = HistoryLoader(connection, self._memory)
        self._in_force.open(connection)

    @property
    def definitions(self) -> Definitions:
        """The definitions that are on."""
        return self._in_force.definitions

    def read_again(self) -> None:
        """Read the definitions again before the next bars."""
        self._in_force.read_again()

    def find(
        self, plans: Sequence[PartitionPlan], rows: StagedRows, changed: Mask, rewritten: Mask, now_s: float
    ) -> None:
        """Absorb the bars that a commit changes, and run the patterns on those whose histories are loaded.

        rows: staged bars. rewritten: a replay or repair wrote the same values again. Other definitions may be on by
        now, so these bars are detected again, but nothing is published. now_s: Unix seconds by Redis's clock.
        """
        self._in_force.read_if_due()
        self._begin(plans)
        done = set()
        for plan in plans:
            self._in_force.prepare(plan.detector)
            mine = rows["partition"] == plan.state.partition
            ahead = self._closing_ahead(plan)
            if ahead is not None and self._is_done(ahead, plan, rows["fresh"] & mine):
                ahead.close(plan, now_s)
                done.add(plan.state.partition)
                continue
            if ahead is not None:
                taken = take_unchanged(ahead, plan, rows.compress(mine), changed.compress(mine))
                self._taken[plan.state.partition] = taken
            absorb(plan, rows.compress(changed & mine), self._taken.get(plan.state.partition))
            if (again := rewritten & mine).any():
                plan.marks = joined([plan.marks, marks_again(plan.state, rows.compress(again))])
        self._find_patterns([plan for plan in plans if plan.state.partition not in done], now_s)
        self._keep_within_memory()

    def find_ahead(self, soon: Sequence[tuple[PartitionState, ClosedBars, Mask]], now_s: float) -> bool:
        """Put bars into the histories that close soon, and run the patterns on them: `find` takes the results.

        soon: of partitions without such bars, with a mask of the bars whose place is known to be free. Returns whether
        any of them have their histories.
        """
        self._in_force.read_if_due()
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
        self._in_force.prepare(detector)
        bars = bars_so_far(closed, fresh)
        loaded = detector.covers(marks_of(bars["symbol"], bars["minute"], NEW, publish=closed.book.publish))
        bars = bars.compress(loaded & detector.are_later(bars))
        if not len(bars):
            return None
        marks = absorb_bars(detector, bars, np.zeros(len(bars), bool), publish=closed.book.publish)
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

    def awaits_publishing(self, state: PartitionState) -> bool:
        """Tell whether patterns to publish were found on a partition's bars before their close."""
        self.histories.of(state)
        ahead = self.histories.ahead_of(state)
        return ahead is not None and bool(ahead.found.to_publish)

    def _is_done(self, ahead: Ahead, plan: PartitionPlan, fresh: Mask) -> bool:
        """Tell whether everything on the bars of a plan was found before their close. fresh: its bars as staged."""
        return ahead.definitions is self.definitions and int(fresh.sum()) == len(ahead.rows) and ahead.is_all_of(plan)

    def _closing_ahead(self, plan: PartitionPlan) -> Ahead | None:
        """Return the bars that are in the histories already and that this plan closes; then they are ahead no more."""
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
        self._in_force.read_if_due()
        self._begin(plans)
        for plan in plans:
            self._in_force.prepare(plan.detector)
        loaded = self._loader.load([(plan.detector, plan.marks) for plan in plans], now_s)
        for plan, marks in zip(plans, loaded, strict=True):
            plan.marks = marks
        self._find_patterns(plans, now_s)
        is_awaited = any(plan.found.to_publish for plan in plans)  # a new pattern goes out at once, without indicators
        if not is_awaited:
            self._find_indicators(plans, now_s)
        for plan in plans:
            if not len(plan.marks):
                plan.detector.drop_parts()
        self._keep_within_memory()

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
            rest = waiting_for(marks if self.definitions.indicators else again_of(marks), INDICATORS)
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
        """Take what was found before the close on some of these marked bars; return the marks of the others."""
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

    def _find_indicators(self, plans: Sequence[PartitionPlan], now_s: float) -> None:
        """Compute the indicators on marked bars whose histories are loaded, on at most _INDICATOR_MARKS of them."""
        sought = []
        for plan in plans:
            ready = _whole(plan.detector, plan.marks, INDICATORS, _INDICATOR_MARKS // len(plans))
            if ready.any():
                sought.append((plan, plan.marks.compress(ready)))
                plan.marks = plan.marks.compress(~ready)
        found = find_indicators([(plan.detector, marks) for plan, marks in sought], self.definitions, now_s)
        for (plan, marks), one in zip(sought, found, strict=True):
            plan.found.indicators, plan.found.recomputed = one.columns, again_of(marks)
            plan.found.indicators_to_publish, plan.found.alerts = one.to_publish, one.alerts

    # -- histories -------------------------------------------------------------------------------------------------

    def _keep_within_memory(self) -> None:
        early = self._memory.keep_within()
        HISTORIES_DROPPED_EARLY.inc(early)
        if early and self._world.monotonic_s() >= self._say_memory_at:
            self._say_memory_at = self._world.monotonic_s() + _SAY_MEMORY_EVERY_S
            do = "raise --history-mb, or add workers"
            log.warning("histories dropped before their next minute", dropped=early, history_mb=self._history_mb, do=do)

    def has_detectable(self, state: PartitionState) -> bool:
        """Tell whether some marked bars of a partition have their histories loaded."""
        return len(state.marks) > 0 and bool(self.histories.of(state).covers(state.marks).any())

    def load_ahead(self, states: Sequence[PartitionState]) -> None:
        """Load histories of symbols with open bars in one partition, before the bars close, while there is room."""
        most = self._memory.symbols_ahead()
        for state in states if most else ():
            detector = self.histories.of(state)
            self._in_force.prepare(detector)
            if self._loader.load_ahead(detector, state, most):
                return


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
