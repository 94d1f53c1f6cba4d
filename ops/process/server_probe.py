"""Ask both servers in parallel whether they answer, with a short deadline.

The libraries' own deadlines are longer, and sequential; and a hanging server still accepts connections.
"""

import threading
import time
from collections.abc import Callable

from redis.exceptions import ResponseError

from ...contracts.errors import ServerAway, TickStockError, first_line
from ...contracts.server import Server
from ...contracts.settings import Servers
from ...db import postgres, redis

PATIENCE_S = 1.0


def away_servers(servers: Servers, *, within_s: float = PATIENCE_S) -> dict[Server, str]:
    """Return the servers that do not answer, and why. A server that refuses us has answered.

    within_s: seconds in which both must answer.
    """
    asked: dict[Server, Callable[[], None]] = {
        "postgresql": lambda: postgres.connect(servers.database_url, name="tickstock-probe").close(),
        "redis": lambda: _ask_redis(servers.redis_url, within_s),
    }
    probes = {server: _Probe(ask) for server, ask in asked.items()}
    deadline_s = time.monotonic() + within_s
    found = {server: probe.why(deadline_s, within_s) for server, probe in probes.items()}
    return {server: why for server, why in found.items() if why is not None}


class _Probe:
    """One request in a thread of its own, which is abandoned if its server hangs."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._why: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._ask()
        except (ServerAway, *redis.AWAY) as e:
            self._why = first_line(e)
        except (ResponseError, TickStockError):
            return

    def why(self, deadline_s: float, within_s: float) -> str | None:
        """Return why the server does not answer; None if it does. deadline_s: monotonic."""
        self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return f"no answer within {within_s:g} s" if self._thread.is_alive() else self._why


def _ask_redis(url: str, within_s: float) -> None:
    client = redis.connect(url, timeout_s=within_s + 1)  # the waiting thread reports for how long
    try:
        redis.eviction_policy(client, url)
    finally:
        client.close()
