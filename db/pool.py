"""A few connections for many short statements. If the server does not answer, callers wait only tenths of a second."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg_pool import ConnectionPool, PoolTimeout

from ..contracts.errors import ServerAway, first_line
from .postgres import Connection, Row, Silent, arguments, ensure_forms, is_busy, watched
from .vitals import VITALS

Returned = TypeVar("Returned")

_PATIENCE_S = 0.5  # the wait for a free connection that answers; also on a busy server it takes less
SHORT_S = 0.1  # the same wait for callers with an older answer, and for all while the server is away
_SILENCE_S = 1.8  # a statement without an answer for this time fails: the API's clients wait for 2 s
# Every statement has a LIMIT and the order of an index. Without these settings PostgreSQL would sort the whole table if
# it has no good statistics yet.
_OPTIONS = "-c lock_timeout=1000 -c statement_timeout=1500 -c enable_seqscan=off -c enable_bitmapscan=off"
_LOOK_EVERY_S = 0.02  # the precision with which the silence is measured
_CLOSE_S = 0.5
_PAUSE_S = 0.5  # no statement is sent for this time after the server did not answer


class _Prompt(psycopg.Connection[Row]):
    """A connection that closes and raises Silent if the server does not answer for `patience_s`."""

    patience_s = _SILENCE_S

    def wait(self, gen: PQGen[Returned], *how: Any, **named: Any) -> Returned:
        try:
            return super().wait(watched(gen, self._give_up), *how, **{"interval": _LOOK_EVERY_S, **named})
        except Silent:
            self.pgconn.finish()
            raise

    def _give_up(self, silent_s: float) -> None:
        if silent_s > self.patience_s:
            raise Silent(f"the server has not answered for {self.patience_s:g} s")


class Pool:
    """The connections of one process. After a statement without an answer, further ones fail at once for a moment."""

    def __init__(self, url: str, *, name: str, size: int) -> None:
        self._pool = ConnectionPool(
            url,
            connection_class=_Prompt,
            kwargs=arguments(url, name=name, more=[_OPTIONS]),
            configure=ensure_forms,
            min_size=size,
            max_size=size,
            name=name,
            open=False,
        )
        self._ask_again_s = 0.0  # monotonic
        self._why = ""

    def open(self, timeout_s: float) -> None:
        """Open all connections. Raises ServerAway."""
        try:
            self._pool.open(wait=True, timeout=timeout_s)
        except PoolTimeout as e:
            raise ServerAway(first_line(e), "postgresql") from e

    def close(self) -> None:
        """Close all connections; do not wait for statements that a server does not answer."""
        self._pool.close(timeout=_CLOSE_S)

    @property
    def is_away(self) -> bool:
        """Tell whether the last statement had no answer."""
        return bool(self._why)

    @contextmanager
    def connection(self, patience_s: float = _PATIENCE_S) -> Iterator[Connection]:
        """Lend a connection. Raises ServerAway, also for a statement that waits or takes too long.

        patience_s: time to wait for a connection that answers. A caller with less than the usual patience does not
        mark the server as away.
        """
        if time.monotonic() < self._ask_again_s:
            raise ServerAway(self._why, "postgresql")
        is_known = self.is_away
        try:
            lent = self._answering(SHORT_S if is_known else patience_s)
        except (PoolTimeout, psycopg.OperationalError) as e:
            raise self._away(e, is_sure=is_known or patience_s >= _PATIENCE_S) from e
        try:
            yield lent
        except psycopg.OperationalError as e:
            raise self._away(e, is_sure=not is_busy(e)) from e
        finally:
            self._pool.putconn(lent)

    def _answering(self, within_s: float) -> _Prompt:
        """Take a connection that answers, and drop those that do not.

        Raises PoolTimeout, OperationalError.
        """
        deadline_s = time.monotonic() + within_s
        while True:
            taken = self._pool.getconn(max(0.001, deadline_s - time.monotonic()))
            try:
                taken.patience_s = max(_LOOK_EVERY_S, deadline_s - time.monotonic())
                taken.execute("")
                taken.patience_s = _SILENCE_S
            except psycopg.OperationalError:
                self._pool.putconn(taken)
                if time.monotonic() >= deadline_s:
                    raise
            except BaseException:
                self._pool.putconn(taken)
                raise
            else:
                self._why = ""
                VITALS.serves("postgresql")
                return taken

    def _away(self, error: Exception, *, is_sure: bool) -> ServerAway:
        why = f"PostgreSQL does not answer: {first_line(error)}"
        if is_sure:
            self._why, self._ask_again_s = why, time.monotonic() + _PAUSE_S
            VITALS.lost("postgresql")
        return ServerAway(why, "postgresql")
