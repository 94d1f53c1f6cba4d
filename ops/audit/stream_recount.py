"""Recount the bars of one partition from the frames in its stream, each number once, as committed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...contracts.bar import MINUTE_NS
from ...contracts.errors import BadFrame
from ...contracts.frames.frame import FIELD, Frame, decode, ticks_of
from ...contracts.lease import Lease
from ...contracts.names import REPAIR_FEED, minute_feed, stream_key
from ...contracts.partition import START, Position, is_at_home, ms_of
from ...contracts.ticks import Column, Ticks, concat
from ...db.redis import Client, redis_ms
from ...db.staged_rows import TableShape
from ...db.streams.bounded_streams import read_all
from ...workers.partition.partition_state import Held, PartitionState
from ...workers.partition.tick_check import MS_NS, REVISION_WINDOW_NS, Limits, widened
from ...workers.partition.undo import is_undo, take_back
from .recount import Key, Recount, may_touch_a_bar, recount, recount_whole_minutes

_NEVER = 1 << 31  # later than any minute: nothing of the feed can be recounted here


class Committed(NamedTuple):
    """PostgreSQL's state of one partition, in the same snapshot as the bars.

    numbers: (feed, last number) of each producer. abandoned: replays that were abandoned here.
    """

    partition: int
    state: bytes | None
    numbers: Mapping[str, tuple[str, int]]
    abandoned: frozenset[str]


@dataclass(frozen=True, slots=True)
class FeedRecount:
    """The recounted bars of a feed. first_minute: earlier bars may lack ticks that left the stream.

    open: bars that are not in the table yet.
    """

    feed: str
    replay: bool
    first_minute: int
    open: frozenset[Key]
    recount: Recount


class _Seen(NamedTuple):
    """A frame and its position in the stream.

    above: rows of a front-door frame up to this number were in earlier frames.
    """

    frame: Frame
    position: Position
    above: int = 0


@dataclass(slots=True)
class _Flow:
    """One producer's frames. number: all up to here arrived; held: frames after missing ones, by previous number.

    lost: numbers that the workers counted as lost. whole: every number from 1 on is in the stream, or lost.
    """

    number: int
    lost: Sequence[tuple[int, int]]
    whole: bool
    held: dict[int, _Seen] = field(default_factory=dict)

    def accept(self, seen: _Seen) -> Iterator[_Seen]:
        """Yield the frames that can be applied now, in the order of their numbers; nothing for a repeat."""
        if seen.frame.last > self.number and not self._is_lost(seen.frame.previous, seen.frame.last):
            self.held.setdefault(seen.frame.previous, seen)
        while self.held and (first := min(self.held)) <= self.number:
            yield from self._apply(self.held.pop(first))

    def rest(self) -> Iterator[_Seen]:
        """Return the frames held after missing ones."""
        while self.held:
            first = min(self.held)
            self.whole &= first <= self.number or self._is_lost(self.number, first)
            yield from self._apply(self.held.pop(first))

    def _is_lost(self, after: int, last: int) -> bool:
        return any(a <= after and last <= b for a, b in self.lost)

    def _apply(self, seen: _Seen) -> Iterator[_Seen]:
        if seen.frame.last > self.number:
            above = self.number if seen.frame.previous < self.number else 0
            self.number = seen.frame.last
            yield seen._replace(above=above)


class _Counted(NamedTuple):
    """Ticks that are in bars, and the largest lead of one over its arrival."""

    ticks: Ticks
    ahead_ns: int


def recount_partition(
    client: Client, committed: Committed, partitions: int, shape: TableShape, max_future_ns: int
) -> list[FeedRecount]:
    """Recount every feed of one of `partitions` partitions. max_future_ns: the workers' --max-future-s."""
    seen = list(_read(client, committed.partition))
    read_ms = redis_ms(client)  # ids and birth times are trusted up to here
    state = _load(committed)
    flows = _flows(seen, state)
    frames: dict[str, list[_Seen]] = {feed: [] for feed, _ in committed.numbers.values()}
    for applied in _in_order(seen, flows, committed):
        if all(is_at_home(symbol, committed.partition, partitions) for symbol in applied.frame.symbols):
            frames[applied.frame.feed].append(applied)
    found: list[FeedRecount] = []
    for feed, applied_here in frames.items():
        producers = [producer for producer, (its_feed, _) in committed.numbers.items() if its_feed == feed]
        whole = all(producer in flows and flows[producer].whole for producer in producers)
        replay = feed in producers
        if not seen or feed in committed.abandoned or (replay and not whole):
            found.append(FeedRecount(feed, replay, _NEVER, frozenset(), recount(Ticks.empty())))
            continue
        counted = _count(applied_here, shape, max_future_ns, read_ms)
        # A tick may be ahead of its arrival: by a minute, or by as much as the largest lead in the stream.
        first_ns = min(seen[0].position.ms, read_ms) * MS_NS + max(MINUTE_NS, counted.ahead_ns)
        first_minute = 0 if whole else -(-first_ns // MINUTE_NS)
        found += _feed_recounts(feed, counted.ticks, state, replay=replay, first_minute=first_minute)
    return found


def _flows(seen: Sequence[_Seen], state: PartitionState) -> dict[str, _Flow]:
    starts: dict[str, int] = {}
    for frame in (s.frame for s in seen):
        starts[frame.producer] = min(frame.previous, starts.get(frame.producer, frame.previous))
    lost = {producer: flow.lost for producer, flow in state.flows.items()}
    return {producer: _Flow(start, lost.get(producer, ()), whole=start == 0) for producer, start in starts.items()}


def _read(client: Client, partition: int) -> Iterator[_Seen]:
    for entry_id, fields in read_all(client, stream_key(partition)):
        frame = _frame_of(fields)
        if frame is not None:
            yield _Seen(frame, Position.parse(entry_id))


def _frame_of(fields: Sequence[bytes]) -> Frame | None:
    if len(fields) != 2 or fields[0] != FIELD:
        return None
    try:
        frame = decode(fields[1])
    except BadFrame:
        return None  # it is a dead letter
    return None if frame.kind == "abandon" else frame


def _load(committed: Committed) -> PartitionState:
    """Read the checkpoint: the open bars, and the lost numbers."""
    held = Held(committed.partition, Lease("", 0), 0)
    state = PartitionState(held, position=START, limits=Limits())
    state.load(committed.state)
    return state


def _in_order(seen: Sequence[_Seen], flows: Mapping[str, _Flow], committed: Committed) -> Iterator[_Seen]:
    for s in seen:
        _, number = committed.numbers.get(s.frame.producer, ("", 0))
        if s.frame.last <= number:
            yield from flows[s.frame.producer].accept(s)
    for flow in flows.values():
        yield from flow.rest()


def _count(applied: Sequence[_Seen], shape: TableShape, max_future_ns: int, read_ms: int) -> _Counted:
    batches = [_countable(seen, shape, max_future_ns, read_ms) for seen in applied]
    ahead_ns = [
        int(ticks.ts.max()) - min(seen.position.ms, read_ms) * MS_NS
        for ticks, seen in zip(batches, applied, strict=True)
        if len(ticks)
    ]
    stamps = [min(seen.position.ms, seen.frame.born_ms) for seen in applied]
    left, _ = take_back(concat(batches), np.repeat(np.array(stamps, np.int64), [len(ticks) for ticks in batches]))
    return _Counted(left, max(ahead_ns, default=0))


def _countable(seen: _Seen, shape: TableShape, max_future_ns: int, read_ms: int) -> Ticks:
    """Return a frame's ticks that are in bars; live ticks are compared with their arrival."""
    frame = seen.frame
    try:
        ticks = ticks_of(frame)
    except BadFrame:
        return Ticks.empty()
    undoes = is_undo(ticks)
    good = may_touch_a_bar(ticks, shape) | undoes
    row_id = ticks.optional.get("row_id")
    if seen.above:
        if row_id is None:
            return Ticks.empty()  # numbers overlap, and the frame does not show which rows are new
        good &= row_id > seen.above
    if not frame.is_replay:
        good &= _is_timely(ticks, seen, max_future_ns, read_ms) | undoes
    return widened(ticks.take(good))


def _is_timely(ticks: Ticks, seen: _Seen, max_future_ns: int, read_ms: int) -> Column:
    frame, row_id = seen.frame, ticks.optional.get("row_id")
    born_ms = min(frame.born_ms, read_ms)
    born_ns = (np.full(len(ticks), born_ms) if row_id is None else np.minimum(ms_of(row_id), born_ms)) * MS_NS
    arrived_ns = min(max(frame.born_ms, seen.position.ms), read_ms) * MS_NS
    delay_ns = frame.delay_ms * MS_NS
    on_time = ticks.ts >= born_ns - delay_ns - REVISION_WINDOW_NS
    return (ticks.ts <= arrived_ns + max_future_ns) & (on_time | (frame.feed == REPAIR_FEED))


def _feed_recounts(
    feed: str, ticks: Ticks, state: PartitionState, *, replay: bool, first_minute: int
) -> Iterator[FeedRecount]:
    whole = ticks.optional.get("whole_minute", np.zeros(len(ticks), "<u1")) != 0
    counted = {feed: recount(ticks.take(~whole)), minute_feed(feed): recount_whole_minutes(ticks.take(whole))}
    for name, found in counted.items():
        if name == feed or whole.any():
            still_open = _open_keys(state, name)
            kept = found.without(still_open, before=first_minute)
            yield FeedRecount(name, replay, first_minute, still_open, kept)


def _open_keys(state: PartitionState, feed: str) -> frozenset[Key]:
    if feed not in state.feeds:
        return frozenset()
    bars = state.feeds[feed].bars
    return frozenset(
        (state.symbols[code], minute)
        for code, minute in zip(bars["symbol"].tolist(), bars["minute"].tolist(), strict=True)
    )
