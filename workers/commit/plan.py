"""What one commit will write: closed bars staged as rows, compared with what stands, told as messages. Pure."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self
from uuid import UUID

import msgspec
import numpy as np

from ...contracts.bar import OutboxBar, has_prices
from ...contracts.detection import Detection, IndicatorAlert, IndicatorValue
from ...contracts.names import DETECTOR, REPAIR_FEED, minute_feed
from ...contracts.partition import Position
from ...contracts.ticks import MAX_BODY_BYTES, SHARE_MICRO, Column, Refused
from ...db.staged_rows import STAGED_DTYPE, VALUE_COLUMNS, StagedIndicator, TableShape
from ..detect.detector import NO_HIGHER_BARS, NOT_LOADED, Detector
from ..marks import NO_MARKS, REVISED, joined, marks_of
from ..partition.feed_bars import ClosedBars
from ..partition.partition_state import Held, PartitionState
from ..partition.uncommitted import Counts, DeadLetter
from ..partition.undo import REPLACED, refused_undo

NO_ROWS = np.empty(0, STAGED_DTYPE)

_REPAIR = minute_feed(REPAIR_FEED).encode()
STORED_FEED = b""  # of a bar that was put back from the application's table (db/sql/queries/forgotten_bars.sql)
_NO_HISTORIES = Detector([])  # of every plan for which nothing is detected
_MAX_REVISION = 32_767
_MANY_BARS = 500  # so many take as long to commit as another transaction costs
_PATTERNS_A_MESSAGE = 256
_STAGED_HIGHER = [
    ("partition", "<i4"),
    ("symbol", "S80"),
    ("timeframe", "<i2"),
    ("minute", "<i4"),
    *((name, "<f8") for name in ("open", "high", "low", "close", "volume_micro", "notional")),
]
_INDICATORS_A_MESSAGE = 1024


@dataclass(slots=True)
class Findings:
    """What a commit writes of detections and indicators. told: those of them that are published."""

    higher: Column = field(default_factory=NO_HIGHER_BARS.copy)
    new: list[Detection] = field(default_factory=list)
    again: list[Detection] = field(default_factory=list)
    superseded: dict[UUID, str] = field(default_factory=dict)  # flow_id -> symbol, of what a revision took away
    told: list[Detection] = field(default_factory=list)
    indicators: list[StagedIndicator] = field(default_factory=list)
    told_indicators: list[IndicatorValue] = field(default_factory=list)
    alerts: list[IndicatorAlert] = field(default_factory=list)

    @property
    def symbols(self) -> set[str]:
        """The symbols that something was found on; those of higher bars aside, which are known by their index."""
        patterns = {detection.symbol for detection in (*self.new, *self.again)}
        return patterns | {staged.value.symbol for staged in self.indicators}

    def without(self, symbols: AbstractSet[str], codes: Column) -> Self:
        """Return these findings but for some symbols; codes: their indices. What a revision took away stays taken."""
        return replace(
            self,
            higher=_without(self.higher, codes),
            new=[one for one in self.new if one.symbol not in symbols],
            again=[one for one in self.again if one.symbol not in symbols],
            told=[one for one in self.told if one.symbol not in symbols],
            indicators=[staged for staged in self.indicators if staged.value.symbol not in symbols],
            told_indicators=[one for one in self.told_indicators if one.symbol not in symbols],
            alerts=[one for one in self.alerts if one.symbol not in symbols],
        )


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
    unstorable: set[str] = field(default_factory=set)  # symbols with a bar that was refused: perhaps not registered
    repeats: int = 0
    bars: int = 0
    revisions: int = 0
    marks: Column = field(default_factory=NO_MARKS.copy)  # bars that wait for their detectors after this commit
    waiting: dict[str, Column] = field(default_factory=dict)  # open bars of higher timeframes, by feed
    found: Findings = field(default_factory=Findings)
    superseded: set[str] = field(default_factory=set)  # symbols with a bar whose place belongs to another feed
    detector: Detector = _NO_HISTORIES  # whose histories these bars go into

    @property
    def held_after(self) -> Held:
        """How the partition is held once this is committed; to be asked before its state has moved on."""
        held = self.state.held
        return replace(held, token=self.new_token, outbox_number=held.outbox_number + len(self.messages))

    def drop_bar(self, bar: Column, closed: ClosedBars, outcome: str) -> None:
        """Count the ticks of a bar that is not written as `outcome` instead of as applied.

        Of a bar that was made again, those that a commit before has counted stay counted as they are.
        """
        rebuilt = self.state.uncommitted.rebuilt.get(closed.feed, {})
        (code,) = self.state.codes_of([bar["symbol"].item().decode()]).tolist()
        ticks = 1 if closed.book.whole else int(bar["trades"])  # a whole minute came as one, whatever it stands for
        trades = rebuilt.get((code, int(bar["minute"])), ticks)
        counts = self.counts.setdefault(closed.book.producer, Counts())
        counts.applied -= trades
        setattr(counts, outcome, getattr(counts, outcome) + trades)


def plan_partition(state: PartitionState, new_token: int, *, marked: bool = False) -> PartitionPlan:
    """Collect what a partition has to commit; marked: only what its marked bars wait for.

    new_token: what its checkpoint is known by after this commit.
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


