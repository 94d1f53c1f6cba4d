"""One PostgreSQL connection of a process: opened, lost, opened again. A transaction is never retried in its middle."""

import re
from typing import Any, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ..contracts.errors import ServerAway, SetupError
from .queries import query

Row = tuple[Any, ...]
Connection = psycopg.Connection[Row]

_CONNECT_TIMEOUT_S = 5
# A peer that vanished without a word is noticed after about 15 s.
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


class Backend(NamedTuple):
    """The server's side of a connection; the start tells it from a later one with the same pid."""

    pid: int
    started_at: Any


def connect(url: str, *, name: str) -> Connection:
    """Open an autocommit connection. Raises ServerAway where no server answers, SetupError where it says no."""
    try:
        return psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name=name,
            options=_OPTIONS,
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
    """The connection that a worker commits through."""

    def __init__(self, url: str, *, name: str) -> None:
        self.url = url
        self.name = name
        self.connection = connect(url, name=name)
        self.backend = self._my_backend()

    def reopen(self) -> None:
        """Connect again, and end the backend of the lost connection: what it still does must be over before we look."""
        lost = self.backend
        self.close()
        self.connection = connect(self.url, name=self.name)
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
    return connection.broken or connection.closed or state[:3] == "57P" or state[:2] in ("08", "53") or state == "25006"
