"""Work that goes on beside a test: a thread that takes one turn after the other, whatever becomes of the servers."""

import threading
from abc import ABC, abstractmethod

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

AWAY = (psycopg.OperationalError, redis.ConnectionError, redis.TimeoutError, OSError)


def client_of(servers):
    """Give a client that tries nothing a second time by itself."""
    return redis.Redis.from_url(servers.redis_url, retry=Retry(NoBackoff(), 0), socket_timeout=60)


class Background(threading.Thread, ABC):
    """Calls turn() until it is told to end."""

    def __init__(self):
        super().__init__(name=type(self).__name__, daemon=True)
        self._told_to_end = threading.Event()
        self._error = None

    @abstractmethod
    def turn(self):
        """Do a piece of the work; return how many seconds to wait before the next."""

    def on_away(self):
        """Do what a lost connection makes necessary."""

    def run(self):
        try:
            while not self._told_to_end.is_set():
                self._told_to_end.wait(self._turn())
        except Exception as e:  # noqa: BLE001  # raised again where the test looks
            self._error = e

    def _turn(self):
        try:
            return self.turn()
        except AWAY:
            self.on_away()
            return 0.1

    def check(self):
        """Raise what ended the thread before its time."""
        if self._error:
            raise self._error

    def finish(self, within_s=120):
        """Let the turn that is under way be the last one."""
        self._told_to_end.set()
        if self.ident:
            self.join(within_s)
        assert not self.is_alive(), f"{self.name} does not end"
        self.check()