class HeldBack(NamedTuple):
    """What a commit leaves for the next one: bars (staged) without a detection, and plans as they will be then."""

    rows: Column
    changed: Column
    plans: list[PartitionPlan]  # without one detection: committed as they are
    split: list[tuple[PartitionPlan, Column, dict[str, Column], Column]]  # plan, and its marks, waiting, higher bars


def hold_back(plans: Sequence[PartitionPlan], rows: Column, changed: Column) -> HeldBack | None:
    """Leave the bars of symbols on which nothing was found for a commit of their own, where they are many.

    Patterns are told with the bars that they stand on; thousands of other bars would keep them waiting. Each symbol is
    whole in one of the two commits. None where nothing is held back: also where a bar was made again without a trade,
    which only this commit knows.
    """
    if any(plan.state.uncommitted.rebuilt for plan in plans):
        return None
    if not any(plan.found.told for plan in plans) or any(c.book.replay for plan in plans for c in plan.closed):
        return None
    found = {plan.state.partition: plan.state.codes_of(sorted(_found_symbols(plan))) for plan in plans}
    first = np.zeros(len(rows), bool)
    for plan in plans:
        names = [plan.state.symbols[code].encode() for code in found[plan.state.partition]]
        here = np.flatnonzero(rows["partition"] == plan.state.partition)
        first[here] = np.isin(rows["symbol"].take(here), np.array(names, "S80"))
    if len(rows) - first.sum() < _MANY_BARS:
        return None
    split = [_split(plan, found[plan.state.partition]) for plan in plans if len(found[plan.state.partition])]
    return HeldBack(
        rows.compress(~first), changed[~first], [plan for plan in plans if not len(found[plan.state.partition])], split
    )


def _found_symbols(plan: PartitionPlan) -> set[str]:
    """Return the symbols with a detection, new or taken away, or whose bars' ticks are counted as superseded here."""
    return plan.found.symbols | set(plan.found.superseded.values()) | plan.superseded


def _split(plan: PartitionPlan, symbols: Column) -> tuple[PartitionPlan, Column, dict[str, Column], Column]:
    """Narrow a plan to some symbols; return it with the marks, waiting and higher bars of the commit that follows."""
    after = (plan, plan.marks, plan.waiting, plan.found.higher)
    plan.closed = [c._replace(mask=c.mask & _are_among(c.book.bars["symbol"], symbols)) for c in plan.closed]
    plan.marks = joined([_without(plan.state.marks, symbols), _only(plan.marks, symbols)])
    plan.waiting = {
        feed: joined([_without(book.waiting, symbols), _only(plan.waiting[feed], symbols)])
        for feed, book in plan.state.feeds.items()
    }
    plan.found.higher = _only(plan.found.higher, symbols)
    plan.symbols = {plan.state.symbols[code] for code in symbols.tolist()}
    return after


