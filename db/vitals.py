"""The state of this process's loop and servers, for `/healthz` and `/readyz`.

One object per process, like its metrics; the main loop and all users of a server record their state here.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..contracts.server import SERVERS, Server
from .metrics import RECONNECTS, SERVER_UP


class Vitals:
    """The signs of life. Any thread may write or read them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turned_at: float | None = None  # monotonic seconds
        self._has_joined = False
        self._is_away: dict[Server, bool] = {}  # of the servers that were asked

    # -- recorded by the loop and the users of servers ---------------------------------------------------------------

    def turn(self) -> None:
        """Record that the main loop turns, or waits for something known."""
        self._turned_at = self._clock()

    def turning(self, wait: Callable[[float], bool]) -> Callable[[float], bool]:
        """Return a wait that counts as a turn, for waits inside of one."""

        def wait_and_turn(seconds: float) -> bool:
            self.turn()
            return wait(seconds)

        return wait_and_turn

    def join(self) -> None:
        """Record that this process has joined the fleet; then both servers have answered it."""
        self.turn()
        for server in SERVERS:
            self.serves(server)
        self._has_joined = True

    def lost(self, server: Server) -> None:
        """Record that a server did not answer."""
        self._is_away[server] = True
        SERVER_UP.labels(server).set(0)

    def serves(self, server: Server) -> None:
        """Record that a server answered; after a loss, this counts as a reconnect."""
        is_away = self._is_away.get(server)
        if is_away is False:
            return
        if is_away:
            RECONNECTS.labels(server).inc()
        self._is_away[server] = False
        SERVER_UP.labels(server).set(1)

    @contextmanager
    def asking(self, server: Server) -> Iterator[None]:
        """Record the result of a request to a server."""
        try:
            yield
        except Exception:
            self.lost(server)
            raise
        self.serves(server)

    # -- read by the health checks -----------------------------------------------------------------------------------

    @property
    def has_joined(self) -> bool:
        """Tell whether the process has joined the fleet."""
        return self._has_joined

    def is_away(self, server: Server) -> bool:
        """Tell whether the last request to a server failed, or none was made yet."""
        return self._is_away.get(server, True)

    @property
    def still_s(self) -> float:
        """Return how long ago the loop last turned, in seconds; 0 before its first turn."""
        return 0.0 if self._turned_at is None else self._clock() - self._turned_at


VITALS = Vitals()
