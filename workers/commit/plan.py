"""The plan of one commit: for each partition its closed bars, the detections on them, and its state afterwards. Pure.

Related modules: staged_bars (the merge rule), first_patterns (bars for a second commit), messages (the outbox),
unstorable (rows that the database refuses).
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Self
from uuid import UUID

import numpy as np

from ...contracts.detection import Detection, IndicatorAlert, IndicatorColumn, IndicatorValue
from ...contracts.partition import Position
from ...contracts.ticks import Codes, Mask
from ...db.staged_rows import STAGED_DTYPE, VALUE_COLUMNS, StagedRows
from ..detect.detector import NO_HIGHER_BARS, Detector, HigherBars
from ..marks import NO_MARKS, Marks
from ..partition.feed_bars import ClosedBars
from ..partition.numbering import without_symbols
from ..partition.partition_state import Held, PartitionState
from ..partition.uncommitted import Counts, DeadLetter
from ..partition.undo import REPLACED, refused_undo
from .staged_bars import NO_ROWS

_NO_HISTORIES = Detector([])  # of every plan for which nothing is detected


@dataclass(slots=True)
class Findings:
    """The detections and indicators of a commit, and which of them are published.

    new, again: detections that no row holds yet, and those found again. superseded: flow_id and symbol of detections
    that a revision took away. recomputed: the bars whose stored indicator values `indicators` replaces. alerts: each is
    published.
    """

    higher: HigherBars = field(default_factory=NO_HIGHER_BARS.copy)
    new: list[Detection] = field(default_factory=list)
    again: list[Detection] = field(default_factory=list)
    superseded: dict[UUID, str] = field(default_factory=dict)
    to_publish: list[Detection] = field(default_factory=list)
    indicators: list[IndicatorColumn] = field(default_factory=list)
    recomputed: Marks = field(default_factory=NO_MARKS.copy)
    indicators_to_publish: list[IndicatorValue] = field(default_factory=list)
    alerts: list[IndicatorAlert] = field(default_factory=list)

    @property
    def symbols(self) -> set[str]:
        """The symbols with a detection or an indicator. Those of `higher` are known by their index only."""
        patterns = {detection.symbol for detection in (*self.new, *self.again)}
        return patterns.union(*(column.symbols for column in self.indicators))

    @property
    def indicator_values(self) -> int:
        """The number of indicator values."""
        return sum(len(column.symbols) for column in self.indicators)

    def without(self, symbols: AbstractSet[str], codes: Codes) -> Self:
        """Return these findings without some symbols (codes: their indices).

        What is superseded stays superseded, and old values of indicators are deleted all the same.
        """
        return replace(
            self,
            higher=without_symbols(self.higher, codes),
            new=[one for one in self.new if one.symbol not in symbols],
            again=[one for one in self.again if one.symbol not in symbols],
            to_publish=[one for one in self.to_publish if one.symbol not in symbols],
            indicators=[some for column in self.indicators if (some := column.without(symbols)).symbols],
            indicators_to_publish=[one for one in self.indicators_to_publish if one.symbol not in symbols],
            alerts=[one for one in self.alerts if one.symbol not in symbols],
        )

    def without_taken(self, symbols: AbstractSet[str], codes: Codes) -> Self:
        """Return these findings without what they take away of some symbols (codes: their indices)."""
        superseded = {flow_id: symbol for flow_id, symbol in self.superseded.items() if symbol not in symbols}
        return replace(self, superseded=superseded, recomputed=without_symbols(self.recomputed, codes))


@dataclass(slots=True)
class PartitionPlan:
    """One partition's part of a commit. Nothing here changes the state before COMMIT has answered."""

    state: PartitionState
    closed: list[ClosedBars]
    position: Position
    new_token: int
    saved: bytes
    counts: dict[str, Counts]
    dead_letters: list[DeadLetter]
    messages: list[tuple[str, bytes]]  # (kind, body) of the outbox rows
    symbols: set[str]
    unstorable: set[str] = field(
        default_factory=set
    )  # symbols with a refused bar, which may be missing in the table `symbols`
    repeats: int = 0
    bars: int = 0
    revisions: int = 0
    marks: Marks = field(default_factory=NO_MARKS.copy)  # bars that still wait for detection after this commit
    waiting: dict[str, Marks] = field(default_factory=dict)  # open bars of higher timeframes, by feed
    found: Findings = field(default_factory=Findings)
    superseded: set[str] = field(default_factory=set)  # symbols with a bar whose place belongs to another feed
    detector: Detector = _NO_HISTORIES  # whose histories these bars go into

    @property
    def held_after(self) -> Held:
        """How the partition is held after this commit. Read it before the state moves on."""
        held = self.state.held
        return replace(held, token=self.new_token, outbox_number=held.outbox_number + len(self.messages))

    def drop_bar(self, bar: np.void, closed: ClosedBars, outcome: str) -> None:
        """Count the ticks of a bar that is not written as `outcome` instead of as applied.

        If the bar was made again, the ticks that an earlier commit counted stay counted.
        """
        rebuilt = self.state.uncommitted.rebuilt.get(closed.feed, {})
        (code,) = self.state.codes_of([bar["symbol"].item().decode()]).tolist()
        ticks = 1 if closed.book.whole else int(bar["trades"])  # a whole minute is one tick, whatever its trade count
        trades = rebuilt.get((code, int(bar["minute"])), ticks)
        counts = self.counts.setdefault(closed.book.producer, Counts())
        counts.applied -= trades
        setattr(counts, outcome, getattr(counts, outcome) + trades)