def plan_rest(held: HeldBack, durable: Sequence[PartitionPlan], new_token: Callable[[], int]) -> list[PartitionPlan]:
    """Plan the commit of what was held back, after the first one; what was fenced there is left out."""
    plans = list(held.plans)
    for first, marks, waiting, higher in held.split:
        if first in durable:
            plan = plan_partition(first.state, new_token())
            plan.marks, plan.waiting = marks, waiting
            plan.found.higher = _without(higher, first.found.higher["symbol"])
            here = held.rows["symbol"][held.rows["partition"] == plan.state.partition]
            plan.symbols = {symbol.decode() for symbol in here.tolist()}
            plans.append(plan)
    return plans


def _only(rows: Column, symbols: Column) -> Column:
    chosen: Column = rows.compress(_are_among(rows["symbol"], symbols))
    return chosen


def _without(rows: Column, symbols: Column) -> Column:
    chosen: Column = rows.compress(~_are_among(rows["symbol"], symbols))
    return chosen


def _are_among(codes: Column, some: Column) -> Column:
    """Tell which symbols are among some; both are indices of a partition's list, which is short."""
    chosen = np.zeros(max(codes.max(initial=-1), some.max(initial=-1)) + 1, bool)
    chosen[some] = True
    return chosen[codes]


def save_states(plans: Sequence[PartitionPlan]) -> None:
    """Write down each partition's state as it will be after the commit."""
    for plan in plans:
        plan.saved = plan.state.save(plan.closed, plan.marks, plan.waiting)


def stage_rows(plans: Sequence[PartitionPlan]) -> Column:
    """Lay the closed bars of all partitions out for the staging table; row_number is the index."""
    parts = [_staged(plan, closed) for plan in plans for closed in plan.closed]
    rows = np.concatenate(parts) if parts else NO_ROWS.copy()
    rows["row_number"] = np.arange(len(rows))
    return rows


def _staged(plan: PartitionPlan, closed: ClosedBars) -> Column:
    bars = closed.rows
    rows = np.empty(len(bars), STAGED_DTYPE)
    codes, where = np.unique(bars["symbol"], return_inverse=True)
    symbols = [plan.state.symbols[code] for code in codes]
    plan.symbols.update(symbols)
    rows["symbol"] = np.array([symbol.encode() for symbol in symbols], "S80")[where]
    rows["partition"] = plan.state.partition
    rows["feed"] = closed.feed.encode()
    rows["replay"] = closed.book.replay or closed.feed.encode() == _REPAIR  # it replaces what a live feed wrote
    rows["whole"], rows["revision"] = closed.book.whole, 0
    if rebuilt := plan.state.uncommitted.rebuilt.get(closed.feed):
        keys = zip(bars["symbol"].tolist(), bars["minute"].tolist(), strict=True)
        rows["whole"] |= np.fromiter((key in rebuilt for key in keys), bool, len(rows))
    for name in ("minute", *VALUE_COLUMNS):
        rows[name] = bars[name]
    return rows


@dataclass(slots=True)
class Resolved:
    """Staged rows after the comparison: which are written with which values, which belong to another feed.

    changed: the stored values differ from what stood, or nothing stood: only these are told. A bar that lost all its
    trades is among them: it has no prices any more.
    """

    rows: Column
    superseded: Column
    changed: Column
    replaces: Column  # the row takes the place of what another feed wrote
    compared: bool  # something stood: the rows are not as they were staged


