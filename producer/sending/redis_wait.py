"""Repeat a step of a producer until Redis does it."""

from collections.abc import Callable

from redis.exceptions import RedisError

from ...db.backoff import Backoff
from ...db.outage import Outage
from ...db.redis import advice, can_pass
from ...db.vitals import VITALS


class RedisWait:
    """Repeats a step until Redis does it. wait: wait this number of seconds, return True to stop."""

    def __init__(self, wait: Callable[[float], bool], backoff: Backoff, outage: Outage) -> None:
        self._wait = wait
        self._backoff = backoff
        self._outage = outage

    def run(self, step: Callable[[], bool | None], on_loss: Callable[[], None] = lambda: None) -> None:
        """Run a step until it succeeds or this process must stop. Each change of state is logged once.

        step: returns True if Redis refused to write. on_loss: called after each error after which a retry helps; other
        errors are raised.
        """
        while self._is_refused(step, on_loss):
            VITALS.lost("redis")
            if self._wait(self._backoff.pause_s()):
                return
        if self._outage.is_on:
            VITALS.serves("redis")
            self._outage.end()

    def _is_refused(self, step: Callable[[], bool | None], on_loss: Callable[[], None]) -> bool:
        try:
            if not step():
                return False
            self._outage.say("Redis refuses to write")
        except (RedisError, OSError) as e:
            if not can_pass(e):
                raise
            self._outage.say(e, do=advice(e))
            on_loss()
        return True
