"""The front door's frames on their way to one partition: frames that wait to be sent, and frames not committed yet.

Both kinds stay in memory. So the door need not restart if a partition refuses or misses frames, and the other
partitions continue. The number of frames is limited, because the door reads only so far ahead of the slowest partition.
"""

from collections import deque
from typing import NamedTuple

from ...db.streams.flow import SentField
from ...db.streams.frame_stream import Send


class Made(NamedTuple):
    """A frame. last: the number of its last tick."""

    partition: int
    last: int
    body: bytes


class DoorWay:
    """The way to one partition.

    previous: the number up to which frames are made. unsent: frames that Redis has not accepted yet. in_redis: the
    value `sent` beside the frames in Redis. send_at_s: after Redis refused a frame, no frame is sent before this time
    of the monotonic clock.
    """

    def __init__(self) -> None:
        self.previous = 0
        self.unsent: deque[Made] = deque()
        self.in_redis = SentField()
        self.send_at_s = 0.0
        self._kept: deque[Made] = deque()  # frames that Redis accepted and that are not committed yet
        self._kept_above = 0  # every frame above this number is in memory
        self._highest = 0  # the highest number sent so far

    def restart(self, number: int) -> None:
        """Make frames from this number on, and forget all frames: it is unknown which of them arrived."""
        self.previous = self._kept_above = number
        self.unsent.clear()
        self._kept.clear()
        self.in_redis.forget()

    def stamp(self, frame: Made) -> Send:
        """Return the frame with the value `sent` that is written beside it."""
        self._highest = max(self._highest, frame.last)
        return Send(frame.partition, frame.body, self.in_redis.next(self._highest))

    def note_taken(self, frame: Made) -> None:
        """Keep a frame that Redis accepted until it is committed."""
        self.unsent.remove(frame)
        self._kept.append(frame)

    def note_done(self, done: int) -> None:
        """Drop the committed frames. Ignore a number above all frames: another client wrote it."""
        if self._kept_above < done <= self.previous:
            self._kept_above = done
            self._kept = deque(frame for frame in self._kept if frame.last > done)

    def has_all_above(self, number: int) -> bool:
        """Tell whether every frame above a number is in memory."""
        return number >= self._kept_above

    def send_again(self, above: int) -> None:
        """Move the kept frames above a number back to the unsent ones, in the order of their numbers."""
        again = [frame for frame in self._kept if frame.last > above]
        self._kept = deque(frame for frame in self._kept if frame.last <= above)
        self.unsent = deque(sorted([*again, *self.unsent], key=lambda frame: frame.last))