def resolve(rows: Column, standing: Column, shape: TableShape) -> Resolved:
    """Merge staged bars with the bars that stand at their place.

    Of the same feed: merged exactly, for a whole-minute feed replaced. A replay replaces what another feed wrote, a
    repair what a live one did; a live bar where another feed wrote is superseded. Revision + 1 where the values differ
    as the table stores them; a minute without prices is no bar yet, and told of nowhere.
    """
    rows = rows.copy()
    _bound_extremes(rows)
    superseded, changed = np.zeros(len(rows), bool), has_prices(rows)
    if not len(standing):
        return Resolved(rows, superseded, changed, replaces=np.zeros(len(rows), bool), compared=False)
    at = standing["row_number"]
    mine = rows[at]
    same_feed = standing["feed"] == mine["feed"]
    of_replay = standing["replay"] & (standing["feed"] != _REPAIR)
    superseded[at] = ~same_feed & (~mine["replay"] | ((mine["feed"] == _REPAIR) & of_replay))
    merged = _merged(mine, standing, same_feed & ~mine["whole"])
    _bound_extremes(merged)
    differs = _differs(merged, standing, shape)
    revision = np.minimum(standing["revision"].astype("<i4") + differs, _MAX_REVISION)
    was_a_bar = has_prices(standing) | (standing["revision"] > 0)  # one that lost its last trade is counted on
    merged["revision"] = np.where(was_a_bar, revision, 0)
    rows[at] = merged
    changed[at] = differs & (has_prices(merged) | has_prices(standing))
    replaces = np.zeros(len(rows), bool)
    replaces[at] = ~same_feed & ~superseded[at]
    return Resolved(rows, superseded, changed, replaces, compared=True)


def _bound_extremes(rows: Column) -> None:
    """Let open and close bound high and low where no trade might set those."""
    for bound, name, of in ((np.inf, "low", np.minimum), (-np.inf, "high", np.maximum)):
        lacking = has_prices(rows) & (rows[name] == bound)
        rows[name][lacking] = of(rows["open"], rows["close"])[lacking]


def losers_within_commit(rows: Column, superseded: Column) -> Column:
    """Mark the rows that are not written, because two feeds closed the same (symbol, minute) in this commit.

    A replay wins, then a repair, then the first live feed. The stored bars do not show this case.
    """
    number, most = np.arange(len(rows)), len(rows)
    rank = np.where(rows["replay"], -1 - number - most * (rows["feed"] != _REPAIR), number)
    rank[superseded] = most
    order = np.lexsort((rank, rows["minute"], rows["symbol"]))
    ranked = rows[order]
    lost = np.zeros(len(rows), bool)
    same_place = (ranked["symbol"][1:] == ranked["symbol"][:-1]) & (ranked["minute"][1:] == ranked["minute"][:-1])
    lost[order[1:]] = same_place
    return lost


def _merged(mine: Column, standing: Column, where: Column) -> Column:
    merged = mine.copy()
    earlier = where & (standing["open_ts"] <= mine["open_ts"])  # what stands arrived first
    later = where & (standing["close_ts"] > mine["close_ts"])
    for price, ts, chosen in (("open", "open_ts", earlier), ("close", "close_ts", later)):
        merged[price] = np.where(chosen, standing[price], mine[price])
        merged[ts] = np.where(chosen, standing[ts], mine[ts])
    merged["high"] = np.where(where, np.maximum(standing["high"], mine["high"]), mine["high"])
    merged["low"] = np.where(where, np.minimum(standing["low"], mine["low"]), mine["low"])
    for total in ("volume_micro", "notional", "trades"):
        merged[total] = np.where(where, standing[total] + mine[total], mine[total])
    return merged


