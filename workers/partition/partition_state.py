"""The state of one partition in a worker between two commits: numbers, clocks, open bars, counts. Pure.

It only grows until the commit; then `committed` advances it. It can be dropped at any time: a restore loads the last
committed state, and reads the stream again from there.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ...contracts.bar import Bars
from ...contracts.bounds import READ_TICKS
from ...contracts.frames.frame import Frame
from ...contracts.gap import Hole
from ...contracts.lease import Lease
from ...contracts.names import FRONT_DOOR_PRODUCER, minute_feed
from ...contracts.partition import Position
from ...contracts.ticks import MAX_TS_NS, Codes, Column, Mask, Ticks, concat
from ..marks import NO_MARKS, Marks
from ..steady_clock import Reading
from .bar_book import bars_of, empty_bars, latest_of, merge
from .early_undos import MOST_EARLY, EarlyUndo, is_overdue, meet
from .feed_bars import ClosedBars, FeedBars
from .frame_intake import FrameIntake, refuse_overlapping
from .frame_order import ANY_TIME, Arrival, FrameOrder
from .numbering import Numbering
from .saved_state import load_state, save_state
from .tick_check import MS_NS, Limits, RowArrivals, check, row_arrivals
from .uncommitted import EndedReplay, Uncommitted
from .undo import NO_TRADE, arrived_ms, bars_again, is_undo, read_past, take_back, undos_of
from .undo_outcomes import refuse_undo, sort_out
from .unpacking import Unpacker, pieces_of


@dataclass(frozen=True, slots=True)
class Held:
    """How a partition is held. token: of its checkpoint row; outbox_number: of its newest outbox row."""

    partition: int
    lease: Lease
    token: int
    outbox_number: int = 0


class PartitionState:
    """One owned partition. position: everything in the stream up to here is committed."""

    def __init__(self, held: Held, *, position: Position, limits: Limits, numbering: Numbering | None = None) -> None:
        """numbering: of the partition's symbols before a restore; it is kept if the loaded state fits it."""
        self.held = held
        self.partition = held.partition
        self.position = position
        self.read_to = position
        self.limits = limits
        self.intake = FrameIntake(held_bytes=limits.held_bytes)
        self.done: dict[str, int] = {}  # by producer: the last committed number; it may forget frames up to it
        self.feeds: dict[str, FeedBars] = {}
        self.numbering = numbering or Numbering()
        self.marks: Marks = NO_MARKS  # committed bars that wait for detection
        self.uncommitted = Uncommitted()
        self.early: list[EarlyUndo] = []  # cancels and corrections that came before their trades
        self._ended_ns: int | None = None  # monotonic time before the last read up to the stream's end

    @property
    def symbols(self) -> list[str]:
        """The partition's symbols. Bars and marks hold the index into this list, which only grows."""
        return self.numbering.names

    @property
    def flows(self) -> dict[str, FrameOrder]:
        """By producer: its last applied number, and the frames that wait behind missing ones."""
        return self.intake.flows

    def read_from(self, position: Position) -> None:
        """Record that the stream is read from after this position."""
        self.read_to = position

    def pass_deleted(self, until: Position) -> None:
        """Record that a read reached this id, whose entry was deleted."""
        self.read_to = max(self.read_to, until)

    # -- apply -------------------------------------------------------------------------------------------------------

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
        """Apply stream entries (id, frame bytes) in their order; return how many were taken.

        read: when they were read, by Redis's clock; now_ns: the worker's monotonic time then. finished: returns the
        last number of a replay that ended here before, or None. most_rows: stop after this many rows; the first entry
        is always taken. between: called between two pieces of work, each of which is short.
        """
        ready: dict[str, list[Arrival]] = {}
        rows = taken = 0
        for entry_id, body in entries:
            if rows >= most_rows:
                break
            position = Position.parse(entry_id)
            self.uncommitted.unacked.append(entry_id)
            arrived = (position, body, read)
            for arrival in self.intake.take(arrived, self.uncommitted, feeds=self.feeds, finished=finished):
                ready.setdefault(arrival.frame.feed, []).append(arrival)
                rows += arrival.frame.rows
            self.read_to = position
            taken += 1
        self.uncommitted.dirty = self.uncommitted.dirty or bool(entries)
        for feed, arrivals in ready.items():
            for piece in pieces_of(arrivals):
                self._apply_feed(feed, piece, now_ns)
                between()
        return taken

    def _apply_feed(self, feed: str, arrivals: list[Arrival], now_ns: int) -> None:
        last = arrivals[-1].frame
        replay = last.is_replay
        batches = [
            self._checked(producer, list(run)) for producer, run in groupby(arrivals, key=lambda a: a.frame.producer)
        ]
        ticks = concat(batches)
        self.uncommitted.ticks += len(ticks)
        self._add_bars(feed, ticks, replay=replay, producer=last.producer, publish=last.publish or not replay)
        for arrival in arrivals:
            if arrival.frame.kind == "end":
                self._end(arrival.frame)
            elif arrival.frame.kind == "abandon":
                self._abandon(arrival.frame)
        if not replay:
            self._set_clock(feed, arrivals, now_ns)

    def _checked(self, producer: str, arrivals: list[Arrival]) -> Ticks:
        """Unpack one producer's frames, count the outcome of each tick, and return the ticks that may change a bar."""
        counts = self.uncommitted.count_of(producer)
        unpacker = Unpacker(self.partition, self.limits.partitions, self.numbering)
        batches = unpacker.unpack(producer, arrivals, self.uncommitted)
        ticks, times = concat(batches), row_arrivals(arrivals, batches)
        if times is not None and (self.early or "undoes" in ticks.optional):
            # A replay has no cancels: its source leaves such trades out.
            stamps_ms = arrived_ms(arrivals, batches)
            kept, ticks = self._without_undone(producer, arrivals[0].frame.feed, ticks, stamps_ms, times)
            counts.applied += len(kept) - int(kept.sum())
            times = RowArrivals(times.born_ns[kept], times.arrived_ns[kept])
        checked = check(ticks, times, self.limits)
        counts.quote_or_zero += checked.quote_or_zero
        counts.repeated += checked.repeated
        counts.applied += len(checked.ticks)
        self.uncommitted.refuse(producer, checked.refused)
        return checked.ticks

    def _without_undone(
        self, producer: str, feed: str, ticks: Ticks, stamps_ms: Column, times: RowArrivals
    ) -> tuple[Mask, Ticks]:
        """Keep the cancels and corrections for the next commit, and carry out earlier ones that waited for these ticks.

        Returns a mask of the ticks that are left, and these ticks.
        """
        undoes = is_undo(ticks)
        said = ticks.take(undoes)
        told = zip(undos_of(ticks), said.ts.tolist(), stamps_ms[undoes].tolist(), strict=True)
        self.uncommitted.undos += [EarlyUndo(feed, producer, undo, ts, at_ms) for undo, ts, at_ms in told]
        met = meet(ticks, times, stamps_ms, feed=feed, waiting=self.early, limits=self.limits)
        self.early = met.waiting
        kept = ~(undoes | met.gone)
        return kept, met.ticks.take(kept)

    def _end(self, frame: Frame) -> None:
        # A live producer's numbers stay until long after its lease: after a fail-over its frames may be read again.
        flow = self.flows[frame.producer]
        flow.ended = flow.end_applied = True
        if frame.is_replay:
            self.uncommitted.ended_replays.append(EndedReplay(frame.producer, frame.last, abandoned=False))
            self._book(frame.feed, replay=True, whole=False, producer=frame.producer, publish=frame.publish)
            for feed in self._feeds_of(frame.feed):
                self.feeds[feed].ended = True

    def take_away(self, replay: str, minutes: Sequence[tuple[str, int]]) -> None:
        """Let the next commit delete the bars of other feeds in some (symbol, minute) that have no open bar.

        replay: ended here since the last commit.
        """
        book = self.feeds[replay]
        open_here = set(_keys_of(book.bars))
        keys = [key for symbol, minute in minutes if (key := (self.numbering.code(symbol), minute)) not in open_here]
        if keys:
            book.bars = merge(book.bars, empty_bars(keys))

    def _abandon(self, frame: Frame) -> None:
        flow = self.flows[frame.producer]
        if flow.end_applied:
            return
        dropped = 0
        for book in (self.feeds[feed] for feed in self._feeds_of(frame.feed)):
            closed = self._due(book)  # closed bars stay, as if their commit had come before
            dropped += int(book.bars["trades"][~closed].sum())
            book.bars, book.ended = book.bars[closed], True
        counts = self.uncommitted.count_of(frame.producer)
        counts.applied -= dropped
        counts.lost += dropped
        flow.drop_held()
        self.uncommitted.ended_replays.append(EndedReplay(frame.producer, flow.number, abandoned=True))

    def _feeds_of(self, feed: str) -> list[str]:
        return [name for name in (feed, minute_feed(feed)) if name in self.feeds]

    def _add_bars(self, feed: str, ticks: Ticks, *, replay: bool, producer: str, publish: bool) -> None:
        whole = ticks.optional.get("whole_minute")
        if whole is not None and whole.any():
            minutes = ticks.take(whole != 0)
            ticks = ticks.take(whole == 0)
            book = self._book(minute_feed(feed), replay=replay, whole=True, producer=producer, publish=publish)
            added = latest_of(minutes, self._codes_of(minutes))
            book.bars = merge(book.bars, added, whole=True)
        if len(ticks) or not replay:
            book = self._book(feed, replay=replay, whole=False, producer=producer, publish=publish)
            book.bars = merge(book.bars, bars_of(ticks, self._codes_of(ticks)))

    def _book(self, feed: str, *, replay: bool, whole: bool, producer: str, publish: bool) -> FeedBars:
        book = self.feeds.get(feed)
        if book is None:
            book = self.feeds[feed] = FeedBars(replay, whole, producer, publish)
        book.producer = producer
        return book

    def _codes_of(self, ticks: Ticks) -> Codes:
        codes = np.fromiter((self.numbering.code(symbol) for symbol in ticks.symbols), "<i4", len(ticks.symbols))
        return codes[ticks.symbol_index]

    # -- cancels and corrections -------------------------------------------------------------------------------------

    def take_back(self, stream: Callable[[], Iterable[tuple[bytes, bytes]]]) -> None:
        """Carry out the pending cancels and corrections: make their bars again without these trades.

        stream: reads what the stream holds, (id, frame bytes).
        """
        for feed in {pending.feed for pending in self.uncommitted.undos}:
            applied = {producer: flow.number for producer, flow in self.flows.items() if flow.feed == feed}
            mine = [pending for pending in self.uncommitted.undos if pending.feed == feed]
            past = read_past(stream(), feed, frozenset(p.undo.symbol for p in mine), applied, self.limits)
            left, found = take_back(past.ticks, past.arrived_ms)
            minutes, early = sort_out(mine, found, past.first_ms, self.uncommitted, self.flows)
            self.early += early
            if minutes:
                codes = {symbol: self.numbering.code(symbol) for symbol, _ in minutes}
                self._replace(feed, mine[-1].producer, bars_again(left, codes, minutes))
        self.uncommitted.undos = []

    def give_up_undos(self) -> None:
        """Send the early undos that waited long enough to the dead letters; the oldest too if there are too many."""
        self.early.sort(key=lambda one: one.arrived_ms)
        spare = len(self.early) - MOST_EARLY
        kept = []
        for i, one in enumerate(self.early):
            if i < spare or self._is_overdue(one):
                refuse_undo(one, NO_TRADE, self.uncommitted, self.flows)
            else:
                kept.append(one)
        self.early = kept

    def _is_overdue(self, one: EarlyUndo) -> bool:
        book = self.feeds.get(one.feed)
        return is_overdue(one, self.read_to.ms if book is None else book.clock_ns // MS_NS + book.delay_ms)

    def _replace(self, feed: str, producer: str, bars: Bars) -> None:
        book = self._book(feed, replay=False, whole=False, producer=producer, publish=True)
        keys = _keys_of(bars)
        here = _keys_of(book.bars)
        kept = np.array([key not in keys for key in here], bool)
        counted_later = dict(zip(here, book.bars["trades"].tolist(), strict=True))
        book.bars = merge(book.bars[kept], bars)
        self.uncommitted.rebuilt.setdefault(feed, {}).update({key: counted_later.get(key, 0) for key in keys})

    # -- clocks and missing frames -----------------------------------------------------------------------------------

    def _set_clock(self, feed: str, arrivals: Sequence[Arrival], now_ns: int) -> None:
        self.uncommitted.arrived_ns = max(self.uncommitted.arrived_ns, arrivals[-1].stamp_ms * MS_NS)
        seen_at_ns = self._added_ns(arrivals[-1], now_ns)
        delays = [a.frame.delay_ms for a in arrivals if a.frame.producer != FRONT_DOOR_PRODUCER]
        for name in self._feeds_of(feed):
            book = self.feeds[name]
            book.delay_ms = delays[-1] if delays else book.delay_ms
            arrived_ns = _arrived_ns(arrivals[-1])
            if arrivals[-1].frame.producer == FRONT_DOOR_PRODUCER:  # its frames do not say the delay
                arrived_ns -= book.delay_ms * MS_NS
            book.note_arrival(arrived_ns, seen_at_ns=seen_at_ns, most_ns=self._held_ns(name))

    def _added_ns(self, arrival: Arrival, now_ns: int) -> int:
        """Return the monotonic time at which a frame was added to the stream, or a later time.

        The id says how long before the read; but somebody else may have chosen it, and it was not added before the last
        read that ended the stream.
        """
        waited_ns = max(0, arrival.read.ms - arrival.position.ms - 1) * MS_NS  # both are whole milliseconds
        return now_ns if self._ended_ns is None else max(now_ns - waited_ns, self._ended_ns)

    def tick_clocks(self, now_ns: int) -> None:
        """Move the live clocks on after a read up to the stream's end. now_ns: monotonic time before that read."""
        self._ended_ns = now_ns
        for name, book in self.feeds.items():
            if not book.replay:
                book.tick(now_ns, most_ns=self._held_ns(name))

    def until_close_ns(self, now_ns: int) -> int:
        """Return in how many ns `tick_clocks` closes the next live bar; negative: it is due. now_ns: monotonic time."""
        lateness_ns = self.limits.lateness_ns
        live = [(name, book) for name, book in self.feeds.items() if not book.replay]
        waits = [book.until_close_ns(now_ns, lateness_ns=lateness_ns, most_ns=self._held_ns(n)) for n, book in live]
        return min(waits, default=MAX_TS_NS)

    def _held_ns(self, feed: str) -> int:
        """Return when a feed's earliest waiting frame arrived, in Unix ns: its clock stops there for now."""
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
        """Count missing live frames as lost after hole_wait_ms; return producer and numbers (from, to] of each hole.

        read_ms: Unix ms of the last read. only: of these producers; None: of all. between: called between two pieces of
        the frames that can be applied then.
        """
        given_up: list[tuple[str, tuple[int, int]]] = []
        for producer, flow in self.flows.items():
            can_be_sent_again = producer in (flow.feed, FRONT_DOOR_PRODUCER)  # a replay, or the door's own entries
            if can_be_sent_again or (only is not None and producer not in only):
                continue
            # Wait once: a producer that is asked for the first missing frame sends all frames after it, too.
            ready: list[Arrival] = []
            before_ms = 0
            while flow.held and read_ms > (since_ms := flow.held_since_ms) + hole_wait_ms:
                hole, some = flow.give_up()
                self._lose(producer, flow.feed, hole, (before_ms, since_ms))
                given_up.append((producer, hole))
                ready += some
                before_ms = since_ms
            refuse_overlapping(flow, self.uncommitted)
            for piece in (
                pieces_of(ready) if ready else ()
            ):  # all at once: thousands of frames may each wait behind other missing ones
                self._apply_feed(flow.feed, piece, now_ns)
                between()
        return given_up

    def _lose(self, producer: str, feed: str, numbers: tuple[int, int], window_ms: tuple[int, int]) -> None:
        """Count numbers (from, to] as lost. window_ms: Unix ms of the ticks before and behind them, 0: unknown."""
        book = self.feeds.get(feed)
        before_ms, behind_ms = window_ms
        after_ms = max(before_ms, book.base_ns // MS_NS) if book else behind_ms
        self.uncommitted.lose(Hole(feed, self.partition, after_ms, behind_ms, producer, numbers[1] - numbers[0]))

    def give_up_rest(self, producer: str, feed: str, numbers: tuple[int, int], window_ms: tuple[int, int]) -> int:
        """Count as lost the last numbers of a producer that ended, and whose frames no stream holds.

        numbers: the last committed, and the last sent; window_ms: Unix ms between which that was sent. Returns how many
        ticks.
        """
        flow = self.flows.setdefault(producer, FrameOrder(feed, numbers[0]))
        first, last = flow.give_up_to(numbers[1])
        self.uncommitted.lose(Hole(feed, self.partition, *window_ms, producer, last - first))
        return last - first

    def forget_producers(self, producers: Iterable[str]) -> None:
        """Forget the numbers of producers that send no more frames. The next commit saves that."""
        self.intake.forget(producers)
        self.uncommitted.dirty = True

    @property
    def holes(self) -> list[tuple[str, FrameOrder]]:
        """The producers with missing frames, and their flows."""
        return [(producer, flow) for producer, flow in self.flows.items() if flow.held]

    @property
    def safe_position(self) -> Position:
        """The position that a commit may save: just below the first frame that waits, else the last entry read."""
        return self.intake.safe_position(self.read_to)

    # -- commit ------------------------------------------------------------------------------------------------------

    def closed(self) -> list[ClosedBars]:
        """Return the bars that the next commit writes."""
        closed = [ClosedBars(feed, book, self._due(book)) for feed, book in self.feeds.items()]
        return [bars for bars in closed if bars.mask.any()]

    def has_news(self) -> bool:
        """Tell whether a commit should come soon: for a closed live bar, a replay's end, or an overdue undo."""
        lateness_ns = self.limits.lateness_ns
        return (
            bool(self.uncommitted.ended_replays)
            or any(map(self._is_overdue, self.early))
            or any(
                not book.replay and (self._due(book).any() or book.due_higher(book.waiting, lateness_ns).any())
                for book in self.feeds.values()
            )
        )

    def save(self, closed: Sequence[ClosedBars], marks: Marks, waiting: Mapping[str, Marks]) -> bytes:
        """Return the state as it will be after the commit, without closed bars and ended replays, as bytes."""
        kept = {feed: book.bars for feed, book in self.feeds.items()}
        kept |= {bars.feed: bars.book.bars.compress(~bars.mask) for bars in closed}
        return save_state(
            self.symbols, self.flows, self.feeds, bars=kept, waiting=waiting, marks=marks, early=self.early
        )  # fmt: skip

    def load(self, state: bytes | None) -> None:
        """Load a committed state. Raises SetupError if a newer program wrote it."""
        if state is None:
            return
        saved = load_state(state, self.partition)
        if not self.numbering.fits(saved.symbols):
            self.numbering = Numbering()
        codes = np.array([self.numbering.code(symbol) for symbol in saved.symbols], "<i4")
        self.feeds, self.marks, self.early = saved.feeds, saved.marks, list(saved.early)
        self.intake.flows = saved.flows
        for rows in (self.marks, *(part for book in self.feeds.values() for part in (book.bars, book.waiting))):
            rows["symbol"] = codes[rows["symbol"]]
        self.done = {producer: flow.done for producer, flow in self.flows.items()}

    def knows(self, symbol: str) -> bool:
        """Tell whether a symbol came in this partition before."""
        return symbol in self.numbering.codes

    def codes_of(self, symbols: Iterable[str]) -> Codes:
        """Return the index of each symbol in `symbols`."""
        return self.numbering.codes_of(symbols)

    def _due(self, book: FeedBars) -> Mask:
        return book.due(self.limits.lateness_ns)

    def committed(
        self,
        position: Position,
        closed: Sequence[ClosedBars],
        marks: Marks,
        waiting: Mapping[str, Marks],
        *,
        held: Held,
    ) -> list[bytes]:
        """Move on after COMMIT answered; return the entry ids that can be acked. held: with the new token.

        position, closed, marks, waiting: what the plan of this commit had.
        """
        self.held = held
        for bars in closed:
            bars.book.bars = bars.book.bars.compress(~bars.mask)
        self.marks = marks
        for feed, higher in waiting.items():
            self.feeds[feed].waiting = higher
        for feed in [feed for feed, book in self.feeds.items() if book.ended]:
            del self.feeds[feed]
        self.done = {producer: flow.done for producer, flow in self.flows.items()}
        for ended in self.uncommitted.ended_replays:
            self.flows.pop(ended.replay, None)
        self.position = position
        acked, self.uncommitted = self.uncommitted.split_acked(position)
        return acked


def _keys_of(bars: Bars) -> list[tuple[int, int]]:
    return list(zip(bars["symbol"].tolist(), bars["minute"].tolist(), strict=True))


def _arrived_ns(arrival: Arrival) -> int:
    """Return a frame's arrival less the feed's delay behind the market: Unix ns by Redis's clock."""
    return (arrival.stamp_ms - arrival.frame.delay_ms) * MS_NS
