"""What a worker holds of one partition between two commits: numbers, clocks, open bars, counts. Pure: no server.

It only grows until the commit; `committed` moves it on. Everything in it can be thrown away: a restore reads the last
committed state and the stream brings the rest again.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ..contracts import frame as frames
from ..contracts.bounds import HELD_FRAMES, MAX_BODY_BYTES, MAX_PRODUCERS, READ_TICKS
from ..contracts.errors import BadFrame
from ..contracts.frame import Frame
from ..contracts.names import FRONT_DOOR_PRODUCER, MARKET_PRODUCERS, minute_feed
from ..contracts.partition import Position, is_at_home
from ..contracts.ticks import MAX_SYMBOL_LENGTH, MAX_TS_NS, Column, Refused, Ticks, concat
from ..db.gaps import Hole
from ..db.lease import Lease
from .bar_book import bars_of, empty_bars, latest_of, merge
from .detector import Detector
from .early_undos import MOST_EARLY, EarlyUndo, is_overdue, meet
from .feed_bars import ClosedBars, FeedBars
from .frame_order import ANY_TIME, Arrival, FrameOrder
from .marks import NO_MARKS
from .saved_state import load_state, save_state
from .steady_clock import Reading
from .tick_check import MS_NS, Limits, RowArrivals, check, row_arrivals
from .undo import (
    NO_TRADE,
    TRIMMED,
    Found,
    Undo,
    arrived_ms,
    bars_again,
    is_undo,
    read_past,
    refused_undo,
    take_back,
    undos_of,
)

_HELD_FRAMES = HELD_FRAMES
_PIECE_ROWS = 65_536  # unpacked together at most, but for one frame that has more: a lease is renewed between pieces


@dataclass(slots=True)
class Counts:
    """What became of one producer's ticks since the last commit; `ticks_in` is the sum of the others."""

    ticks_in: int = 0
    applied: int = 0
    quote_or_zero: int = 0
    refused: int = 0
    future: int = 0
    too_late: int = 0
    superseded: int = 0
    lost: int = 0
    repeated: int = 0


class DeadLetter(NamedTuple):
    """A refused tick on its way to the dead letters. entry: the stream entry's id, where that was no frame."""

    producer: str
    refused: Refused
    entry: str | None = None


class EndedReplay(NamedTuple):
    """A replay whose last frame was applied here, or that was abandoned."""

    replay: str
    last_number: int
    abandoned: bool


@dataclass(slots=True)
class Held:
    """How a partition is held. token: what its checkpoint row must show at the commit; outbox_number: the last."""

    partition: int
    lease: Lease
    token: int
    outbox_number: int = 0
    pause_is_noted: bool = False  # for how long it stood still when it moved to us


