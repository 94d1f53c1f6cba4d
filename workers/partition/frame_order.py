"""A producer's frames in the order of their numbers; repeats are dropped, a frame after missing ones waits.

Pure.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from ...contracts.bounds import LOST_RANGES
from ...contracts.errors import BadFrame
from ...contracts.frames.frame import Frame
from ...contracts.names import is_front_door
from ...contracts.partition import Position
from ...contracts.ticks import MAX_TS_NS
from ..steady_clock import Reading

ANY_TIME = Reading(MAX_TS_NS // 1_000_000)


class Arrival(NamedTuple):
    """A frame and its position in the stream.

    above: rows with a row_id at or below this number were applied before (a front-door frame that overlaps; else 0).
    was_lost: its numbers were counted as lost before it came.
    read: when it was read, by Redis's clock. Senders choose ids and birth times, so times later than this do not count.
    """

    frame: Frame
    position: Position
    above: int = 0
    was_lost: bool = False
    read: Reading = ANY_TIME

    @property
    def born_ms(self) -> int:
        """When it was made, Unix ms."""
        return min(self.frame.born_ms, self.read.ms)

    @property
    def arrived_ms(self) -> int:
        """The latest time at which it may have come, Unix ms."""
        return self.read.ms if self.read.behind else min(max(self.frame.born_ms, self.position.ms), self.read.ms)

    @property
    def stamp_ms(self) -> int:
        """The earliest time at which it may have come, Unix ms: it moves a feed's clock."""
        return min(self.position.ms, self.frame.born_ms, self.read.ms)


@dataclass(slots=True)
class FrameOrder:
    """One producer in one partition.

    number: everything up to here is applied, except `lost`: ranges (from, to] that were counted as lost; each is
    applied once if it comes after all. held: frames after missing ones, by their previous number. ended: no more frames
    are applied; end_applied: because its end frame was applied, which took one number. overlapping: frames that waited
    and whose numbers are partly applied by now, so that their new rows are unknown: the caller refuses them.
    """

    feed: str
    number: int = 0
    ended: bool = False
    end_applied: bool = False
    lost: list[tuple[int, int]] = field(default_factory=list)
    held: dict[int, Arrival] = field(default_factory=dict)
    held_bytes: int = 0
    # Heaps: previous numbers of the held frames; (arrival, previous number), which may name frames that are gone.
    _order: list[int] = field(default_factory=list)
    _since: list[tuple[int, int]] = field(default_factory=list)
    overlapping: list[Arrival] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """The highest number that was read, applied or held."""
        return max((a.frame.last for a in self.held.values()), default=self.number)

    @property
    def done(self) -> int:
        """The number up to which the producer may forget its frames.

        Not above the last numbers if those were counted as lost: a dead producer may have left them on a disk, and they
        are sent from there later.
        """
        start, end = self.lost[-1] if self.lost else (self.number, 0)
        return start if end == self.number else self.number

    @property
    def first_held(self) -> Position | None:
        """The position of the earliest held frame: the committed position stays below it."""
        return min((a.position for a in self.held.values()), default=None)

    @property
    def held_since_ms(self) -> int:
        """When the earliest held frame came, Unix ms."""
        while (first := self._since[0])[1] not in self.held:
            heappop(self._since)
        return first[0]

    def accept(self, arrival: Arrival) -> list[Arrival]:
        """Take a frame; return the frames to apply now, in order (none for a repeat or after missing frames).

        Raises BadFrame if its numbers overlap the applied ones, and its rows do not show which of them are new.
        """
        frame = arrival.frame
        if frame.last <= self.number:
            return [arrival._replace(was_lost=True)] if self._was_lost(frame) else []
        if self.ended:
            return []  # an abandoned replay whose producer goes on
        if frame.previous > self.number:
            self._hold(arrival)
            return []
        if frame.previous < self.number:
            if not is_front_door(frame.producer):
                raise BadFrame(f"numbers {frame.previous}-{frame.last} overlap {self.number}")
            arrival = arrival._replace(above=self.number)
        self.number = frame.last
        return [arrival, *self._follow()]

    def _hold(self, arrival: Arrival) -> None:
        """Keep a frame until the missing ones come; of two with the same previous number, keep the first."""
        if arrival.frame.previous not in self.held:
            self.held[arrival.frame.previous] = arrival
            self.held_bytes += arrival.frame.held_bytes
            heappush(self._order, arrival.frame.previous)
            heappush(self._since, (min(arrival.position.ms, arrival.read.ms), arrival.frame.previous))

    def drop_held(self) -> None:
        """Drop the waiting frames."""
        self.held.clear()
        self._order.clear()
        self._since.clear()
        self.held_bytes = 0

    def give_up(self) -> tuple[tuple[int, int], list[Arrival]]:
        """Count the first missing numbers as lost; return them (from, to], and the frames to apply now."""
        return self.give_up_to(self._order[0]), self._follow()

    def give_up_to(self, number: int) -> tuple[int, int]:
        """Count all numbers up to the end of a frame as lost; return those that were missing (from, to]."""
        hole = (self.number, number)
        self.lost = [*self.lost[1 - LOST_RANGES :], hole]
        self.number = number
        return hole

    def _follow(self) -> list[Arrival]:
        """Return the held frames that follow the applied number without a gap."""
        ready = []
        while self._order and self._order[0] <= self.number:
            arrival = self.held.pop(heappop(self._order))
            self.held_bytes -= arrival.frame.held_bytes
            frame = arrival.frame
            if frame.last <= self.number:
                continue
            above = self.number if frame.previous < self.number else 0
            if above and not is_front_door(frame.producer):
                self.overlapping.append(arrival)
                continue
            self.number = frame.last
            ready.append(arrival._replace(above=above))
        if not self.held:
            self._since.clear()
        return ready

    def _was_lost(self, frame: Frame) -> bool:
        """Tell whether a frame was counted as lost; take its numbers out of `lost`."""
        for i, (start, end) in enumerate(self.lost):
            if start <= frame.previous and frame.last <= end:
                rest = [(start, frame.previous), (frame.last, end)]
                self.lost[i : i + 1] = [(a, b) for a, b in rest if a < b]
                return True
        return False
