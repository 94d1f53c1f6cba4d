"""One PostgreSQL connection of a process: opened, lost, opened again. A transaction is never retried in its middle."""

import re
import time
from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PipelineStatus

from ..contracts.errors import ServerAway, SetupError
from .queries import query

Row = tuple[Any, ...]
Connection = psycopg.Connection[Row]

_CONNECT_TIMEOUT_S = 5
# A peer that vanished without a word is noticed after about 15 s. One whose kernel answers while its processes hang is
# not: only an impatient connection notices that.
_KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
# A failed connection has no SQLSTATE. Of a server with messages in another language we wait until the timeout.
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|(database|role) .* does not exist"
)
_OPTIONS = "-c synchronous_commit=on -c client_min_messages=warning -c timezone=UTC -c jit=off"
# What an impatient connection waits for a lock, for a statement, and for a server that says nothing at all.
_IMPATIENT_OPTIONS = "-c lock_timeout=1s -c statement_timeout=3s"
_SILENCE_S = 5.0

Returned = TypeVar("Returned")


class Backend(NamedTuple):
    """The server's side of a connection; the start tells it from a later one with the same pid."""

    pid: int
    started_at: Any


class _Impatient(psycopg.Connection[Row]):
    """Closes itself, and raises OperationalError, where the server says nothing for _SILENCE_S."""

    def wait(self, gen: PQGen[Returned], *how: Any, **named: Any) -> Returned:
        try:
            return super().wait(_within_silence(gen), *how, **named)
        except _Silent:
            self.pgconn.finish()
            raise


class _Silent(psycopg.OperationalError):
    """The server hangs, with its socket open."""


def _within_silence(gen: PQGen[Returned]) -> Generator[Any, Any, Returned]:
    """Go on with what psycopg waits for: several times a second it tells that nothing came."""
    last_s = time.monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                last_s = time.monotonic()
            elif time.monotonic() > last_s + _SILENCE_S:
                raise _Silent(f"the server has said nothing for {_SILENCE_S:g} s")
            wanted = gen.send(ready)
    except StopIteration as e:
        returned: Returned = e.value
        return returned


def connect(url: str, *, name: str, impatient: bool = False) -> Connection:
    """Open an autocommit connection. Raises ServerAway where no server answers, SetupError where it says no.

    impatient: for whom other things must not wait; statements fail after seconds where they wait for a lock (`is_busy`)
    or for a server that hangs.
    """
    try:
        return (_Impatient if impatient else psycopg.Connection[Row]).connect(
            url,
            autocommit=True,
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name=name,
            options=f"{_OPTIONS} {_IMPATIENT_OPTIONS}" if impatient else _OPTIONS,
            **_KEEPALIVES,
        )
    except psycopg.OperationalError as e:
        message = f"PostgreSQL at {address(url)}: {_why(e)}"
        raise (SetupError(message) if _REFUSED.search(message) else ServerAway(message)) from e
    except psycopg.ProgrammingError as e:  # its text holds the address, and so the password
        raise SetupError("the database address cannot be read: postgresql://USER:PASSWORD@HOST:PORT/NAME is one") from e


def _why(error: psycopg.Error) -> str:
    """Return the one line that says why: below it stands a hint, above it, with several addresses, a headline."""
    lines = str(error).strip().splitlines()
    return next((line.removeprefix("- ") for line in lines if not line.startswith("Multiple connection attempts")), "")


def address(url: str) -> str:
    """Return host, port and database of a URL, without its secrets."""
    parts = conninfo_to_dict(url)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


class Database:
    """The connection that a worker commits through, or a bridge."""

    def __init__(self, url: str, *, name: str, impatient: bool = False) -> None:
        self.url = url
        self.name = name
        self._impatient = impatient
        self.connection = connect(url, name=name, impatient=impatient)
        self.backend = self._my_backend()

    def reopen(self) -> None:
        """Connect again, and end the backend of the lost connection: what it still does must be over before we look."""
        lost = self.backend
        self.close()
        self.connection = connect(self.url, name=self.name, impatient=self._impatient)
        self.backend = self._my_backend()
        values = {"pid": lost.pid, "backend_start": lost.started_at}
        if self.connection.execute(query("live_backend"), values).fetchone() == (True,):
            self.connection.execute(query("end_backend"), {"pid": lost.pid})

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        try:
            self.connection.close()
        except psycopg.Error:
            return  # the server has forgotten it already

    def _my_backend(self) -> Backend:
        row = self.connection.execute(query("my_backend")).fetchone()
        if row is None:
            raise SetupError("pg_stat_activity does not show our own connection")
        return Backend(*row)


def is_lost(connection: Connection, error: psycopg.Error) -> bool:
    """Tell whether the connection, or the server's ability to serve it, is gone, rather than a statement refused.

    57P: ended by an operator; 08: connection; 53: out of disk, memory or connections; 25006: a standby, read only.
    """
    state = error.sqlstate or ""
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:
        return True  # psycopg could not leave the pipeline of a transaction that failed: nothing runs in it any more
    return connection.broken or connection.closed or state[:3] == "57P" or state[:2] in ("08", "53") or state == "25006"


def is_busy(error: psycopg.Error) -> bool:
    """Tell whether a statement of an impatient connection waited or ran too long: it may be tried again, later."""
    return error.sqlstate in ("55P03", "57014")


def is_away(connection: Connection, error: psycopg.Error) -> bool:
    """Tell whether PostgreSQL did not serve, rather than refuse."""
    return is_lost(connection, error) or is_busy(error)
