"""Wait for Redis in a separate thread: a connection attempt to a host that is down fails only after seconds."""

import threading

from redis.exceptions import RedisError

from ...db.backoff import Backoff
from ...db.outage import Outage
from ...db.redis import AWAY, Client, masters
from ...db.world import World


class Probe:
    """Asks Redis until it answers, so that the producer's loop does not wait for it."""

    def __init__(self, client: Client, outage: Outage, *, longest_pause_s: float, world: World) -> None:
        self._client = client
        self._outage = outage
        self._longest_pause_s = longest_pause_s
        self._world = world
        self._thread: threading.Thread | None = None

    @property
    def has_answered(self) -> bool:
        """Redis has answered since `start`, or `start` was never called."""
        return self._thread is None or not self._thread.is_alive()

    def start(self) -> None:
        """Ask until Redis answers. An error is an answer, too; the writer decides what it means."""
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        backoff = Backoff(self._world, longest_s=self._longest_pause_s)
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
