"""A server that is away: when to try it again, and one log line at the start and at the end of it."""

import random
import time

import structlog

from ...contracts.metrics import Server
from ...db.tls import is_refusal
from ...db.vitals import VITALS

log = structlog.get_logger()

_LONGEST_PAUSE_S = 2.0


class Outage:
    """Nothing, until an error is noted."""

    def __init__(self, server: Server) -> None:
        self._server: Server = server
        self._attempts = 0
        self._is_tls = False  # a certificate was refused
        self._retry_at = 0.0

    @property
    def is_on(self) -> bool:
        """Tell whether the server was away when we tried it last."""
        return self._attempts > 0

    @property
    def is_retry_due(self) -> bool:
        """Tell whether it is time to try again."""
        return time.monotonic() >= self._retry_at

    def note(self, error: Exception, *, do: str = "") -> None:
        """Note that the server did not serve; the next try comes after a pause that grows, with jitter.

        do: what a person can do about it.
        """
        why = str(error).strip()
        news = is_refusal(why) and not self._is_tls
        if news or not self.is_on:
            log.warning("server away", server=self._server, why=why, **({"do": do} if do else {}))
        self._is_tls = self._is_tls or news
        VITALS.lost(self._server)
        pause_s = min(_LONGEST_PAUSE_S, 0.05 * 2 ** min(self._attempts, 10))
        self._retry_at = time.monotonic() + pause_s * random.uniform(0.5, 1.0)
        self._attempts += 1

    def end(self) -> None:
        """Note that it serves again."""
        if self.is_on:
            log.info("server back", server=self._server)
        self._attempts = 0
        VITALS.serves(self._server)
        self._is_tls = False