def _differs(mine: Column, standing: Column, shape: TableShape) -> Column:
    """Compare as stored: rounded to the table's decimals. vwap never decides, its sum depends on the order."""
    differs = mine["trades"] != standing["trades"]
    stored = standing["feed"] == STORED_FEED
    for price in ("open", "high", "low", "close"):
        differs |= _differ_stored(mine[price], standing[price], shape.price_decimals, stored)
    volume, stood = mine["volume_micro"] / SHARE_MICRO, standing["volume_micro"] / SHARE_MICRO
    different: Column = differs | _differ_stored(volume, stood, shape.volume_decimals, stored)
    return different


def _differ_stored(mine: Column, stands: Column, decimals: int, stored: Column) -> Column:
    """Tell which values differ by their decimals. stored: what stands was rounded already, half away from zero."""
    differ: Column = np.round(mine, decimals) != np.round(stands, decimals)
    if stored.any():
        differ[stored] = np.abs(mine[stored] - stands[stored]) > 0.5 * 10.0**-decimals * (1 + 1e-6)
    return differ


def take_superseded(plans: Sequence[PartitionPlan], rows: Column, superseded: Column) -> None:
    """Count the ticks of superseded bars as such; what would have taken trades out of them goes to the dead letters."""
    for plan, bar, closed in _drop(plans, rows, superseded, "superseded"):
        symbol = bar["symbol"].item().decode()
        plan.superseded.add(symbol)
        for one in plan.state.uncommitted.undone.get((closed.feed, symbol, int(bar["minute"])), []):
            counts = plan.counts.setdefault(one.producer, Counts())
            counts.applied -= 1
            counts.refused += 1
            plan.dead_letters.append(DeadLetter(one.producer, refused_undo(one.undo, one.ts, REPLACED)))


def take_unstorable(plans: Sequence[PartitionPlan], rows: Column, bad: Column, why: str) -> None:
    """Count the ticks of bars that the database refuses as refused, and send each bar to the dead letters."""
    for plan, bar, closed in _drop(plans, rows, bad, "refused"):
        refused = Refused("unstorable", why, msgspec.json.encode(outbox_bars(bar[None])[0]))
        plan.dead_letters.append(DeadLetter(closed.book.producer, refused))
        plan.unstorable.add(bar["symbol"].item().decode())


def _drop(
    plans: Sequence[PartitionPlan], rows: Column, mask: Column, outcome: str
) -> list[tuple[PartitionPlan, Column, ClosedBars]]:
    by_partition = {plan.state.partition: plan for plan in plans}
    dropped = []
    for bar in rows[mask]:
        plan = by_partition[int(bar["partition"])]
        closed = next(c for c in plan.closed if c.feed.encode() == bar["feed"])
        plan.drop_bar(bar, closed, outcome)
        dropped.append((plan, bar, closed))
    return dropped


def add_messages(plans: Sequence[PartitionPlan], rows: Column, told: Column) -> None:
    """Write the message that tells each partition's new and revised bars of feeds that are told; count them all."""
    told, revised = told & has_prices(rows), rows["revision"] > 0
    for plan in plans:
        plan.messages.clear()
        here = told & (rows["partition"] == plan.state.partition)
        plan.bars, plan.revisions = int((here & ~revised).sum()), int((here & revised).sum())
        for closed in plan.closed:
            mine = here & (rows["feed"] == closed.feed.encode())
            if closed.book.publish and mine.any():
                said = {"feed": closed.feed, "bars": outbox_bars(rows[mine])}
                plan.messages.append(("bars", msgspec.json.encode(said)))


def staged_higher_bars(plan: PartitionPlan) -> Column:
    """Lay the changed bars of higher timeframes out for their staging table."""
    higher = plan.found.higher
    rows = np.empty(len(higher), _STAGED_HIGHER)
    rows["partition"] = plan.state.partition
    rows["symbol"] = np.array([plan.state.symbols[code].encode() for code in higher["symbol"]], "S80")
    for name in ("timeframe", "minute", "open", "high", "low", "close", "volume_micro", "notional"):
        rows[name] = higher[name]
    return rows


