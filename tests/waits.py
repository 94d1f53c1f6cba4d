"""How tests look for what they wait for: often at first, then less; into the database on a connection that is kept."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event
from typing import Any, TypeVar

import psycopg

Result = TypeVar("Result")
Row = tuple[Any, ...]
Connection = psycopg.Connection[Row]

FIRST_S, LONGEST_S = 0.02, 0.2


def looks(within_s: float) -> Iterator[float]:
    """Yield the seconds waited so far, each time that a condition is to be looked at; the last time, after all of them.

    Many looks connect to PostgreSQL, which takes 15 ms of processor time: at 50 looks a second, a test that only waits
    would take half a processor from the processes that it waits for. So the pause grows with the wait.
    """
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < within_s:
        yield waited_s
        Event().wait(min(max(FIRST_S, waited_s / 20), LONGEST_S))
    yield waited_s


class KeptConnection:
    """Runs statements of a test, each committed by itself, on one connection for each thread."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._here = threading.local()
        self._every: list[Connection] = []

    def rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        def read(connection: Connection) -> list[Row]:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

        return self.look(read)

    def look(self, read: Callable[[Connection], Result]) -> Result:
        """Return what read(connection) returns; if the server has ended the connection, on a new one."""
        kept: Connection | None = getattr(self._here, "connection", None)
        if kept is not None and not kept.closed:
            try:
                return read(kept)
            except psycopg.OperationalError:
                if not kept.closed:
                    raise
        new = psycopg.connect(self._database_url, autocommit=True, connect_timeout=5, prepare_threshold=None)
        self._here.connection = new
        self._every.append(new)
        return read(new)

    def close(self) -> None:
        for connection in self._every:
            connection.close()
