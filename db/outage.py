"""Log that a server is away: `server away` once at the start, `server back` at the end, with its name."""

import psycopg
import structlog
from redis.exceptions import ResponseError

from ..contracts.errors import DatabaseGone, ServerAway, TlsRefused, first_line
from ..contracts.server import Server
from .backoff import Backoff
from .tls import is_refusal

log = structlog.get_logger()

_MOST_REASONS = 20  # of one outage: reasons that change each time must not fill the log


def server_of(error: Exception) -> Server:
    """Return which server an error came from."""
    if isinstance(error, ServerAway):
        return error.server
    return "postgresql" if isinstance(error, psycopg.Error) else "redis"


class Outage:
    """The outage of one server, as one loop sees it. backoff: when to try again.

    During an outage another reason is logged only if the server or its certificate gives it: then a person must act.
    """

    def __init__(self, server: str, backoff: Backoff, *, every_reason: bool = False) -> None:
        """server: redis, postgresql, or a vendor's name. every_reason: log every reason, once."""
        self.server = server
        self._every_reason = every_reason
        self._backoff = backoff
        self._reasons: set[str] = set()

    @property
    def is_on(self) -> bool:
        """Tell whether the last try of the server failed."""
        return bool(self._reasons)

    @property
    def is_retry_due(self) -> bool:
        """Tell whether it is time to try again."""
        return self._backoff.is_due

    def note(self, error: Exception, *, do: str = "") -> None:
        """Log an error as `say` does, and postpone the next try."""
        self.say(error, do=do)
        self._backoff.postpone()

    def say(self, error: Exception | str, *, do: str = "", **fields: object) -> None:
        """Log that the server is away, if that is new. do: what a person can do about it."""
        why = error if isinstance(error, str) else first_line(error)
        is_news = not self.is_on or (why not in self._reasons and (self._every_reason or _is_answer(error)))
        if is_news and len(self._reasons) < _MOST_REASONS:
            log.warning("server away", server=self.server, why=why, **({"do": do} if do else {}), **fields)
            self._reasons.add(why)
        else:
            log.debug("server still away", server=self.server, why=why)

    def end(self, **fields: object) -> None:
        """Log that the server is back, if it was away."""
        self._backoff.reset()
        if self.is_on:
            log.info("server back", server=self.server, **fields)
        self._reasons.clear()


def _is_answer(error: Exception | str) -> bool:
    """Tell whether the server answered, and refused us."""
    if isinstance(error, TlsRefused | DatabaseGone | ResponseError) or getattr(error, "sqlstate", None):
        return True
    return is_refusal(str(error))
