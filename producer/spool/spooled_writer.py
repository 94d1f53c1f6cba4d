"""③ The writer of a live source, which cannot wait: frames that Redis does not take go to a spool first."""

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
_STEP_S = 0.05  # for the spool in one call; then the source has its turn
_LONGEST_PAUSE_S = 1.0
_EASE = 0.8  # of --max-lag-ticks, until the spool goes on: no change of state with every commit
_SAY_EVERY_S = 5.0  # a Redis that is always nearly full is no news


class SpooledWriter:
    """A writer whose calls come back within a moment, whether Redis is there or not.

    Only the call that finds a silent Redis gone takes as long as the client's timeout.

    A frame is kept in memory or on disk, never on disk behind a newer one. When Redis goes away, all that memory holds
    is written first, because a Redis that comes back may have lost it, and newer frames follow on disk until all of
    them are sent. Only then are new ones sent directly. What is on disk is deleted when it is committed.
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
        """spool: empty, or what an earlier process of this producer left behind; the rest is as of a StreamWriter."""
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

    # -- what the producer sees ----------------------------------------------------------------------------------------

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
        """How much waits on disk."""
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
        """Do what Redis allows now, for a moment; what it does not take is on disk afterwards."""
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
        """Delete this producer's numbers in Redis; where it is away just now, the workers do it in a day."""
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
            self._spill()  # what their partitions do not take stays on disk, and what comes for them follows it there

    def _poll(self) -> None:
        self.sender.read_clock()
        if right := self.sender.put_right():
            self._spill()
            for partition in right:
                self._drop_from_memory(partition)
            self._spool.rewind()
        self.sender.read_numbers(self._send_again)

    def _forget_committed(self) -> None:
        """Delete from disk what is committed and not owed."""
        now_s, settled = self._world.monotonic_s(), {}
        for partition, flow in self.sender.flows.items():
            if self._spooling:
                self._owed.add_skipped(partition, flow)
            self._owed.pay(partition, flow, now_s, is_all_sent=not self._spooling)
            settled[partition] = self._owed.settled(partition, flow)
        self._spool.forget(settled)

    def _send_spooled(self) -> None:
        """Send what is on disk, up to its end or for a moment; what Redis has is dropped from memory again."""
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
        """Let a frame from disk wait to be sent, where Redis needs it."""
        partition, flow = frame.partition, self.sender.flows[frame.partition]
        self.sender.hand_over(frame)
        is_needed = frame.last > max(flow.sent_to, self._owed.settled(partition, flow))
        if is_needed and partition not in self.sender.left_out:
            self.sender.add(frame)

    def _end_spooling(self) -> None:
        """All on disk is sent: what the disk had no room for follows, and new frames go to Redis directly."""
        self._spooling = False
        for frame in self._spool.take_unwritten():
            self._take_up(frame)
        if self._outage.is_on or self._is_full_said:
            log.info("the spool is sent")
        self._is_full_said = False
        self._outage.end()

    def _what_is_full(self) -> str:
        """Say what has no room for more. Raises where Redis is away."""
        waiting = sum(max(0, flow.sent_to - flow.done) for flow in self.sender.flows.values())
        if waiting > self._max_lag * (_EASE if self._spooling else 1.0):
            return TOO_FAR_AHEAD
        return NEARLY_FULL if self.sender.is_memory_full() else ""

    # -- changes of state ----------------------------------------------------------------------------------------------

    def _spill(self) -> None:
        """Put what only memory holds on disk; new frames follow it there."""
        if not self._spooling:
            self._spooling = True
            self._spool.append(self.sender.take_all())

    def _give_way(self, why: str) -> None:
        """Redis has no room: wait for it, but do not let the source wait."""
        self._spill()
        if not (self._outage.is_on or self._is_full_said) and self._is_news():
            log.warning("ticks go to the spool", why=why, spool=str(self._spool.folder))
            self._is_full_said = True
        self._backoff.postpone()

    def _lose_redis(self, error: RedisError | OSError) -> None:
        """Send all from the start of the spool when Redis answers again: nobody knows what arrived."""
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
        """Drop a partition's frames from memory: all that is not settled is sent again from disk."""
        self.sender.drop(partition, sent_to=self._owed.settled(partition, self.sender.flows[partition]))

    def _send_again(self, partition: int, above: int, why: str) -> None:
        """Send a partition's frames above a number again, from where they are kept."""
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
        """Tell whether it is time to log again why ticks go to the spool; if so, it is logged now."""
        now_s = self._world.monotonic_s()
        if now_s < self._said_at_s + _SAY_EVERY_S:
            return False
        self._said_at_s = now_s
        return True
