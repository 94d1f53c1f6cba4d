"""Find partitions with frames that were not read: another client read them, or Redis lost them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..db.world import World
from .partition.partition_state import PartitionState
from .partition_reader import Look, PartitionReader

IDS_AHEAD = "its ids are ahead of time"
_LOOK_EVERY_S = 1.0
_RESTS_FOR = 10  # times the duration of a restore without a result: at most a tenth of a worker's time
# Frames that a restore did not find are searched again after this time, then after twice as long, and so on.
_VAIN_RESTORE_WAIT_S, _MAX_VAIN_RESTORE_WAIT_S = 10.0, 600.0


class _Vain(NamedTuple):
    """A producer's number that no restore found. until: time of the monotonic clock for the next search."""

    number: int
    wait_s: float
    until: float


_NEVER = _Vain(-1, _VAIN_RESTORE_WAIT_S, 0.0)


class Lookout:
    """Compares Redis's numbers of a partition with those that were read."""

    def __init__(self, reader: PartitionReader, finished: Callable[[int, str], int | None], *, world: World) -> None:
        """finished: returns the last number of a replay that ended in a partition before, or None."""
        self._world = world
        self._reader = reader
        self._finished = finished
        self._looks: dict[int, Look] = {}
        self._look_at = 0.0
        self._read_again: dict[tuple[int, str], set[int]] = {}  # the numbers below missing frames that were read twice
        self._vain: dict[tuple[int, str], _Vain] = {}
        self._rests_until: dict[int, float] = {}

    def new_holes(self, state: PartitionState) -> list[str]:
        """Return the producers with missing frames whose stream was read only once."""
        return [
            producer
            for producer, flow in state.holes
            if flow.number not in self._read_again.get((state.partition, producer), ())
        ]

    def read_again(self, state: PartitionState) -> None:
        """Record that a restore reads a partition a second time: frames missing then are missing in the stream.

        Includes frames missing after other waiting frames; otherwise each would count as new once the one before is
        lost.
        """
        for producer, flow in state.holes:
            key, done = (state.partition, producer), state.done.get(producer, 0)
            known = {number for number in self._read_again.get(key, ()) if number >= done}
            self._read_again[key] = known | {flow.number, *(arrival.frame.last for arrival in flow.held.values())}

    def check(self, states: Mapping[int, PartitionState], latest_ms: int) -> dict[int, str] | None:
        """Check once a second, after a read to the streams' ends; return the partitions to restore, with the reason.

        latest_ms: the largest id that Redis's own clock can give. `sent` numbers are compared with reads since the last
        check, because a frame may arrive just after a read. None: not due.
        """
        now_s = self._world.monotonic_s()
        if now_s < self._look_at:
            return None
        self._look_at = now_s + _LOOK_EVERY_S
        odd = {
            p: "unread frames"
            for p, look in self._looks.items()
            if p in states
            and self._world.monotonic_s() >= self._rests_until.get(p, 0.0)
            and self.unread(states[p], look.sent)
        }
        self._looks = {}
        # A partition to restore now is checked only afterwards; otherwise it would be restored twice.
        others = [p for p in states if p not in self._reader.restoring and p not in odd]
        for p, look in self._reader.look(others).items():
            if look is None:
                odd[p] = "stream gone"
            elif look.aside or look.last_id.ms > latest_ms:
                odd[p] = IDS_AHEAD
            elif look.pending > len(set(states[p].uncommitted.unacked)):
                odd[p] = "entries pending that are not held"
            elif look.last_id < states[p].read_to:
                odd[p] = "stream ends below what was read"
            else:
                self._looks[p] = look
        return odd

    def rest(self, partition: int, took_s: float) -> None:
        """Pause the checks of a partition after a full read that found nothing. took_s: duration of the read.

        Otherwise many producers that die one after the other would cause it to be read all the time.
        """
        self._rests_until[partition] = self._world.monotonic_s() + _RESTS_FOR * took_s

    def unread(self, state: PartitionState, sent: Mapping[str, int], *, in_vain: bool = False) -> list[str]:
        """Return the producers with unread frames, except those that a full read just did not find.

        in_vain: the stream was just read from its start, and the frames were not found. Then all these producers are
        returned, and none of them causes another read for some time: so one read serves many dead producers.
        """
        unread = []
        for producer, number in sent.items():
            flow = state.flows.get(producer)
            if flow is None and self._finished(state.partition, producer) is not None:
                continue
            key = (state.partition, producer)
            vain = self._vain.get(key, _NEVER)
            waits = vain.number == number and self._world.monotonic_s() < vain.until
            if number <= (flow.seen if flow else 0) or (flow and flow.ended) or (waits and not in_vain):
                continue
            if in_vain:
                wait_s = min(2 * vain.wait_s, _MAX_VAIN_RESTORE_WAIT_S) if vain.number == number else _NEVER.wait_s
                self._vain[key] = _Vain(number, wait_s, self._world.monotonic_s() + wait_s)
            unread.append(producer)
        return unread