class PartitionState:
    """One owned partition. `position`: everything in the stream up to here is committed."""

    def __init__(self, held: Held, *, position: Position, limits: Limits) -> None:
        self.held = held
        self.partition = held.partition
        self.position = position
        self.read_to = position
        self.limits = limits
        self.flows: dict[str, FrameOrder] = {}
        self.done: dict[str, int] = {}  # at the last commit: up to where a producer may forget
        self.heard: set[str] = set()  # who sent something since, repeats too
        self.feeds: dict[str, FeedBars] = {}
        self.symbols: list[str] = []
        self._codes: dict[str, int] = {}
        self.detector = Detector(self.symbols)
        self.marks = NO_MARKS  # committed bars that wait for their detectors
        self.counts: dict[str, Counts] = {}
        self.dead_letters: list[DeadLetter] = []
        self.ended_replays: list[EndedReplay] = []
        self.unacked: list[bytes] = []
        self.uncommitted_ticks = 0
        self.arrived_ns = 0  # when the newest live frame since the last commit did, by Redis's clock
        self.repeats = 0
        self.overflow: Position | None = None  # the first frame that there was no room to hold
        self.dirty = False
        self.given_up: list[Hole] = []  # of the market's feeds, since the last commit
        self.undos: list[EarlyUndo] = []  # since the last commit, which carries them out
        self.early: list[EarlyUndo] = []  # which wait for their trades
        # By feed, (symbol, minute) of open bars that replace theirs: so many of their trades stand in no bar yet.
        self.rebuilt: dict[str, dict[tuple[int, int], int]] = {}
        self.undone: dict[tuple[str, str, int], list[EarlyUndo]] = {}  # what made a (feed, symbol, minute) again

    # -- apply -------------------------------------------------------------------------------------------------

    def apply(
        self,
        entries: Sequence[tuple[bytes, bytes]],
        *,
        now_ns: int,
        finished: Callable[[str], int | None],
        read: Reading = ANY_TIME,
        most_rows: int = READ_TICKS,
        between: Callable[[], None] = lambda: None,
    ) -> int:
        """Apply stream entries (id, frame bytes) in their order; return how many of them: the rest has too many rows.

        now_ns: the worker's monotonic time. read: when they were read, by Redis's clock. finished: the last number of
        a replay that ended here before, or None. most_rows: of the frames that are unpacked; the first entry is always
        taken. between: called between two pieces of the work, none of which takes long.
        """
        ready: dict[str, list[Arrival]] = {}
        rows = taken = 0
        for entry_id, body in entries:
            if rows >= most_rows:
                break
            position = Position.parse(entry_id)
            self.unacked.append(entry_id)
            for arrival in self._in_order(position, body, read, finished):
                ready.setdefault(arrival.frame.feed, []).append(arrival)
                rows += arrival.frame.rows
            self.read_to = position
            taken += 1
        self.dirty = self.dirty or bool(entries)
        for feed, arrivals in ready.items():
            for piece in _pieces(arrivals):
                self._apply_feed(feed, piece, now_ns)
                between()
        return taken

    def _in_order(
        self, position: Position, body: bytes, read: Reading, finished: Callable[[str], int | None]
    ) -> list[Arrival]:
        try:
            frame = frames.decode(body)
            flow = self._flow(frame, finished)
            self.heard.add(frame.producer)
            if frame.kind == "abandon":
                arrivals = (
                    [] if flow.ended else [Arrival(frame, position, read=read)]
                )  # said before, or it ended after all
                flow.ended = True
                return arrivals
            before = flow.number
            if frame.previous > before and not flow.ended and not self._has_room(flow, frame):
                self.overflow = min(self.overflow or position, position)
                return []
            ready = flow.accept(Arrival(frame, position, read=read))
            if not ready and frame.last <= before:
                self.repeats += frame.rows
            self._refuse_overlapping(flow)
        except BadFrame as e:
            self.dead_letters.append(DeadLetter("", Refused("bad_frame", str(e), body[:MAX_BODY_BYTES]), str(position)))
            return []
        return ready

    def _has_room(self, flow: FrameOrder, frame: Frame) -> bool:
        """Tell whether a frame may wait behind a hole: all that waits in the partition has a bound in bytes."""
        if len(flow.held) >= _HELD_FRAMES:
            return False
        held_bytes = sum(flow.held_bytes for flow in self.flows.values())
        return held_bytes + frame.held_bytes <= self.limits.held_bytes

    def _refuse_overlapping(self, flow: FrameOrder) -> None:
        for frame, position, *_ in flow.overlapping:
            why = f"numbers {frame.previous}-{frame.last} overlap {flow.number}"
            refused = Refused("bad_frame", why, frames.encode(frame)[:MAX_BODY_BYTES])
            self.dead_letters.append(DeadLetter("", refused, str(position)))
        flow.overlapping.clear()

    def _flow(self, frame: Frame, finished: Callable[[str], int | None]) -> FrameOrder:
        """Return where a frame's producer stands. Raises BadFrame for one that speaks for another's feed."""
        flow = self.flows.get(frame.producer)
        if flow is None:
            self._expect_own_feed(frame)
            flow = self.flows[frame.producer] = FrameOrder(frame.feed)
            if frame.is_replay and (number := finished(frame.producer)) is not None:
                flow.number, flow.ended = number, True
        elif flow.feed != frame.feed:
            raise BadFrame(f"{frame.producer} sends to the feed {flow.feed}, not to {frame.feed}")
        return flow

    def _expect_own_feed(self, frame: Frame) -> None:
        """Raise BadFrame for a live frame to a replay's feed, or a replay named as a live feed: its end closes bars."""
        if len(self.flows) >= MAX_PRODUCERS:
            raise BadFrame(f"more than {MAX_PRODUCERS} producers in one partition")
        replays = {flow.feed for producer, flow in self.flows.items() if flow.feed == producer}
        others = {flow.feed for flow in self.flows.values()} - replays
        books = {feed for feed, book in self.feeds.items() if book.replay != frame.is_replay}
        if frame.feed in (others if frame.is_replay else replays) | books:
            raise BadFrame(f"the feed {frame.feed} is no feed of {frame.producer}")

    def _apply_feed(self, feed: str, arrivals: list[Arrival], now_ns: int) -> None:
        last = arrivals[-1].frame
        replay = last.is_replay
        batches = [
            self._checked(producer, list(run)) for producer, run in groupby(arrivals, key=lambda a: a.frame.producer)
        ]
        ticks = concat(batches)
        self.uncommitted_ticks += len(ticks)
        self._add_bars(feed, ticks, replay=replay, producer=last.producer, publish=last.publish or not replay)
        for arrival in arrivals:
            if arrival.frame.kind == "end":
                self._end(arrival.frame)
            elif arrival.frame.kind == "abandon":
                self._abandon(arrival.frame)
        if not replay:
            self._set_clock(feed, arrivals, now_ns)

    def _checked(self, producer: str, arrivals: list[Arrival]) -> Ticks:
        """Unpack one producer's frames, count what becomes of each tick, and return those that may touch a bar."""
        counts = self.counts.setdefault(producer, Counts())
        batches = self._unpack_together(arrivals) or [self._unpack(arrival) for arrival in arrivals]
        for arrival, ticks in zip(arrivals, batches, strict=False):
            rows = len(ticks) + len(ticks.refused)
            counts.ticks_in += 0 if arrival.was_lost else rows
            counts.lost -= rows if arrival.was_lost else 0
            self._refuse(producer, ticks.refused)
        ticks, times = concat(batches), row_arrivals(arrivals, batches)
        if times is not None and (self.early or "undoes" in ticks.optional):
            # A replay takes nothing back: its source leaves such trades out.
            stamps_ms = arrived_ms(arrivals, batches)
            kept, ticks = self._without_undone(producer, arrivals[0].frame.feed, ticks, stamps_ms, times)
            counts.applied += len(kept) - int(kept.sum())
            times = RowArrivals(times.born_ns[kept], times.arrived_ns[kept])
        checked = check(ticks, times, self.limits)
        counts.quote_or_zero += checked.quote_or_zero
        counts.repeated += checked.repeated
        counts.applied += len(checked.ticks)
        self._refuse(producer, checked.refused)
        return checked.ticks

    def _without_undone(
        self, producer: str, feed: str, ticks: Ticks, stamps_ms: Column, times: RowArrivals
    ) -> tuple[Column, Ticks]:
        """Note what takes trades back, and carry out what waits for these; return which rows are left, and these."""
        undoes = is_undo(ticks)
        said = ticks.take(undoes)
        told = zip(undos_of(ticks), said.ts.tolist(), stamps_ms[undoes].tolist(), strict=True)
        self.undos += [EarlyUndo(feed, producer, undo, ts, at_ms) for undo, ts, at_ms in told]
        met = meet(ticks, times, stamps_ms, feed=feed, waiting=self.early, limits=self.limits)
        self.early = met.waiting
        kept = ~(undoes | met.gone)
        return kept, met.ticks.take(kept)

    def _unpack_together(self, arrivals: list[Arrival]) -> list[Ticks]:
        """Return full frames of a replay as one batch; nothing where some frame must be looked at by itself."""
        batch = [arrival.frame for arrival in arrivals]
        if not batch[0].is_replay or not frames.are_alike(batch):
            return []
        try:
            ticks = frames.ticks_of_alike(batch)
            self._expect_symbols(ticks.symbols)
        except BadFrame:
            return []
        return [ticks]

    def _unpack(self, arrival: Arrival) -> Ticks:
        """Return a frame's new rows; those of a corrupt block are refused together, under their numbers."""
        frame = arrival.frame
        try:
            self._expect_symbols(frame.symbols)
            return _rows_above(frames.ticks_of(frame), arrival.above)
        except BadFrame as e:
            counts = self.counts[frame.producer]
            counts.refused += frame.rows
            # Numbers that were given up as lost stand in the ledger already.
            counts.lost -= frame.rows if arrival.was_lost else 0
            counts.ticks_in += 0 if arrival.was_lost else frame.rows
            original = frames.encode(frame)[:MAX_BODY_BYTES]
            self.dead_letters.append(DeadLetter(frame.producer, Refused("bad_frame", str(e), original)))
            return Ticks.empty()

    def _expect_symbols(self, symbols: Iterable[str]) -> None:
        """Raise BadFrame for a new symbol that no column holds, or whose bars another partition writes."""
        for symbol in symbols:
            if symbol in self._codes:
                continue
            if not (symbol.isprintable() and 0 < len(symbol) <= MAX_SYMBOL_LENGTH):
                raise BadFrame(f"{symbol!r} is not a symbol")
            if not is_at_home(symbol, self.partition, self.limits.partitions):
                raise BadFrame(f"{symbol!r} is a symbol of another partition")

    def _refuse(self, producer: str, refused: Iterable[Refused]) -> None:
        counts = self.counts[producer]
        for tick in refused:
            outcome = tick.reason if tick.reason in ("future", "too_late") else "refused"
            setattr(counts, outcome, getattr(counts, outcome) + 1)
            self.dead_letters.append(DeadLetter(producer, tick))

    def _end(self, frame: Frame) -> None:
        # A live producer's numbers stay until its lease is long over: after a fail-over its frames
        # may be read again.
        flow = self.flows[frame.producer]
        flow.ended = flow.end_applied = True
        if frame.is_replay:
            self.ended_replays.append(EndedReplay(frame.producer, frame.last, abandoned=False))
            self._book(frame.feed, replay=True, whole=False, producer=frame.producer, publish=frame.publish)
            for feed in self._feeds_of(frame.feed):
                self.feeds[feed].ended = True

    def take_away(self, replay: str, minutes: Sequence[tuple[str, int]]) -> None:
        """Let the next commit take away what others wrote in some (symbol, minute), where nothing is open.

        replay: ended here since the last commit.
        """
        book = self.feeds[replay]
        open_here = set(_keys_of(book.bars))
        keys = [key for symbol, minute in minutes if (key := (self._code(symbol), minute)) not in open_here]
        if keys:
            book.bars = merge(np.concatenate((book.bars, empty_bars(keys))))

    def _abandon(self, frame: Frame) -> None:
        flow = self.flows[frame.producer]
        if flow.end_applied:
            return
        dropped = 0
        for book in (self.feeds[feed] for feed in self._feeds_of(frame.feed)):
            closed = self._due(book)  # only waits for its commit: whether that came before must make no difference
            dropped += int(book.bars["trades"][~closed].sum())
            book.bars, book.ended = book.bars[closed], True
        counts = self.counts.setdefault(frame.producer, Counts())
        counts.applied -= dropped
        counts.lost += dropped
        flow.drop_held()
        self.ended_replays.append(EndedReplay(frame.producer, flow.number, abandoned=True))

    def _feeds_of(self, feed: str) -> list[str]:
        return [name for name in (feed, minute_feed(feed)) if name in self.feeds]

    def _add_bars(self, feed: str, ticks: Ticks, *, replay: bool, producer: str, publish: bool) -> None:
        whole = ticks.optional.get("whole_minute")
        if whole is not None and whole.any():
            minutes = ticks.take(whole != 0)
            ticks = ticks.take(whole == 0)
            book = self._book(minute_feed(feed), replay=replay, whole=True, producer=producer, publish=publish)
            added = latest_of(minutes, self._codes_of(minutes))
            book.bars = merge(np.concatenate((book.bars, added)), whole=True)
        if len(ticks) or not replay:
            book = self._book(feed, replay=replay, whole=False, producer=producer, publish=publish)
            book.bars = merge(np.concatenate((book.bars, bars_of(ticks, self._codes_of(ticks)))))

    def _book(self, feed: str, *, replay: bool, whole: bool, producer: str, publish: bool) -> FeedBars:
        book = self.feeds.get(feed)
        if book is None:
            book = self.feeds[feed] = FeedBars(replay, whole, producer, publish)
        book.producer = producer
        return book

    def _codes_of(self, ticks: Ticks) -> Column:
        codes = np.fromiter((self._code(symbol) for symbol in ticks.symbols), "<i4", len(ticks.symbols))
        return codes[ticks.symbol_index]

    def _code(self, symbol: str) -> int:
        code = self._codes.get(symbol)
        if code is None:
            code = self._codes[symbol] = len(self.symbols)
            self.symbols.append(symbol)
        return code

    # -- what is taken back ----------------------------------------------------------------------------------------

    def take_back(self, stream: Callable[[], Iterable[tuple[bytes, bytes]]]) -> None:
        """Carry out the pending undos: make their bars again from what the stream holds (id, frame bytes)."""
        for feed in {pending.feed for pending in self.undos}:
            applied = {producer: flow.number for producer, flow in self.flows.items() if flow.feed == feed}
            mine = [pending for pending in self.undos if pending.feed == feed]
            past = read_past(stream(), feed, frozenset(p.undo.symbol for p in mine), applied, self.limits)
            left, found = take_back(past.ticks, past.arrived_ms)
            minutes = self._minutes_taken_back(mine, found, past.first_ms)
            if minutes:
                codes = {symbol: self._code(symbol) for symbol, _ in minutes}
                self._replace(feed, mine[-1].producer, bars_again(left, codes, minutes))
        self.undos = []

    def _minutes_taken_back(
        self, pending: Sequence[EarlyUndo], found: Sequence[Found], first_ms: int
    ) -> list[tuple[str, int]]:
        """Return the (symbol, minute) that changed; an undo without its trade waits, or goes to the dead letters."""
        minutes, early = [], []
        outcomes: dict[Undo, list[Found]] = {}
        for outcome in found:
            outcomes.setdefault(outcome.undo, []).append(outcome)
        for one in reversed(pending):  # of several that are alike, the last ones are those of now
            alike = outcomes.get(one.undo)
            outcome = alike.pop() if alike else Found(one.undo, None)  # Redis lost the undo itself
            # A minute's trade may arrive ahead of it, where clocks differ.
            trimmed = outcome.minute is not None and (outcome.minute - 1) * 60_000 < first_ms
            if outcome.too_late or trimmed:
                self._refuse_undo(one, TRIMMED if trimmed else NO_TRADE)
            elif outcome.minute is None:
                early.append(one)
            else:
                minutes.append((one.undo.symbol, outcome.minute))
                self.undone.setdefault((one.feed, *minutes[-1]), []).append(one)
        self.early += reversed(early)
        return minutes

    def _refuse_undo(self, one: EarlyUndo, why: str) -> None:
        if one.producer in self.flows:  # else its numbers are forgotten, and its counts closed
            counts = self.counts.setdefault(one.producer, Counts())
            counts.applied -= 1
            counts.refused += 1
        self.dead_letters.append(DeadLetter(one.producer, refused_undo(one.undo, one.ts, why)))

    def give_up_undos(self) -> None:
        """Send the undos that waited long enough to the dead letters, and the oldest where too many wait."""
        self.early.sort(key=lambda one: one.arrived_ms)
        spare = len(self.early) - MOST_EARLY
        kept = []
        for i, one in enumerate(self.early):
            if i < spare or self._is_overdue(one):
                self._refuse_undo(one, NO_TRADE)
            else:
                kept.append(one)
        self.early = kept

    def _is_overdue(self, one: EarlyUndo) -> bool:
        book = self.feeds.get(one.feed)
        return is_overdue(one, self.read_to.ms if book is None else book.clock_ns // MS_NS + book.delay_ms)

    def _replace(self, feed: str, producer: str, bars: Column) -> None:
        book = self._book(feed, replay=False, whole=False, producer=producer, publish=True)
        keys = _keys_of(bars)
        here = _keys_of(book.bars)
        kept = np.array([key not in keys for key in here], bool)
        undecided = dict(zip(here, book.bars["trades"].tolist(), strict=True))
        book.bars = merge(np.concatenate((book.bars[kept], bars)))
        self.rebuilt.setdefault(feed, {}).update({key: undecided.get(key, 0) for key in keys})

    # -- clocks and holes --------------------------------------------------------------------------------------

    def _set_clock(self, feed: str, arrivals: Sequence[Arrival], now_ns: int) -> None:
        self.arrived_ns = max(self.arrived_ns, arrivals[-1].stamp_ms * MS_NS)
        delays = [a.frame.delay_ms for a in arrivals if a.frame.producer != FRONT_DOOR_PRODUCER]
        for name in self._feeds_of(feed):
            book = self.feeds[name]
            book.delay_ms = delays[-1] if delays else book.delay_ms
            arrived_ns = _arrived_ns(arrivals[-1])
            if arrivals[-1].frame.producer == FRONT_DOOR_PRODUCER:  # which knows of no delay
                arrived_ns -= book.delay_ms * MS_NS
            if arrived_ns >= book.base_ns:  # a lost frame that came after all is older
                book.base_ns, book.seen_at_ns = arrived_ns, now_ns
            book.clock_ns = max(book.clock_ns, min(arrived_ns, self._held_ns(name)))

    def tick_clocks(self, now_ns: int) -> None:
        """Move the live clocks on after a read that found nothing here; now_ns: monotonic time before that read."""
        for name, book in self.feeds.items():
            if book.replay:
                continue
            if book.seen_at_ns is None:
                book.base_ns, book.seen_at_ns = book.clock_ns, now_ns
            clock_ns = book.base_ns + max(0, now_ns - book.seen_at_ns)
            book.clock_ns = max(book.clock_ns, min(clock_ns, self._held_ns(name)))

    def _held_ns(self, feed: str) -> int:
        """Return when the earliest frame arrived that a feed holds behind a hole: its clock waits there."""
        flows = [flow for flow in self.flows.values() if flow.held and feed in (flow.feed, minute_feed(flow.feed))]
        return min((_arrived_ns(arrival) for flow in flows for arrival in flow.held.values()), default=MAX_TS_NS)

    def give_up_holes(
        self,
        read_ms: int,
        *,
        hole_wait_ms: int,
        now_ns: int,
        only: Collection[str] | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> list[tuple[str, tuple[int, int]]]:
        """Call lost the live holes that were waited for long enough; return producer and range (from, to] of each.

        only: of these producers; None: of all. between: called between two pieces of what can be applied then.
        """
        given_up: list[tuple[str, tuple[int, int]]] = []
        for producer, flow in self.flows.items():
            can_be_sent_again = producer in (flow.feed, FRONT_DOOR_PRODUCER)  # a replay, or the door's own entries
            if can_be_sent_again or (only is not None and producer not in only):
                continue
            # Who was asked for the first was asked for all that follows it: the others do not wait in turn.
            ready: list[Arrival] = []
            before_ms = 0
            while flow.held and read_ms > (since_ms := flow.held_since_ms) + hole_wait_ms:
                hole, some = flow.give_up()
                self._note_given_up(producer, flow.feed, hole, (before_ms, since_ms))
                given_up.append((producer, hole))
                ready += some
                before_ms = since_ms
            self._refuse_overlapping(flow)
            for piece in _pieces(ready) if ready else ():  # together: each of thousands may stand behind its own hole
                self._apply_feed(flow.feed, piece, now_ns)
                between()
        return given_up

    def _note_given_up(self, producer: str, feed: str, hole: tuple[int, int], window_ms: tuple[int, int]) -> None:
        """Count numbers as lost, and note the gap. window_ms: times of the ticks before and behind them, 0: unknown."""
        self._count_lost(producer, hole)
        if producer.startswith(MARKET_PRODUCERS):  # what another lost, no vendor has
            book = self.feeds.get(feed)
            before_ms, behind_ms = window_ms
            after_ms = max(before_ms, book.base_ns // MS_NS) if book else behind_ms
            self.given_up.append(Hole(feed, self.partition, after_ms, behind_ms, producer, hole[1] - hole[0]))
        self.dirty = True

    def give_up_rest(self, producer: str, feed: str, numbers: tuple[int, int], window_ms: tuple[int, int]) -> int:
        """Call lost what a producer that is gone had sent and nobody has: its last numbers.

        numbers: committed, and sent at last; window_ms: when that may have been sent. Returns how many ticks.
        """
        flow = self.flows.setdefault(producer, FrameOrder(feed, numbers[0]))
        hole = flow.give_up_to(numbers[1])
        self._count_lost(producer, hole)
        if producer.startswith(MARKET_PRODUCERS):
            self.given_up.append(Hole(feed, self.partition, *window_ms, producer, hole[1] - hole[0]))
        self.dirty = True
        return hole[1] - hole[0]

    def _count_lost(self, producer: str, hole: tuple[int, int]) -> None:
        counts = self.counts.setdefault(producer, Counts())
        counts.ticks_in += hole[1] - hole[0]
        counts.lost += hole[1] - hole[0]

    @property
    def holes(self) -> list[tuple[str, FrameOrder]]:
        """The producers with frames ahead of a hole."""
        return [(producer, flow) for producer, flow in self.flows.items() if flow.held]

    @property
    def safe_position(self) -> Position:
        """The position that a commit may claim: just below the first held frame, else the last entry read."""
        waiting = [self.overflow, *(flow.first_held for flow in self.flows.values())]
        return min([self.read_to, *(position.before() for position in waiting if position)])

    # -- commit ------------------------------------------------------------------------------------------------

    def closed(self) -> list[ClosedBars]:
        """Return the bars that the next commit writes."""
        closed = [ClosedBars(feed, book, self._due(book)) for feed, book in self.feeds.items()]
        return [bars for bars in closed if bars.mask.any()]

    def has_news(self) -> bool:
        """Tell whether something waits to be committed that is waited for: a closed live bar, or a replay's end."""
        lateness_ns = self.limits.lateness_ns
        return (
            bool(self.ended_replays)
            or any(map(self._is_overdue, self.early))
            or any(
                not book.replay and (self._due(book).any() or book.due_higher(book.waiting, lateness_ns).any())
                for book in self.feeds.values()
            )
        )

    def has_detectable(self) -> bool:
        """Tell whether marked bars wait whose histories are there."""
        return bool(self.detector.covers(self.marks).any())

    def save(self, closed: Sequence[ClosedBars], marks: Column, waiting: Mapping[str, Column]) -> bytes:
        """Return the state as it will be after the commit: closed bars and ended replays left out."""
        kept = {feed: book.bars for feed, book in self.feeds.items()}
        kept |= {bars.feed: bars.book.bars.compress(~bars.mask) for bars in closed}
        return save_state(
            self.symbols, self.flows, self.feeds, bars=kept, waiting=waiting, marks=marks, early=self.early
        )  # fmt: skip

    def load(self, state: bytes | None) -> None:
        """Take over a committed state. Raises SetupError for one that a newer program wrote."""
        if state is None:
            return
        saved = load_state(state, self.partition)
        for symbol in saved.symbols:
            self._code(symbol)
        self.flows, self.feeds, self.marks, self.early = saved.flows, saved.feeds, saved.marks, list(saved.early)
        self.done = {producer: flow.done for producer, flow in self.flows.items()}

    def knows(self, symbol: str) -> bool:
        """Tell whether a symbol is one of this partition's."""
        return symbol in self._codes

    def codes_of(self, symbols: Iterable[str]) -> Column:
        """Return the index of each symbol in `symbols`."""
        return np.fromiter((self._codes[symbol] for symbol in symbols), "<i4")

    def _due(self, book: FeedBars) -> Column:
        return book.due(self.limits.lateness_ns)

    def committed(
        self, position: Position, closed: Sequence[ClosedBars], marks: Column, waiting: Mapping[str, Column]
    ) -> list[bytes]:
        """Move on after COMMIT answered; return the entry ids that can be acked."""
        for bars in closed:
            bars.book.bars = bars.book.bars.compress(~bars.mask)
        self.marks = marks
        for feed, higher in waiting.items():
            self.feeds[feed].waiting = higher
        for feed in [feed for feed, book in self.feeds.items() if book.ended]:
            del self.feeds[feed]
        self.done = {producer: flow.done for producer, flow in self.flows.items()}
        self.heard.clear()
        for ended in self.ended_replays:
            self.flows.pop(ended.replay, None)
        self.counts, self.dead_letters, self.ended_replays, self.repeats = {}, [], [], 0
        self.rebuilt, self.undone, self.given_up = {}, {}, []
        self.position = position
        end = bisect_right(self.unacked, position, key=Position.parse)  # many stay where the position waits for a hole
        acked, self.unacked = self.unacked[:end], self.unacked[end:]
        self.uncommitted_ticks = self.arrived_ns = 0
        self.dirty = False
        return acked


def _pieces(arrivals: list[Arrival]) -> Iterator[list[Arrival]]:
    """Cut frames that can be applied into runs of few rows, in their order."""
    first = rows = 0
    for i, arrival in enumerate(arrivals):
        if rows + arrival.frame.count > _PIECE_ROWS and i > first:
            yield arrivals[first:i]
            first, rows = i, 0
        rows += arrival.frame.count
    yield arrivals[first:]


def _keys_of(bars: Column) -> list[tuple[int, int]]:
    return list(zip(bars["symbol"].tolist(), bars["minute"].tolist(), strict=True))


def _arrived_ns(arrival: Arrival) -> int:
    """Return when a frame arrived by the feed's own market time: Unix ns by Redis's clock."""
    return (arrival.stamp_ms - arrival.frame.delay_ms) * MS_NS


def _rows_above(ticks: Ticks, number: int) -> Ticks:
    """Keep the rows of a front-door frame that are new."""
    if not number:
        return ticks
    rows = ticks.optional["row_id"] > number if len(ticks) else slice(0)
    return ticks.take(rows, [r for r in ticks.refused if r.row_id > number])
