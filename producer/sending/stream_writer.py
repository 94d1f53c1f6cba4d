"""③ The writer of a source that can wait: frames stay in memory until they are committed."""

from collections.abc import Callable, Iterable, Mapping

import structlog

from ...db.backoff import Backoff
from ...db.outage import Outage
from ...db.redis import Client
from ...db.world import REAL, World
from ..framer import Numbered
from .redis_wait import RedisWait
from .sender import NEARLY_FULL, RIGHT_AGAIN, TOO_FAR_AHEAD, Sender

log = structlog.get_logger()

_POLL_EVERY_S = 1.0
_SAY_AFTER_S = 10.0  # of waiting for room, until it is logged: a replay at full speed often waits for a moment


class StreamWriter:
    """Sends a producer's frames, and waits while Redis or the workers are not ready for more."""

    def __init__(
        self,
        client: Client,
        producer: str,
        *,
        done: Mapping[int, int],
        wait: Callable[[float], bool],
        max_lag: int,
        world: World = REAL,
    ) -> None:
        """done: the committed number of each partition. wait: wait this number of seconds, return True to stop.

        max_lag: how many ticks may be uncommitted; then `write` waits.
        """
        self.sender = Sender(client, producer, done=done, world=world)
        self._world = world
        self._wait = wait
        self._max_lag = max_lag
        self._polled_at_s = 0.0
        backoff = Backoff(world, first_s=0.02, longest_s=1.0)
        self._redis = RedisWait(wait, backoff, Outage("redis", backoff))

    @property
    def lag(self) -> int:
        """Ticks that were handed over and are not known to be committed."""
        return self.sender.lag

    @property
    def spool_bytes(self) -> int:
        """Return 0: this writer has no spool, the source waits instead."""
        return 0

    @property
    def is_drained(self) -> bool:
        """Everything that was handed over is committed."""
        return self.sender.is_drained

    def now_ms(self) -> int:
        """Return Redis TIME in Unix ms; the first time, wait until Redis answers."""
        if not self.sender.has_clock:
            self._run(self.sender.read_clock)
        return self.sender.now_ms()

    def write(self, frames: Iterable[Numbered]) -> None:
        """Send frames; return when Redis has them all and there is room for more."""
        for frame in frames:
            self.sender.add(frame)
        self._send_all()
        self.poll_if_due()
        self._await_room()

    def poll_if_due(self, every_s: float = _POLL_EVERY_S) -> None:
        """Read how far the workers are, if the last reading is `every_s` old.

        Frames that Redis lost, and frames that a worker asks for, are sent again.
        """
        if self._world.monotonic_s() < self._polled_at_s + every_s:
            return
        self._polled_at_s = self._world.monotonic_s()
        self._run(self._poll)
        self._send_all()

    def forget(self) -> None:
        """Delete this producer's numbers in Redis: everything is committed, and it will not come back."""
        self._run(self.sender.forget_numbers)

    def _run(self, step: Callable[[], bool | None]) -> None:
        self._redis.run(step, on_loss=self._send_all_again)

    def _send_all(self) -> None:
        self._run(lambda: self.sender.send_waiting(self.sender.send_kept_again))

    def _send_all_again(self) -> None:
        """Send all frames again after a lost connection: it is unknown which arrived; workers drop repeated numbers."""
        self.sender.expect_nothing()
        for partition in self.sender.flows:
            self.sender.send_kept_again(partition, 0, "connection lost")

    def _poll(self) -> None:
        self.sender.read_clock()
        for partition in self.sender.put_right():
            self.sender.send_kept_again(partition, 0, RIGHT_AGAIN)
        self.sender.read_numbers(self.sender.send_kept_again)

    def _await_room(self) -> None:
        """Wait until the workers have made room; log it once if that takes long."""
        say_at_s, said = self._world.monotonic_s() + _SAY_AFTER_S, False
        while full := self._what_is_full():
            if not said and self._world.monotonic_s() >= say_at_s:
                log.warning("waiting for the workers", why=full, uncommitted=self.lag)
                said = True
            if self._wait(0.02):
                return
            self.poll_if_due(every_s=0.1)
        if said:
            log.info("workers commit again")

    def _what_is_full(self) -> str:
        """Return what is full: the number of uncommitted ticks, or the memory of Redis; "": neither."""
        if self.lag > self._max_lag:
            return TOO_FAR_AHEAD
        return NEARLY_FULL if self._is_memory_full() else ""

    def _is_memory_full(self) -> bool:
        found: list[bool] = []
        self._run(lambda: found.append(self.sender.is_memory_full()))
        return bool(found and found[-1])
