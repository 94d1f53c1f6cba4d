"""③ Send one producer's frames to tickstock-stream:{pN} in the order of their numbers, and read which are committed.

Both writers use it. The sender knows which frames wait, which were sent, and which are committed. It never waits:
errors of Redis go to the writer. The writer also decides whether frames are sent again from memory or from disk.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import structlog
from redis.exceptions import ResponseError

from ...contracts.bounds import FULL_SHARE
from ...contracts.names import frame_keys
from ...db import redis
from ...db.look.foreign_keys import ForeignKeyWatch
from ...db.redis import Client
from ...db.streams.flow import FlowNumbers, SentField, forget_flow, read_flows
from ...db.streams.frame_stream import FrameOutcome, Send, send
from ...db.world import World
from ..framer import Numbered

log = structlog.get_logger()

_FRAMES_A_PIPELINE = 128
_RESEND_EVERY_S = 10.0  # the shortest time between two answers to the same `want` of a worker
_MEMORY_EVERY_S = 0.1  # between two questions to Redis for its used memory

TOO_FAR_AHEAD = "as many ticks are uncommitted as --max-lag-ticks allows"
NEARLY_FULL = "the memory of Redis is nearly full"
RIGHT_AGAIN = "the partition's keys are correct again"
_FORGOTTEN = "Redis lost frames that were sent"

SendAgain = Callable[[int, int, str], None]  # partition, the number above which, why


@dataclass(slots=True)
class Flow:
    """One partition. to_send: frames that wait to be sent; kept: frames that were sent and may not be committed yet.

    done: all numbers up to this one are committed or counted as lost. sent_to: Redis has accepted every frame up to
    this number, and has lost none of them, as far as we know. highest: the highest number ever sent; counted: the
    highest that Redis accepted. handed: the last number that was handed over.
    """

    done: int
    handed: int
    sent_to: int
    highest: int = 0
    counted: int = 0
    in_redis: SentField = field(default_factory=SentField)
    to_send: deque[Numbered] = field(default_factory=deque)
    kept: deque[Numbered] = field(default_factory=deque)
    wanted: int = -1
    wanted_at_s: float = 0.0


class Sender:
    """The unsent and uncommitted frames of one producer. One thread uses it; any thread may read `sent_numbers`."""

    def __init__(
        self, client: Client, producer: str, *, done: Mapping[int, int], is_inherited: bool = False, world: World
    ) -> None:
        """done: the committed number of each partition. is_inherited: another process has sent as this producer."""
        self._client = client
        self._producer = producer
        self._is_inherited = is_inherited
        self._world = world
        self._foreign = ForeignKeyWatch(client, frame_keys, world=world)
        self._redis_ms = 0  # TIME at the last poll, and this host's monotonic clock at that moment
        self._redis_ms_at_s = 0.0
        self._memory_at_s = 0.0
        self._memory_share = 0.0
        self.flows = {p: Flow(number, handed=number, sent_to=number) for p, number in done.items()}
        self.resent = 0
        self.sent_ticks = self.sent_frames = 0  # accepted by Redis, each counted once; an end frame counts as one tick

    # -- the clock of births -------------------------------------------------------------------------------------------

    @property
    def has_clock(self) -> bool:
        """Redis TIME was read."""
        return self._redis_ms > 0

    def read_clock(self) -> None:
        """Ask Redis for TIME."""
        self._redis_ms, self._redis_ms_at_s = redis.redis_ms(self._client), self._world.monotonic_s()

    def now_ms(self) -> int:
        """Return Redis TIME in Unix ms, carried on by the monotonic clock since `read_clock`; never the host's time."""
        return self._redis_ms + int((self._world.monotonic_s() - self._redis_ms_at_s) * 1000)

    # -- progress ------------------------------------------------------------------------------------------------------

    @property
    def lag(self) -> int:
        """Ticks that were handed over and are not known to be committed."""
        return sum(max(0, flow.handed - flow.done) for flow in self.flows.values())

    @property
    def left_out(self) -> set[int]:
        """Partitions that accept no frame, because one of their keys holds another type."""
        return self._foreign.left_out

    @property
    def has_unsent(self) -> bool:
        """Frames wait in memory to be sent."""
        return any(flow.to_send for flow in self.flows.values())

    @property
    def is_drained(self) -> bool:
        """Every frame in memory is sent and committed."""
        return not any(flow.kept or flow.to_send for flow in self.flows.values())

    def sent_numbers(self) -> list[int]:
        """Return the highest number that Redis accepted, by partition."""
        return [self.flows[partition].counted for partition in range(len(self.flows))]

    def is_memory_full(self) -> bool:
        """Tell whether the memory of Redis is nearly full. Asks Redis at most every 0.1 s."""
        now_s = self._world.monotonic_s()
        if now_s >= self._memory_at_s:
            self._memory_share = redis.memory_share(self._client)
            self._memory_at_s = now_s + _MEMORY_EVERY_S
        return self._memory_share >= FULL_SHARE

    # -- sending -------------------------------------------------------------------------------------------------------

    def hand_over(self, frame: Numbered) -> None:
        """Record that the producer has handed over a frame, which is in memory or on disk."""
        flow = self.flows[frame.partition]
        flow.handed = max(flow.handed, frame.last)

    def add(self, frame: Numbered) -> None:
        """Queue a frame to be sent, after those of its partition."""
        self.hand_over(frame)
        self.flows[frame.partition].to_send.append(frame)

    def send_waiting(self, send_again: SendAgain) -> bool:
        """Send the queued frames, batch by batch; return whether Redis refused some, which then stay queued.

        Frames of a partition that is left out stay queued too, which does not count as refused. send_again: called for
        each partition of which Redis has lost frames. Raises the errors of a lost connection.
        """
        while batch := list(islice(self._waiting(), _FRAMES_A_PIPELINE)):
            sends = [self._stamp(frame) for frame in batch]
            outcomes = send(self._client, self._producer, sends)
            if foreign := {sent.partition for sent, outcome in zip(sends, outcomes, strict=True) if outcome.is_foreign}:
                self._foreign.check(foreign)
            forgotten, refused = self._note(batch, sends, outcomes)
            for partition in forgotten:
                send_again(partition, 0, _FORGOTTEN)
            if refused:
                return True
        return False

    def _waiting(self) -> Iterator[Numbered]:
        left_out = self.left_out
        return (frame for p, flow in self.flows.items() if p not in left_out for frame in flow.to_send)

    def _stamp(self, frame: Numbered) -> Send:
        flow = self.flows[frame.partition]
        flow.highest = max(flow.highest, frame.last)
        return Send(frame.partition, frame.body, flow.in_redis.next(flow.highest))

    def _note(
        self, batch: list[Numbered], sends: list[Send], outcomes: list[FrameOutcome]
    ) -> tuple[set[int], set[int]]:
        """Record the accepted frames; return the partitions of which Redis lost frames, and those that it refused."""
        forgotten, refused = set[int](), set[int]()
        left_out = self.left_out
        for frame, sent, outcome in zip(batch, sends, outcomes, strict=True):
            flow = self.flows[frame.partition]
            if outcome.is_noted and flow.in_redis.differs(outcome.before):
                forgotten.add(frame.partition)
            if outcome.is_noted:
                flow.in_redis.note(sent.sent)
            if outcome.refused or frame.partition in left_out:
                refused.add(frame.partition)
                continue
            flow.to_send.remove(frame)
            flow.kept.append(frame)
            if frame.partition not in refused:
                flow.sent_to = frame.last
            self._count(flow, frame)
        return forgotten, refused - left_out

    def _count(self, flow: Flow, frame: Numbered) -> None:
        if frame.last > flow.counted:
            flow.counted = frame.last
            self.sent_ticks += frame.last - frame.previous
            self.sent_frames += 1

    # -- sending again -------------------------------------------------------------------------------------------------

    def send_kept_again(self, partition: int, above: int, why: str) -> None:
        """Queue the kept frames above a number (and above `done`) again, in the order of their numbers."""
        flow = self.flows[partition]
        first = flow.sent_to = max(above, flow.done)
        again = [frame for frame in flow.kept if frame.last > first]
        if not again:
            return
        log.warning("sending again", partition=partition, frames=len(again), why=why)
        self.resent += len(again)
        flow.kept = deque(frame for frame in flow.kept if frame.last <= first)
        flow.to_send = deque(sorted([*again, *flow.to_send], key=lambda frame: frame.last))

    def expect_nothing(self) -> None:
        """Forget which frames Redis has: the connection was lost, and it is unknown which frames arrived."""
        for flow in self.flows.values():
            flow.in_redis.forget()

    def drop(self, partition: int, *, sent_to: int) -> None:
        """Drop a partition's frames from memory; those above sent_to are read again from disk."""
        flow = self.flows[partition]
        flow.sent_to = sent_to
        flow.kept.clear()
        flow.to_send.clear()

    def drop_kept(self) -> None:
        """Drop the sent frames from memory: they are on disk."""
        for flow in self.flows.values():
            flow.kept.clear()

    def take_all(self) -> list[Numbered]:
        """Remove and return every frame in memory, each partition's in the order of its numbers."""
        frames: list[Numbered] = []
        for flow in self.flows.values():
            frames += sorted([*flow.kept, *flow.to_send], key=lambda frame: frame.last)
            flow.kept.clear()
            flow.to_send.clear()
        return frames

    # -- progress of the workers ---------------------------------------------------------------------------------------

    def put_right(self) -> set[int]:
        """Return the partitions whose keys are correct again; the frames that were sent to them are lost."""
        right = self._foreign.put_right()
        for partition in right:
            self.flows[partition].in_redis.forget()
        return right

    def read_numbers(self, send_again: SendAgain) -> None:
        """Read the workers' progress, and call send_again for frames that Redis has lost or a worker misses."""
        asked = [p for p in self.flows if p not in self.left_out]
        found = read_flows(self._client, self._producer, asked)
        self._foreign.check([p for p, numbers in found.items() if isinstance(numbers, ResponseError)])
        for partition, numbers in found.items():
            if not isinstance(numbers, ResponseError):
                self._compare(partition, numbers, send_again)

    def _compare(self, partition: int, numbers: FlowNumbers, send_again: SendAgain) -> None:
        flow = self.flows[partition]
        if (
            self._is_inherited or numbers.done <= flow.handed
        ):  # another process wrote a `done` above the last number of this producer
            self._move_done(flow, numbers.done)
        if flow.in_redis.differs(numbers.sent):
            flow.in_redis.forget()
            send_again(partition, 0, _FORGOTTEN)
        if numbers.want is not None and self._is_answer_due(flow, numbers.want):
            send_again(partition, numbers.want, "a worker misses frames")

    def _move_done(self, flow: Flow, done: int) -> None:
        flow.done = max(flow.done, done)
        while flow.kept and flow.kept[0].last <= flow.done:
            flow.kept.popleft()

    def _is_answer_due(self, flow: Flow, want: int) -> bool:
        """Tell whether to answer a worker's `want`: the same one only every 10 s."""
        now_s = self._world.monotonic_s()
        if want < flow.done or (want == flow.wanted and now_s < flow.wanted_at_s + _RESEND_EVERY_S):
            return False
        flow.wanted, flow.wanted_at_s = want, now_s
        return True

    def forget_numbers(self) -> None:
        """Delete this producer's numbers in Redis."""
        forget_flow(self._client, self._producer, self.flows)
