"""③ Frames -> tickstock-stream:{pN}: kept until they are committed, sent again whenever a number does not fit."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

import structlog
from redis.exceptions import RedisError

from ..contracts.bounds import FULL_SHARE
from ..contracts.names import flow_key, frame_keys
from ..db import redis
from ..db.backoff import Backoff
from ..db.frame_stream import FrameOutcome, Send, send
from ..db.look.foreign_keys import ForeignKeyWatch
from ..db.look.lag import number_in
from ..db.outage import Outage
from ..db.redis import Client, can_pass, is_foreign
from ..db.vitals import VITALS
from ..db.world import REAL, World
from .framer import Numbered

log = structlog.get_logger()

_FRAMES_A_PIPELINE = 128
_POLL_EVERY_S = 1.0
_RESEND_EVERY_S = 10.0  # a worker's `want` is answered at most so often
MEMORY_EVERY_S = 0.1  # so often Redis is asked how full it is
_SAY_AFTER_S = 10.0  # of waiting for room: a replay at full speed waits all the time, for a moment

TOO_FAR_AHEAD = "so many ticks are not committed yet as --max-lag allows"
NEARLY_FULL = "the memory of Redis is nearly full"


@dataclass(slots=True)
class _Flow:
    """One partition. to_send: frames not sent yet, or again; kept: sent, not known to be committed.

    sent_to: Redis has taken every frame up to this number, and has not forgotten it since, as far as we know.
    """

    done: int
    sent_to: int = 0
    highest: int = 0
    counted: int = 0
    sends: int = 0
    last_sent: str | None = None
    to_send: deque[Numbered] = field(default_factory=deque)
    kept: deque[Numbered] = field(default_factory=deque)
    wanted: int = -1
    wanted_at: float = 0.0


class StreamWriter:
    """Sends a producer's frames in the order of their numbers, and keeps each until `done` covers it."""

    def __init__(
        self,
        client: Client,
        redis_url: str,
        producer: str,
        *,
        done: Mapping[int, int],
        wait: Callable[[float], bool],
        max_lag: int,
        world: World = REAL,
    ) -> None:
        """done: the committed number of every partition. wait: sleep so many seconds, True to stop."""
        self._world = world
        self._client = client
        self._redis_url = redis_url
        self._producer = producer
        self._flows = {p: _Flow(number) for p, number in done.items()}
        self._foreign = ForeignKeyWatch(
            client, frame_keys, world=world
        )  # partitions that take no frame: theirs are kept
        self._wait = wait
        self._max_lag = max_lag
        self._polled_at = 0.0
        self._backoff = Backoff(world, first_s=0.02, longest_s=1.0)
        self._outage = Outage("redis", self._backoff)
        self._clock_base_ms = 0
        self._monotonic_base = 0.0
        self._memory_at = 0.0
        self._memory_share = 0.0
        self.resent = 0
        self.sent_ticks = self.sent_frames = 0  # that Redis took, each once; an end takes a tick's number

    # -- the clock of births ---------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Return Redis TIME in ms, carried on between two polls by the monotonic clock; never this host's own time."""
        if not self._clock_base_ms:
            self._again_until_done(self._read_clock)
        return self._clock_base_ms + int((self._world.monotonic_s() - self._monotonic_base) * 1000)

    def _read_clock(self) -> None:
        self._clock_base_ms, self._monotonic_base = redis.redis_ms(self._client), self._world.monotonic_s()

    # -- sending ---------------------------------------------------------------------------------------------------

    def sent_numbers(self) -> list[int]:
        """Return the highest number that Redis took, by partition. Any thread may ask."""
        return [self._flows[partition].counted for partition in range(len(self._flows))]

    @property
    def lag(self) -> int:
        """Ticks sent, or about to be, and not known to be committed."""
        return sum(max(0, self._top(flow) - flow.done) for flow in self._flows.values())

    @property
    def spool_bytes(self) -> int:
        """What waits on disk: nothing, where the source can wait."""
        return 0

    @property
    def is_drained(self) -> bool:
        """Everything that was handed over is committed."""
        return not any(flow.kept or flow.to_send for flow in self._flows.values())

    def write(self, frames: Iterable[Numbered]) -> None:
        """Send frames; return when Redis has them all and there is room for more."""
        for frame in frames:
            self._flows[frame.partition].to_send.append(frame)
        self._send_all()
        self.poll_if_due()
        self._await_room()

    def _await_room(self) -> None:
        """Wait for the workers, who make room; say so once where that takes long."""
        say_at, said = self._world.monotonic_s() + _SAY_AFTER_S, False
        while full := self._what_is_full():
            if not said and self._world.monotonic_s() >= say_at:
                log.warning("waiting for the workers", why=full, uncommitted=self.lag)
                said = True
            if self._wait(0.02):
                return
            self.poll_if_due(every_s=0.1)
        if said:
            log.info("the workers go on")

    def poll_if_due(self, every_s: float = _POLL_EVERY_S) -> None:
        """Look each second at how far the workers are, and whether Redis still knows what we sent last."""
        if self._world.monotonic_s() < self._polled_at + every_s:
            return
        self._polled_at = self._world.monotonic_s()
        self._again_until_done(self._poll)
        self._send_all()

    def _send_all(self) -> None:
        self._again_until_done(self._send_waiting)

    def _again_until_done(self, step: Callable[[], bool | None]) -> None:
        """Run a step until it succeeds; while Redis is away or full, wait, with one line a change of state."""
        while True:
            try:
                refused = step()
                if not refused:
                    break
                self._outage.say("Redis refuses to write")
            except (RedisError, OSError) as e:
                if not can_pass(e):
                    raise
                self._outage.say(e, do=redis.advice(e))
                self._send_again_all()
            VITALS.lost("redis")
            if self._wait(self._backoff.pause_s()):
                return
        if self._outage.is_on:
            VITALS.serves("redis")
            self._outage.end()

    def _send_waiting(self) -> bool:
        """Send what waits, batch by batch; return whether Redis refused something, which is then still waiting.

        What is for a partition that takes no frame waits too, and is no refusal.
        """
        while batch := list(islice(self._waiting(), _FRAMES_A_PIPELINE)):
            sends = [self._stamp(frame) for frame in batch]
            refused = self._note(batch, sends, send(self._client, self._producer, sends))
            if refused:
                return True
        return False

    def _waiting(self) -> Iterable[Numbered]:
        left_out = self._foreign.left_out
        return (frame for p, flow in self._flows.items() if p not in left_out for frame in flow.to_send)

    def _stamp(self, frame: Numbered) -> Send:
        flow = self._flows[frame.partition]
        flow.sends += 1
        flow.highest = max(flow.highest, frame.last)
        return Send(frame.partition, frame.body, f"{flow.highest},{flow.sends}")

    def _note(self, batch: list[Numbered], sends: list[Send], outcomes: list[FrameOutcome]) -> bool:
        rolled_back, refused = set(), set()
        if foreign := {sent.partition for sent, outcome in zip(sends, outcomes, strict=True) if outcome.is_foreign}:
            self._foreign.check(foreign)
        for frame, sent, outcome in zip(batch, sends, outcomes, strict=True):
            flow = self._flows[frame.partition]
            if outcome.refused or frame.partition in self._foreign.left_out:
                refused.add(frame.partition)
                continue
            if flow.last_sent is not None and outcome.before != flow.last_sent:
                rolled_back.add(frame.partition)
            flow.last_sent = sent.sent
            flow.to_send.remove(frame)
            flow.kept.append(frame)
            if frame.partition not in refused:
                flow.sent_to = frame.last
            if frame.last > flow.counted:
                flow.counted = frame.last
                self.sent_ticks += frame.last - frame.previous
                self.sent_frames += 1
        for partition in rolled_back:
            self._send_again(partition, "Redis forgot what was sent")
        return bool(refused - self._foreign.left_out)

    def _take_back(self) -> None:
        """Send again to partitions whose keys are right again: what stood there is gone."""
        for partition in self._foreign.put_right():
            self._flows[partition].last_sent = None
            self._send_again(partition, "the partition's keys are right again")

    def _send_again(self, partition: int, why: str, above: int = 0) -> None:
        """Put every frame above `done` back to be sent, in the order of their numbers."""
        flow = self._flows[partition]
        flow.sent_to = max(above, flow.done)
        again = [frame for frame in flow.kept if frame.last > max(above, flow.done)]
        if not again:
            return
        log.warning("sending again", partition=partition, frames=len(again), why=why)
        self.resent += len(again)
        flow.kept = deque(frame for frame in flow.kept if frame.last <= max(above, flow.done))
        flow.to_send = deque(sorted([*again, *flow.to_send], key=lambda frame: frame.last))

    def _send_again_all(self) -> None:
        """Nobody knows which frames of a lost connection arrived: send all again, the numbers drop the repeats."""
        for partition, flow in self._flows.items():
            flow.last_sent = None
            self._send_again(partition, "connection lost")

    # -- how far the workers are -----------------------------------------------------------------------------------

    def _poll(self) -> None:
        self._read_clock()
        self._take_back()
        pipeline = self._client.pipeline(transaction=False)
        names = [f"{name}:{self._producer}" for name in ("sent", "done", "want")]
        asked = [p for p in self._flows if p not in self._foreign.left_out]
        for p in asked:
            pipeline.hmget(flow_key(p), names)
        replies = dict(zip(asked, pipeline.execute(raise_on_error=False), strict=True))
        self._foreign.check([p for p, reply in replies.items() if is_foreign(reply)])
        for p, reply in replies.items():
            if isinstance(reply, Exception):
                if is_foreign(reply):
                    continue
                raise reply
            flow, (sent, done, want) = self._flows[p], reply
            if number_in(done) <= self._last_known(p, flow):
                self._forget_done(flow, number_in(done))
            if flow.last_sent is not None and (sent or b"").decode(errors="replace") != flow.last_sent:
                flow.last_sent = None
                self._send_again(p, "Redis forgot what was sent")
            if want is not None:
                self._answer(p, flow, number_in(want))

    def _forget_done(self, flow: _Flow, done: int) -> None:
        flow.done = max(flow.done, done)
        while flow.kept and flow.kept[0].last <= flow.done:
            flow.kept.popleft()

    def _answer(self, partition: int, flow: _Flow, want: int) -> None:
        """Send again from the hole that a worker met, but not in one go with the last time it asked."""
        if want < flow.done or (want == flow.wanted and self._world.monotonic_s() < flow.wanted_at + _RESEND_EVERY_S):
            return
        flow.wanted, flow.wanted_at = want, self._world.monotonic_s()
        self._send_again(partition, "a worker met a hole", above=want)

    def _last_known(self, partition: int, flow: _Flow) -> int:  # noqa: ARG002  # a spooled writer's is by partition
        """Return the last number that can be done: a `done` above it, somebody else wrote."""
        return self._top(flow)

    def _top(self, flow: _Flow) -> int:
        return max(flow.highest, flow.to_send[-1].last if flow.to_send else 0)

    def _what_is_full(self) -> str:
        """Say what has no room for more: Redis's memory, or the ticks that may wait to be committed."""
        if self.lag > self._max_lag:
            return TOO_FAR_AHEAD
        if self._world.monotonic_s() >= self._memory_at:
            self._memory_at = self._world.monotonic_s() + MEMORY_EVERY_S
            self._again_until_done(self._look_at_memory)
        return NEARLY_FULL if self._memory_share >= FULL_SHARE else ""

    def _look_at_memory(self) -> None:
        self._memory_share = redis.memory_share(self._client)

    def forget(self) -> None:
        """Take this producer's numbers out of Redis, when all is committed and it will not come back."""
        self._again_until_done(self._forget)

    def _forget(self) -> None:
        names = [f"{name}:{self._producer}" for name in ("sent", "done", "want")]
        pipeline = self._client.pipeline(transaction=False)
        for p in self._flows:
            pipeline.hdel(flow_key(p), *names)
        for reply in pipeline.execute(raise_on_error=False):
            if isinstance(reply, Exception) and not is_foreign(reply):  # a foreign key holds no numbers of ours
                raise reply