def take_findings_back(plan: PartitionPlan, symbols: Sequence[str], rows: Column) -> None:
    """Take back what was found on bars of these symbols: a bar that is not stored stands in their histories.

    What is left of their bars (rows) is marked, so that it is detected when the histories were loaded again. (A commit
    of bars has no indicators yet.)
    """
    here = rows[(rows["partition"] == plan.state.partition) & np.isin(rows["symbol"], [s.encode() for s in symbols])]
    codes = plan.state.codes_of(symbol.decode() for symbol in here["symbol"].tolist())
    gone = plan.state.codes_of(symbol for symbol in symbols if symbol in plan.symbols)
    for code in gone.tolist():
        plan.detector.set_reach(code, NOT_LOADED)
    plan.found = plan.found.without(set(symbols), gone)
    plan.marks = _without(plan.marks, gone)
    publish = [closed.book.publish for row in here for closed in plan.closed if closed.feed.encode() == row["feed"]]
    plan.marks = joined([plan.marks, marks_of(codes, here["minute"], REVISED, publish=np.array(publish, bool))])


def found_symbols(plan: PartitionPlan) -> list[str]:
    """Return the symbols that a commit writes findings of."""
    higher = {plan.state.symbols[code] for code in plan.found.higher["symbol"].tolist()}
    return sorted(higher | plan.found.symbols)


def found_on(plan: PartitionPlan, symbols: AbstractSet[str]) -> Findings:
    """Return what was found on some symbols alone."""
    others = set(found_symbols(plan)) - symbols
    return plan.found.without(others, plan.state.codes_of(sorted(others)))


def drop_findings(plan: PartitionPlan, symbols: AbstractSet[str], why: str) -> None:
    """Leave what was found on some symbols out of the commit, and send it to the dead letters: bars go on."""
    mine = symbols & set(found_symbols(plan))
    _add_lost_findings(plan, mine, why)
    plan.found = plan.found.without(mine, plan.state.codes_of(sorted(mine)))


def drop_all_findings(plan: PartitionPlan, why: str) -> None:
    """Leave every pattern and indicator out of the commit, where a table of theirs is not as it was: bars go on."""
    _add_lost_findings(plan, plan.found.symbols, why)
    plan.found = Findings(higher=plan.found.higher)


def _add_lost_findings(plan: PartitionPlan, symbols: AbstractSet[str], why: str) -> None:
    for symbol in sorted(symbols):
        found = found_on(plan, {symbol})
        lost = msgspec.json.encode(
            {"symbol": symbol, "patterns": found.new + found.again, "indicators": [i.value for i in found.indicators]}
        )
        plan.dead_letters.append(DeadLetter(DETECTOR, Refused("unstorable_finding", why, lost[:MAX_BODY_BYTES])))


def add_findings(plan: PartitionPlan) -> None:
    """Write the messages that tell what was found: patterns first."""
    told = plan.found
    for kind, results, most in (
        ("patterns", told.told, _PATTERNS_A_MESSAGE),
        ("indicators", told.told_indicators, _INDICATORS_A_MESSAGE),
        ("alerts", told.alerts, _INDICATORS_A_MESSAGE),
    ):
        for first in range(0, len(results), most):
            plan.messages.append((kind, msgspec.json.encode(results[first : first + most])))


def outbox_bars(rows: Column) -> list[OutboxBar]:
    """Return staged bars as they are told."""
    volume = rows["volume_micro"] / SHARE_MICRO
    some = volume > 0
    columns = [
        np.char.decode(rows["symbol"], "utf-8"),
        rows["minute"].astype(np.int64) * 60,
        *(rows[name] for name in ("open", "high", "low", "close")),
        volume,
        np.where(some, rows["notional"] / np.where(some, volume, 1.0), rows["close"]),
    ]
    counts = [count or None for count in rows["trades"].tolist()]
    return list(map(OutboxBar, *(column.tolist() for column in columns), counts, rows["revision"].tolist()))