def plan_partition(state: PartitionState, new_token: int, *, marked: bool = False) -> PartitionPlan:
    """Collect what a partition has to commit; marked: no bars, only the detection that marked bars wait for.

    new_token: the token of its checkpoint after this commit.
    """
    counts = {producer: replace(c) for producer, c in state.uncommitted.counts.items()}
    return PartitionPlan(
        state,
        [] if marked else state.closed(),
        state.safe_position,
        new_token,
        b"",
        counts,
        list(state.uncommitted.dead_letters),
        [],
        set(),
        repeats=state.uncommitted.repeats,
        marks=state.marks,
        waiting={feed: book.waiting for feed, book in state.feeds.items()},
    )


def save_states(plans: Sequence[PartitionPlan]) -> None:
    """Serialize each partition's state as it will be after the commit."""
    for plan in plans:
        plan.saved = plan.state.save(plan.closed, plan.marks, plan.waiting)


def stage_rows(plans: Sequence[PartitionPlan]) -> StagedRows:
    """Return the closed bars of all partitions as rows of the staging table; row_number is the index."""
    parts = [_staged(plan, closed) for plan in plans for closed in plan.closed]
    rows: StagedRows = np.concatenate(parts, dtype=STAGED_DTYPE) if parts else NO_ROWS.copy()
    rows["row_number"] = np.arange(len(rows))
    return rows


def _staged(plan: PartitionPlan, closed: ClosedBars) -> StagedRows:
    bars = closed.rows
    rows = np.empty(len(bars), STAGED_DTYPE)
    codes, where = np.unique(bars["symbol"], return_inverse=True)
    symbols = [plan.state.symbols[code] for code in codes]
    plan.symbols.update(symbols)
    rows["symbol"] = np.array([symbol.encode() for symbol in symbols], "S80")[where]
    rows["partition"] = plan.state.partition
    rows["feed"] = closed.feed.encode()
    rows["replay"] = closed.replaces
    rows["whole"], rows["revision"], rows["fresh"] = closed.book.whole, 0, False
    if rebuilt := plan.state.uncommitted.rebuilt.get(closed.feed):
        keys = zip(bars["symbol"].tolist(), bars["minute"].tolist(), strict=True)
        rows["whole"] |= np.fromiter((key in rebuilt for key in keys), bool, len(rows))
    for name in ("minute", *VALUE_COLUMNS):
        rows[name] = bars[name]
    return rows


def take_superseded(plans: Sequence[PartitionPlan], rows: StagedRows, superseded: Mask) -> None:
    """Count the ticks of superseded bars as superseded.

    A cancel or correction that changed such a bar goes to the dead letters: the bar is not written.
    """
    for plan, bar, closed in drop_bars(plans, rows, superseded, "superseded"):
        symbol = bar["symbol"].item().decode()
        plan.superseded.add(symbol)
        for one in plan.state.uncommitted.undone.get((closed.feed, symbol, int(bar["minute"])), []):
            counts = plan.counts.setdefault(one.producer, Counts())
            counts.applied -= 1
            counts.refused += 1
            plan.dead_letters.append(DeadLetter(one.producer, refused_undo(one.undo, one.ts, REPLACED)))


def drop_bars(
    plans: Sequence[PartitionPlan], rows: StagedRows, mask: Mask, outcome: str
) -> list[tuple[PartitionPlan, np.void, ClosedBars]]:
    """Count the ticks of some staged bars as `outcome`; return each bar with its plan and its feed's closed bars."""
    by_partition = {plan.state.partition: plan for plan in plans}
    dropped = []
    for bar in rows[mask]:
        plan = by_partition[int(bar["partition"])]
        closed = next(c for c in plan.closed if c.feed.encode() == bar["feed"])
        plan.drop_bar(bar, closed, outcome)
        dropped.append((plan, bar, closed))
    return dropped
