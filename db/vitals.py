"""Whether this process's loop turns, and which servers serve it: what `/healthz` and `/readyz` tell.

One object for the process, like its metrics: the loop and whoever talks to a server note here what they see.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..contracts.server import SERVERS, Server
from .metrics import RECONNECTS, SERVER_UP


class Vitals:
    """The signs of life. Any thread may note one, and any thread may look."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turned_at: float | None = None  # monotonic seconds
        self._has_joined = False
        self._is_away: dict[Server, bool] = {}  # of the servers that were asked

    # -- what the loop notes ---------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Note that the main loop turns, or waits for something that it knows of."""
        self._turned_at = self._clock()

    def turning(self, wait: Callable[[float], bool]) -> Callable[[float], bool]:
        """Return a wait that is a turn: for what waits inside of one."""

        def wait_and_turn(seconds: float) -> bool:
            self.turn()
            return wait(seconds)

        return wait_and_turn

    def join(self) -> None:
        """Note that this process has its place in the fleet; both servers have served it then."""
        self.turn()
        for server in SERVERS:
            self.serves(server)
        self._has_joined = True

    def lost(self, server: Server) -> None:
        """Note that a server did not serve."""
        self._is_away[server] = True
        SERVER_UP.labels(server).set(0)

    def serves(self, server: Server) -> None:
        """Note that a server served; after it was lost, that is a reconnect."""
        is_away = self._is_away.get(server)
        if is_away is False:
            return
        if is_away:
            RECONNECTS.labels(server).inc()
        self._is_away[server] = False
        SERVER_UP.labels(server).set(1)

    @contextmanager
    def asking(self, server: Server) -> Iterator[None]:
        """Note what becomes of a question to a server."""
        try:
            yield
        except Exception:
            self.lost(server)
            raise
        self.serves(server)

    # -- what is told ----------------------------------------------------------------------------------------------

    @property
    def has_joined(self) -> bool:
        """Tell whether the process has its place in the fleet."""
        return self._has_joined

    def is_away(self, server: Server) -> bool:
        """Return whether the last request to a server failed, or none was made yet."""
        return self._is_away.get(server, True)

    @property
    def still_s(self) -> float:
        """Return for how long the loop has not turned; 0 before its first turn: the process only begins."""
        return 0.0 if self._turned_at is None else self._clock() - self._turned_at


VITALS = Vitals()
