"""③ The writer of a live source, which cannot wait: frames that Redis does not accept are written to a spool."""

from collections.abc import Callable, Iterable, Mapping

import structlog
from redis.exceptions import RedisError

from ...db.backoff import Backoff
from ...db.outage import Outage
from ...db.redis import Client, advice, can_pass
from ...db.vitals import VITALS
from ...db.world import REAL, World
from ..framer import Numbered
from ..sending.redis_wait import RedisWait
from ..sending.sender import NEARLY_FULL, TOO_FAR_AHEAD, Sender
from .owed import Owed
from .probe import Probe
from .spool import Spool

log = structlog.get_logger()

_FRAMES_A_STEP = 128
_STEP_S = 0.05  # for the spool in one call; then ticks of the source are read
_LONGEST_PAUSE_S = 1.0
_EASE = 0.8  # sending from the spool continues below this part of --max-lag-ticks, so that the state changes rarely
_SAY_EVERY_S = 5.0  # between two log lines about a full Redis


class SpooledWriter:
    """A writer whose calls return at once, even while Redis is away.

    Only the first call to a Redis that does not answer takes as long as the client's timeout.

    A frame is in memory or on disk; on disk the frames are in order. When Redis goes away, all frames in memory are
    written to disk first, because a Redis that comes back may have lost them. Newer frames follow on disk until all are
    sent; only then new frames are sent directly again. Frames on disk are deleted when they are committed.
    """

    def __init__(
        self,
        client: Client,
        producer: str,
        *,
        done: Mapping[int, int],
        wait: Callable[[float], bool],
        max_lag: int,
        spool: Spool,
        world: World = REAL,
    ) -> None:
        """spool: empty, or with the frames of an earlier process of this producer. Else as for a StreamWriter."""
        self._spool = spool
        self._spooling = not spool.is_empty
        self.sender = Sender(client, producer, done=done, is_inherited=self._spooling, world=world)
        self._owed = Owed()
        for partition in done if self._spooling else ():
            self._owed.add_all(partition)
        self._world = world
        self._max_lag = max_lag
        self._polled_at_s = 0.0
        self._said_at_s = -_SAY_EVERY_S
        self._is_full_said = False
        self._backoff = Backoff(world, longest_s=_LONGEST_PAUSE_S)
        self._outage = Outage("redis", self._backoff)
        self._redis = RedisWait(wait, self._backoff, self._outage)
        self._probe = Probe(client, self._outage, longest_pause_s=_LONGEST_PAUSE_S, world=world)

    # -- for the producer's loop ---------------------------------------------------------------------------------------

    @property
    def lag(self) -> int:
        """Ticks that were handed over and are not known to be committed."""
        return self.sender.lag

    @property
    def is_full(self) -> bool:
        """Neither Redis nor the spool has room: a tick that comes now must not get a number."""
        return self._spooling and self._spool.is_full

    @property
    def spool_bytes(self) -> int:
        """Return the bytes that wait on disk."""
        return self._spool.size

    @property
    def is_sent(self) -> bool:
        """Redis has everything that was handed over."""
        return not self._spooling and not self.sender.has_unsent

    @property
    def is_drained(self) -> bool:
        """Everything that was handed over is committed."""
        return self.sender.is_drained and self._spool.is_empty

    def last_numbers(self) -> dict[int, int]:
        """Return the last number of each partition, as far as this process or Redis knows."""
        return {p: max(flow.handed, flow.done) for p, flow in self.sender.flows.items()}

    def now_ms(self) -> int:
        """Return Redis TIME in Unix ms; the first time, wait until Redis answers."""
        if not self.sender.has_clock:
            self._redis.run(self.sender.read_clock)
        return self.sender.now_ms()

    def write(self, frames: Iterable[Numbered]) -> None:
        """Take frames over: send them, or put them into the spool."""
        if self._spooling:
            taken = list(frames)
            for frame in taken:
                self.sender.hand_over(frame)
            self._spool.append(taken)
        else:
            for frame in frames:
                self.sender.add(frame)
        self.poll_if_due()

    def poll_if_due(self, every_s: float = 1.0) -> None:
        """Send frames for a moment; those that Redis does not accept are on disk afterwards."""
        if self._backoff.is_due and self._probe.has_answered:
            try:
                self._step(every_s)
                VITALS.serves("redis")
            except (RedisError, OSError) as e:
                if not can_pass(e):
                    raise
                self._lose_redis(e)
        self._spool.sync_if_due()

    def forget(self) -> None:
        """Delete this producer's numbers in Redis. If Redis is away now, workers delete them after a day."""
        try:
            self.sender.forget_numbers()
        except (RedisError, OSError) as e:
            log.debug("numbers not deleted in Redis: a worker deletes them in a day", why=str(e))

    # -- sending -------------------------------------------------------------------------------------------------------

    def _step(self, poll_every_s: float) -> None:
        if self._world.monotonic_s() >= self._polled_at_s + poll_every_s:
            self._poll()
            self._polled_at_s = self._world.monotonic_s()
            self._forget_committed()
        if full := self._what_is_full():
            self._give_way(full)
        elif self._spooling:
            self._send_spooled()
        elif self.sender.send_waiting(self._send_again):
            self._give_way("Redis refuses to write")
        if self.sender.left_out:
            self._spill()  # frames that a partition refuses stay on disk, and its newer frames follow them there

    def _poll(self) -> None:
        self.sender.read_clock()
        if right := self.sender.put_right():
            self._spill()
            for partition in right:
                self._drop_from_memory(partition)
            self._spool.rewind()
        self.sender.read_numbers(self._send_again)

    def _forget_committed(self) -> None:
        """Delete frames from disk that are committed and need not be sent again."""
        now_s, settled = self._world.monotonic_s(), {}
        for partition, flow in self.sender.flows.items():
            if self._spooling:
                self._owed.add_skipped(partition, flow)
            self._owed.pay(partition, flow, now_s, is_all_sent=not self._spooling)
            settled[partition] = self._owed.settled(partition, flow)
        self._spool.forget(settled)

    def _send_spooled(self) -> None:
        """Send frames from disk, to their end or for a moment; frames that Redis has are dropped from memory."""
        until_s = self._world.monotonic_s() + _STEP_S
        while self._world.monotonic_s() < until_s:
            if self.sender.send_waiting(self._send_again):
                self._give_way("Redis refuses to write")
                return
            self._backoff.reset()
            self.sender.drop_kept()
            frames = self._spool.read(_FRAMES_A_STEP)
            if not frames:
                if not self.sender.left_out:
                    self._end_spooling()
                return
            for frame in frames:
                self._take_up(frame)
            if self._what_is_full():
                return

    def _take_up(self, frame: Numbered) -> None:
        """Queue a frame from disk to be sent, if Redis needs it."""
        partition, flow = frame.partition, self.sender.flows[frame.partition]
        self.sender.hand_over(frame)
        is_needed = frame.last > max(flow.sent_to, self._owed.settled(partition, flow))
        if is_needed and partition not in self.sender.left_out:
            self.sender.add(frame)

    def _end_spooling(self) -> None:
        """After all frames on disk: send those that did not fit on the disk; new frames go to Redis directly."""
        self._spooling = False
        for frame in self._spool.take_unwritten():
            self._take_up(frame)
        if self._outage.is_on or self._is_full_said:
            log.info("the spool is sent")
        self._is_full_said = False
        self._outage.end()

    def _what_is_full(self) -> str:
        """Return what is full; "": nothing. Raises the errors of Redis if it is away."""
        waiting = sum(max(0, flow.sent_to - flow.done) for flow in self.sender.flows.values())
        if waiting > self._max_lag * (_EASE if self._spooling else 1.0):
            return TOO_FAR_AHEAD
        return NEARLY_FULL if self.sender.is_memory_full() else ""

    # -- changes of state ----------------------------------------------------------------------------------------------

    def _spill(self) -> None:
        """Write the frames that are only in memory to disk; new frames follow them there."""
        if not self._spooling:
            self._spooling = True
            self._spool.append(self.sender.take_all())

    def _give_way(self, why: str) -> None:
        """Redis is full: write frames to the spool, so that the source does not wait."""
        self._spill()
        if not (self._outage.is_on or self._is_full_said) and self._is_news():
            log.warning("ticks go to the spool", why=why, spool=str(self._spool.folder))
            self._is_full_said = True
        self._backoff.postpone()

    def _lose_redis(self, error: RedisError | OSError) -> None:
        """Send the whole spool again when Redis answers: it is unknown which frames arrived."""
        VITALS.lost("redis")
        self._spill()
        self.sender.expect_nothing()
        for partition in self.sender.flows:
            self._drop_from_memory(partition)
        self._spool.rewind()
        if self._outage.is_on or self._is_news():
            self._outage.say(error, do=advice(error), spool=str(self._spool.folder))
        self._backoff.postpone()
        self._probe.start()

    def _drop_from_memory(self, partition: int) -> None:
        """Drop a partition's frames from memory: those that are not settled are sent again from disk."""
        self.sender.drop(partition, sent_to=self._owed.settled(partition, self.sender.flows[partition]))

    def _send_again(self, partition: int, above: int, why: str) -> None:
        """Send a partition's frames above a number again, from memory or from disk."""
        flow = self.sender.flows[partition]
        first = max(above, self._owed.settled(partition, flow))
        if not self._spooling and not self._spool.holds(partition, above=first):
            self.sender.send_kept_again(partition, above, why)
        elif first < flow.sent_to:
            log.warning("sending again", partition=partition, above=first, why=why)
            self._spill()
            self.sender.drop(partition, sent_to=first)
            self._spool.rewind()

    def _is_news(self) -> bool:
        """Tell whether to log now why ticks go to the spool; the caller then logs it."""
        now_s = self._world.monotonic_s()
        if now_s < self._said_at_s + _SAY_EVERY_S:
            return False
        self._said_at_s = now_s
        return True
