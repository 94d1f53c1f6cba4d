"""The front door's frames on their way to one partition: those that wait to be sent, and those not committed yet.

Both stay in memory, so that a partition that refuses frames, or misses some, costs neither the other partitions nor a
new beginning of the door. How many there are is bounded by how far the door reads ahead of the slowest partition.
"""

from collections import deque
from typing import NamedTuple

from ...db.streams.flow import SentField
from ...db.streams.frame_stream import Send


class Made(NamedTuple):
    """A frame. last: its last number."""

    partition: int
    last: int
    body: bytes


class DoorWay:
    """The way to one partition.

    previous: the number up to which frames are made. unsent: frames that Redis has not taken yet. in_redis: what stands
    beside the frames that it took. send_at_s: after Redis refused a frame, all wait until this time of the monotonic
    clock.
    """

    def __init__(self) -> None:
        self.previous = 0
        self.unsent: deque[Made] = deque()
        self.in_redis = SentField()
        self.send_at_s = 0.0
        self._kept: deque[Made] = deque()  # frames that Redis took, and that are not committed yet
        self._kept_above = 0  # every frame above this number is in memory
        self._highest = 0  # the highest number that was ever sent

    def restart(self, number: int) -> None:
        """Make frames from a number on. Nobody knows which frames of before arrived."""
        self.previous = self._kept_above = number
        self.unsent.clear()
        self._kept.clear()
        self.in_redis.forget()

    def stamp(self, frame: Made) -> Send:
        """Return the frame with the value that is written beside it."""
        self._highest = max(self._highest, frame.last)
        return Send(frame.partition, frame.body, self.in_redis.next(self._highest))

    def note_taken(self, frame: Made) -> None:
        """Keep a frame that Redis took until it is committed."""
        self.unsent.remove(frame)
        self._kept.append(frame)

    def note_done(self, done: int) -> None:
        """Drop what is committed. A number above all frames was written by somebody else."""
        if self._kept_above < done <= self.previous:
            self._kept_above = done
            self._kept = deque(frame for frame in self._kept if frame.last > done)

    def has_all_above(self, number: int) -> bool:
        """Tell whether every frame above a number is in memory."""
        return number >= self._kept_above

    def send_again(self, above: int) -> None:
        """Let the kept frames above a number wait to be sent again, in the order of their numbers."""
        again = [frame for frame in self._kept if frame.last > above]
        self._kept = deque(frame for frame in self._kept if frame.last <= above)
        self.unsent = deque(sorted([*again, *self.unsent], key=lambda frame: frame.last))
