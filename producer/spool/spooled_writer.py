"""③ of a live feed: frames that Redis does not take go to a spool, and from there in order; the source never waits."""

import threading
from collections.abc import Callable, Iterable, Mapping

import structlog
from redis.exceptions import RedisError

from ...contracts.bounds import FULL_SHARE
from ...db.backoff import Backoff
from ...db.look.lag import MAX_NUMBER
from ...db.outage import Outage
from ...db.redis import AWAY, Client, advice, can_pass, masters
from ...db.vitals import VITALS
from ...db.world import REAL, World
from ..framer import Numbered
from ..stream_writer import MEMORY_EVERY_S, NEARLY_FULL, TOO_FAR_AHEAD, StreamWriter, _Flow
from .spool import Spool

log = structlog.get_logger()

_FRAMES_A_STEP = 128
_STEP_S = 0.05  # for the spool in one call; then the source has its turn
_LONGEST_PAUSE_S = 1.0
_EASE = 0.8  # of --max-lag-ticks, until the spool goes on: no change of state with every commit
_OWED_S = 3.0  # a Redis that is killed forgets what came within its fsync interval of one second
_SAY_EVERY_S = 5.0  # a Redis that is always nearly full is no news


class SpooledWriter(StreamWriter):
    """A StreamWriter whose calls come back within a moment, whether Redis is there or not.

    Only the call that finds a silent Redis gone takes as long as the client's timeout.

    A frame is kept in memory or on disk, never left on disk behind a newer one: what memory holds when Redis goes away
    is written first, because a Redis that comes back may have lost it, and newer frames follow on disk until all of
    them are sent. Only then are new ones sent directly; what is on disk is deleted when it is committed.
    """

    def __init__(  # noqa: PLR0913  # a StreamWriter's, and the spool
        self,
        client: Client,
        redis_url: str,
        producer: str,
        *,
        done: Mapping[int, int],
        wait: Callable[[float], bool],
        max_lag: int,
        spool: Spool,
        world: World = REAL,
    ) -> None:
        """spool: empty, or what an earlier process of this producer left behind."""
        super().__init__(client, redis_url, producer, done=done, wait=wait, max_lag=max_lag, world=world)
        self._spool = spool
        self._spooling = not spool.is_empty
        self._is_inherited = self._spooling
        # What an earlier process left is sent whole, and kept until Redis has it on its disk. Its `done` may be above
        # numbers that were given up, and each of them still counts when it comes.
        self._owes_all = self._spooling
        self._owed_until_s = 0.0
        self._tops = dict(done)
        self._said_at = -_SAY_EVERY_S
        self._is_full_said = False
        self._backoff = Backoff(world, longest_s=_LONGEST_PAUSE_S)
        self._outage = Outage("redis", self._backoff)
        self._probe = _Probe(client, self._outage, world=world)

    # -- what the producer sees --------------------------------------------------------------------------------------

    @property
    def lag(self) -> int:
        """Ticks handed over and not known to be committed."""
        return sum(max(0, self._tops[p] - flow.done) for p, flow in self._flows.items())

    @property
    def is_full(self) -> bool:
        """Neither Redis nor the spool has room: a tick that comes now must not get a number."""
        return self._spooling and self._spool.is_full

    @property
    def spool_bytes(self) -> int:
        """What waits on disk."""
        return self._spool.size

    @property
    def is_sent(self) -> bool:
        """Redis has everything that was handed over."""
        return not self._spooling and not any(flow.to_send for flow in self._flows.values())

    @property
    def is_drained(self) -> bool:
        """Everything that was handed over is committed."""
        return super().is_drained and self._spool.is_empty

    def last_numbers(self) -> dict[int, int]:
        """Return the last number of each partition, as far as this process or Redis knows."""
        return {p: max(self._tops[p], flow.highest, flow.done) for p, flow in self._flows.items()}

    def write(self, frames: Iterable[Numbered]) -> None:
        """Take frames over: send them, or put them into the spool."""
        taken = list(frames)
        for frame in taken:
            self._tops[frame.partition] = frame.last
        if self._spooling:
            self._spool.append(taken)
        else:
            for frame in taken:
                self._flows[frame.partition].to_send.append(frame)
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
        """Take this producer's numbers out of Redis; where it is away just now, the workers do it in a day."""
        try:
            self._forget()
        except (RedisError, OSError) as e:
            log.debug("numbers left in redis", why=str(e))

    # -- sending -----------------------------------------------------------------------------------------------------

    def _step(self, poll_every_s: float) -> None:
        if self._world.monotonic_s() >= self._polled_at + poll_every_s:
            self._poll()
            self._polled_at = self._world.monotonic_s()
            if self._owes_all and not self._spooling and self._world.monotonic_s() >= self._owed_until_s:
                self._owes_all = False
            if not self._owes_all:
                self._spool.forget({p: flow.done for p, flow in self._flows.items()})
        if full := self._what_is_full():
            self._give_way(full)
        elif self._spooling:
            self._send_spooled()
        elif self._send_waiting():
            self._give_way("Redis refuses to write")
        if self._foreign.left_out:
            self._spill()  # what their partitions do not take stays on disk, and what comes for them follows it there

    def _take_back(self) -> None:
        right = self._foreign.put_right()
        for partition in right:
            flow = self._flows[partition]
            flow.last_sent = None
            flow.sent_to = self._settled(flow)
            flow.kept.clear()
            flow.to_send.clear()
        if right:
            self._spill()
            self._spool.rewind()

    def _send_spooled(self) -> None:
        """Send what is on disk, up to its end or for a moment; frames that Redis has are dropped from memory again."""
        until = self._world.monotonic_s() + _STEP_S
        while self._world.monotonic_s() < until:
            if self._send_waiting():
                self._give_way("Redis refuses to write")
                return
            self._backoff.reset()
            for flow in self._flows.values():
                flow.kept.clear()
            frames = self._spool.read(_FRAMES_A_STEP)
            if not frames:
                if not self._foreign.left_out:
                    self._end_spooling()
                return
            for frame in frames:
                self._take_up(frame)
            if self._what_is_full():
                return

    def _take_up(self, frame: Numbered) -> None:
        flow = self._flows[frame.partition]
        self._tops[frame.partition] = max(self._tops[frame.partition], frame.last)
        if frame.last > max(flow.sent_to, self._settled(flow)) and frame.partition not in self._foreign.left_out:
            flow.to_send.append(frame)

    def _settled(self, flow: _Flow) -> int:
        """Return the number up to which nothing has to be sent."""
        return 0 if self._owes_all else flow.done

    def _end_spooling(self) -> None:
        """Everything on disk is sent: what the disk had no room for follows, and new frames go to Redis directly."""
        self._spooling = False
        self._owed_until_s = self._world.monotonic_s() + _OWED_S
        for frame in self._spool.take_unwritten():
            self._take_up(frame)
        if self._outage.is_on or self._is_full_said:
            log.info("the spool is sent")
        self._is_full_said = False
        self._outage.end()

    def _what_is_full(self) -> str:
        """Say what has no room for more. Raises where Redis is away."""
        waiting = sum(max(0, flow.sent_to - flow.done) for flow in self._flows.values())
        if waiting > self._max_lag * (_EASE if self._spooling else 1.0):
            return TOO_FAR_AHEAD
        if self._world.monotonic_s() >= self._memory_at:
            self._look_at_memory()
            self._memory_at = self._world.monotonic_s() + MEMORY_EVERY_S
        return NEARLY_FULL if self._memory_share >= FULL_SHARE else ""

    def _last_known(self, partition: int, flow: _Flow) -> int:
        """Return the last number that can be done; what another process left behind, nobody knows before it is read."""
        return MAX_NUMBER if self._is_inherited else max(self._tops[partition], self._top(flow))

    # -- changes of state --------------------------------------------------------------------------------------------

    def _spill(self) -> None:
        """Put what only memory holds on disk; new frames follow it there."""
        if self._spooling:
            return
        self._spooling = True
        for flow in self._flows.values():
            self._spool.append(sorted([*flow.kept, *flow.to_send], key=lambda frame: frame.last))
            flow.kept.clear()
            flow.to_send.clear()

    def _give_way(self, why: str) -> None:
        """Redis has no room: wait for it, but do not let the source wait."""
        self._spill()
        if not (self._outage.is_on or self._is_full_said) and self._is_news():
            log.warning("ticks go to the spool", why=why, spool=str(self._spool.folder))
            self._is_full_said = True
        self._backoff.postpone()

    def _lose_redis(self, error: RedisError | OSError) -> None:
        """Nobody knows what arrived: send all from the start of the spool, when Redis answers again."""
        VITALS.lost("redis")
        self._spill()
        for flow in self._flows.values():
            flow.last_sent = None
            flow.sent_to = self._settled(flow)
            flow.kept.clear()
            flow.to_send.clear()
        self._spool.rewind()
        if self._outage.is_on or self._is_news():
            self._outage.say(error, do=advice(error), spool=str(self._spool.folder))
        self._backoff.postpone()
        self._probe.start()

    def _send_again(self, partition: int, why: str, above: int = 0) -> None:
        """Send a partition's frames above a number again, from where they are kept."""
        flow = self._flows[partition]
        first = max(above, self._settled(flow))
        if not self._spooling and not self._spool.holds(partition, above=first):
            super()._send_again(partition, why, above)
        elif first < flow.sent_to:
            log.warning("sending again", partition=partition, above=first, why=why)
            self._spill()
            flow.sent_to = first
            flow.kept.clear()
            flow.to_send.clear()
            self._spool.rewind()

    def _is_news(self) -> bool:
        """Tell whether it is time to say again why ticks go to the spool; if so, it is said now."""
        now_s = self._world.monotonic_s()
        if now_s < self._said_at + _SAY_EVERY_S:
            return False
        self._said_at = now_s
        return True


class _Probe:
    """Waits for Redis in a thread of its own: a host that is gone answers a connection only after seconds."""

    def __init__(self, client: Client, outage: Outage, *, world: World) -> None:
        self._client = client
        self._outage = outage
        self._world = world
        self._thread: threading.Thread | None = None

    @property
    def has_answered(self) -> bool:
        """Redis answered since the start, or was never asked."""
        return self._thread is None or not self._thread.is_alive()

    def start(self) -> None:
        """Ask until there is an answer, be it an error: that is for the writer to judge."""
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        backoff = Backoff(self._world, longest_s=_LONGEST_PAUSE_S)
        while True:
            try:
                for node in masters(self._client):  # of a cluster every one: frames go to all
                    node.ping()
                return
            except AWAY as e:
                self._outage.say(e)
                self._world.sleep(backoff.pause_s())
            except RedisError:
                return
