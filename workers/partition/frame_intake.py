"""The frames of one partition as they are read: decoded, refused, or handed on in the order of their numbers. Pure."""

from collections.abc import Callable, Iterable, Mapping

from ...contracts.bounds import HELD_FRAMES, MAX_BODY_BYTES, MAX_PRODUCERS
from ...contracts.errors import BadFrame
from ...contracts.frames import frame as frames
from ...contracts.frames.frame import Frame
from ...contracts.partition import Position
from ...contracts.ticks import Refused
from ..steady_clock import Reading
from .feed_bars import FeedBars
from .frame_order import Arrival, FrameOrder
from .uncommitted import DeadLetter, Uncommitted


class FrameIntake:
    """The flow of each producer. held_bytes: at most, of all frames that wait behind missing ones."""

    def __init__(self, *, held_bytes: int) -> None:
        self.flows: dict[str, FrameOrder] = {}
        self.overflow: Position | None = None  # the first frame that was dropped for lack of room
        self._held_bytes = held_bytes

    def take(
        self,
        arrived: tuple[Position, bytes, Reading],
        uncommitted: Uncommitted,
        *,
        feeds: Mapping[str, FeedBars],
        finished: Callable[[str], int | None],
    ) -> list[Arrival]:
        """Take one entry (id, frame bytes, when it was read); return the frames that can be applied now, in order.

        feeds: those with open bars. finished: returns the last number of a replay that ended here before, or None.
        """
        position, body, read = arrived
        try:
            frame = frames.decode(body)
            flow = self._flow(frame, feeds, finished)
            uncommitted.heard.add(frame.producer)
            if frame.kind == "abandon":
                is_new = not flow.ended  # else it came before, or the replay ended after all
                flow.ended = True
                return [Arrival(frame, position, read=read)] if is_new else []
            before = flow.number
            if frame.previous > before and not flow.ended and not self._has_room(flow, frame):
                self.overflow = min(self.overflow or position, position)
                return []
            ready = flow.accept(Arrival(frame, position, read=read))
            if not ready and frame.last <= before:
                uncommitted.repeats += frame.rows
            refuse_overlapping(flow, uncommitted)
        except BadFrame as e:
            refused = Refused("bad_frame", str(e), body[:MAX_BODY_BYTES])
            uncommitted.dead_letters.append(DeadLetter("", refused, str(position)))
            return []
        return ready

    def _has_room(self, flow: FrameOrder, frame: Frame) -> bool:
        """Tell whether a frame may wait behind missing ones: what waits in a partition has a limit in bytes."""
        if len(flow.held) >= HELD_FRAMES:
            return False
        held_bytes = sum(flow.held_bytes for flow in self.flows.values())
        return held_bytes + frame.held_bytes <= self._held_bytes

    def _flow(self, frame: Frame, feeds: Mapping[str, FeedBars], finished: Callable[[str], int | None]) -> FrameOrder:
        """Return the flow of a frame's producer. Raises BadFrame if the feed is another producer's."""
        flow = self.flows.get(frame.producer)
        if flow is None:
            self._expect_own_feed(frame, feeds)
            flow = self.flows[frame.producer] = FrameOrder(frame.feed)
            if frame.is_replay and (number := finished(frame.producer)) is not None:
                flow.number, flow.ended = number, True
        elif flow.feed != frame.feed:
            raise BadFrame(f"{frame.producer} sends to the feed {flow.feed}, not to {frame.feed}")
        return flow

    def _expect_own_feed(self, frame: Frame, feeds: Mapping[str, FeedBars]) -> None:
        """Raise BadFrame for a live frame to a replay's feed, or a replay named like one: its end closes bars."""
        if len(self.flows) >= MAX_PRODUCERS:
            raise BadFrame(f"more than {MAX_PRODUCERS} producers in one partition")
        replays = {flow.feed for producer, flow in self.flows.items() if flow.feed == producer}
        others = {flow.feed for flow in self.flows.values()} - replays
        books = {feed for feed, book in feeds.items() if book.replay != frame.is_replay}
        if frame.feed in (others if frame.is_replay else replays) | books:
            raise BadFrame(f"the feed {frame.feed} is not a feed of {frame.producer}")

    def safe_position(self, read_to: Position) -> Position:
        """Return the position that a commit may save: just below the first frame that waits, else the last entry."""
        waiting = [self.overflow, *(flow.first_held for flow in self.flows.values())]
        return min([read_to, *(position.before() for position in waiting if position)])

    def forget(self, producers: Iterable[str]) -> None:
        """Forget the numbers of producers."""
        for producer in producers:
            del self.flows[producer]


def refuse_overlapping(flow: FrameOrder, uncommitted: Uncommitted) -> None:
    """Send frames to the dead letters whose numbers overlap what their producer sent before."""
    for frame, position, *_ in flow.overlapping:
        why = f"numbers {frame.previous}-{frame.last} overlap {flow.number}"
        refused = Refused("bad_frame", why, frames.encode(frame)[:MAX_BODY_BYTES])
        uncommitted.dead_letters.append(DeadLetter("", refused, str(position)))
    flow.overlapping.clear()
