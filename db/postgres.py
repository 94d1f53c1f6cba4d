"""A PostgreSQL connection of a process: open it, detect its loss, reopen it. Only whole transactions are retried."""

import re
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import psycopg
import structlog
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PipelineStatus

from ..contracts.errors import DatabaseGone, ServerAway, SetupError, TlsRefused, UsageError
from . import tls
from .queries import query
from .vitals import VITALS

Row = tuple[Any, ...]
Connection = psycopg.Connection[Row]

log = structlog.get_logger()

_CONNECT_TIMEOUT_S = 5
# A peer that vanished is noticed after about 15 s. If its kernel still answers, only an impatient connection notices.
_KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
# A failed connection has no SQLSTATE. If the server's messages are in another language, we wait until the timeout.
_REFUSED = re.compile(r"authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist")
_NO_DATABASE = re.compile(r"database .* does not exist")
_WRONG_VALUE = re.compile(r"invalid (\w+ value|port number)")  # of an option of the address
_WRONG_NAME = re.compile(r"invalid (?:URI query parameter:|connection option) \"([a-z_]+)\"")
# What values look like must not depend on the settings of a database or a role: psycopg reads dates and intervals only
# in these forms, and times of another zone have another day.
_FORMS = {"TimeZone": "UTC", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres"}
_OPTIONS = (
    "-c synchronous_commit=on -c client_min_messages=warning -c jit=off -c extra_float_digits=1"
    " -c timezone=UTC -c datestyle=ISO,MDY -c intervalstyle=postgres"
)
# For code that finds every row by a key: plans cached while a table was short (prepared statements, foreign keys,
# functions) would scan the whole table when it has grown.
_BY_KEYS_OPTIONS = "-c enable_seqscan=off"
# How long an impatient connection waits for a lock, for a statement, and for a silent server.
_IMPATIENT_OPTIONS = "-c lock_timeout=1s -c statement_timeout=3s"
_SILENCE_S = 5.0
_LATE_S = 10.0  # after this wait a patient connection logs it, and a process with it in its main loop is not ready
_ADVICE = {  # by SQLSTATE, or its class
    "25006": "the database is read only: is it a standby? If not, check default_transaction_read_only",
    "28": "check the password and pg_hba.conf",
    "3D000": "the database does not exist: restore it, or rename it back",
    "42501": "a right is missing: `tickstock doctor` names it",
    "42": "the schema has changed: restore the missing parts; `tickstock doctor` names them",
    "3F000": "the schema has changed: restore the missing parts; `tickstock doctor` names them",
    "53100": "its disk is full: make room",
    "53300": "it has too many connections: end some, or raise max_connections",
    "53": "it lacks memory or another resource: check its log",
    "57014": "a statement was cancelled: nothing is lost, it is tried again",
    "57P01": "our connection was ended, or the server stops: nothing is lost",
    "XX": "check its log: it may be damaged",
}
# Classes of SQLSTATE. One that PostgreSQL does not have is a trigger's own: RAISE ... USING ERRCODE.
_OF_ROWS = ("09", "22", "23", "27", "2F", "38", "39", "44", "54", "P0")  # 54: an entry is too large for its index
_OF_TABLES = ("0A", "21", "42")
_NOT_STANDARD = "56789IJKLMNOPQRSTUVWXYZ"  # first characters
_OF_THE_SERVER = ("53", "55", "57", "58", "72", "XX", "TS")
# The text before one attempt's reason, if there are several; and the prefix of a reason.
_ATTEMPT = re.compile(r"- host: .*?, hostaddr: (?:'[^']*'|None): ")
_PREFIX = re.compile(r"connection (?:failed|is bad): (?=connection to server)")

Returned = TypeVar("Returned")


class Backend(NamedTuple):
    """The backend of a connection. Its start time distinguishes it from a later backend with the same pid."""

    pid: int
    started_at: Any


class _Impatient(psycopg.Connection[Row]):
    """Close the connection and raise OperationalError if the server is silent for _SILENCE_S."""

    def wait(self, gen: PQGen[Returned], *how: Any, **named: Any) -> Returned:
        try:
            return super().wait(watched(gen, _give_up), *how, **named)
        except Silent:
            self.pgconn.finish()
            raise


class _Patient(psycopg.Connection[Row]):
    """Wait without limit for a lock or a server that does not respond, and log that once."""

    _is_late = False

    def wait(self, gen: PQGen[Returned], *how: Any, **named: Any) -> Returned:
        returned = super().wait(watched(gen, self._note_silence), *how, **named)
        if self._is_late:
            log.info("the statement continues", backend=self.info.backend_pid)
            self._is_late = False
        return returned

    def _note_silence(self, silent_s: float) -> None:
        if silent_s > _LATE_S and not self._is_late:
            self._is_late = True
            pid = self.info.backend_pid
            do = f"SELECT pg_blocking_pids({pid}) names the sessions that block it"
            log.warning("a statement waits", backend=pid, do=do)


class _MainLoopConnection(_Patient):
    """While a statement waits, report the process as alive but not ready."""

    def wait(self, gen: PQGen[Returned], *how: Any, **named: Any) -> Returned:
        returned = super().wait(gen, *how, **named)
        if VITALS.has_joined:
            VITALS.serves("postgresql")
        return returned

    def _note_silence(self, silent_s: float) -> None:
        super()._note_silence(silent_s)
        VITALS.turn()
        if silent_s > _LATE_S:
            VITALS.lost("postgresql")


class Silent(psycopg.OperationalError):
    """The server does not respond, although its socket is open."""


def _give_up(silent_s: float) -> None:
    if silent_s > _SILENCE_S:
        raise Silent(f"the server was silent for {_SILENCE_S:g} s")


def watched(gen: PQGen[Returned], on_silence: Callable[[float], None]) -> Generator[Any, Any, Returned]:
    """Run psycopg's wait. It yields several times a second without data; measure the silence, in seconds."""
    last_s = time.monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                last_s = time.monotonic()
            else:
                on_silence(time.monotonic() - last_s)
            wanted = gen.send(ready)
    except StopIteration as e:
        returned: Returned = e.value
        return returned


def connect(
    url: str, *, name: str, impatient: bool = False, main_loop: bool = False, by_keys: bool = False
) -> Connection:
    """Open an autocommit connection.

    Raises ServerAway if no server answers, SetupError if it refuses us, UsageError if the address is wrong. impatient:
    for code that must not wait; statements fail after seconds if they wait for a lock (`is_busy`) or for a hanging
    server. main_loop: only the process's main loop uses it, and it may wait. by_keys: use indexes, never a scan of a
    whole table.
    """
    kind = _Impatient if impatient else _MainLoopConnection if main_loop else _Patient
    impatience, keys = [_IMPATIENT_OPTIONS] * impatient, [_BY_KEYS_OPTIONS] * by_keys
    try:
        connection = kind.connect(url, **arguments(url, name=name, more=[*impatience, *keys]))
        ensure_forms(connection)
    except psycopg.OperationalError as e:
        raise _unserved(address(url), _reasons(e)) from e
    except psycopg.ProgrammingError as e:  # its text holds the address with the password
        raise UsageError(
            f"the database address cannot be read{_wrong_name(url, str(e))}: "
            "postgresql://USER:PASSWORD@HOST:PORT/NAME is one"
        ) from e
    return connection


def arguments(url: str, *, name: str, more: Iterable[str] = ()) -> dict[str, Any]:
    """Return the parameters of each of our connections, except its address. more: options of the server's session."""
    options = " ".join([_OPTIONS, *more])
    return {"autocommit": True, "application_name": name, "options": options, **_KEEPALIVES, **_defaults_for(url)}


def ensure_forms(connection: psycopg.Connection[Row]) -> None:
    """Set the forms of dates and times, if the variables PGTZ or PGDATESTYLE of this process overruled our options.

    It costs no question to the server: it reports these settings when it accepts a connection.
    """
    for name, value in _FORMS.items():
        if connection.info.parameter_status(name) != value:
            connection.execute(f"SET {name} = {value}")  # a constant text


def _wrong_name(url: str, said: str) -> str:
    """Return libpq's words if they only name an option. A password with a `?`, `&` or blank must not be shown."""
    named = _WRONG_NAME.search(said)
    if named is None:
        return ""
    before = re.split(rf"\b{named[1]}\s*=", url.rpartition("@")[2], maxsplit=1)[0]
    return f" ({said.strip()})" if before != url.rpartition("@")[2] and "password" not in before else ""


def _defaults_for(url: str) -> dict[str, Any]:
    """Return options that the URL leaves out. Of several servers we need a writable one, not a standby."""
    said = conninfo_to_dict(url)
    several = "," in str(said.get("host") or said.get("hostaddr"))
    ours: dict[str, Any] = {"connect_timeout": _CONNECT_TIMEOUT_S}  # of each server
    ours |= {"target_session_attrs": "read-write"} if several else {}
    return {name: value for name, value in ours.items() if name not in said}


def _reasons(error: psycopg.Error) -> list[str]:
    """Return why each address failed, one line each, without the hints on later lines."""
    lines = str(error).strip().splitlines()
    each = [_ATTEMPT.sub("", line) for line in lines if _ATTEMPT.match(line)]
    return [_PREFIX.sub("", line) for line in dict.fromkeys(each or lines[:1])]


def _unserved(where: str, reasons: Sequence[str]) -> UsageError | SetupError | ServerAway:
    """Make the error when every server failed. A refusal is reported before an unreachable server."""
    for reason in reasons:
        if advised := tls.advised(reason, "postgresql"):
            others = "; ".join(other for other in reasons if other != reason)
            return TlsRefused(f"PostgreSQL at {where}: {advised}{f'; {others}' if others else ''}", "postgresql")
    message = f"PostgreSQL at {where}: {'; '.join(reasons)}"
    if any(_WRONG_VALUE.search(reason) for reason in reasons):
        return UsageError(message)
    if any(_NO_DATABASE.search(reason) for reason in reasons):
        return DatabaseGone(message, "postgresql")
    if _REFUSED.search(message):
        do = "give role and password in DATABASE_URL, or as TICKSTOCK_DB_USER and TICKSTOCK_DB_PASSWORD"
        return SetupError(f"{message}: {do}")
    return ServerAway(message, "postgresql")


def address(url: str) -> str:
    """Return hosts, ports and database of a URL, without its secrets."""
    parts = conninfo_to_dict(url)
    hosts = str(parts.get("host") or parts.get("hostaddr") or "localhost").split(",")
    ports = str(parts.get("port") or 5432).split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)  # one for all
    places = (f"{host}:{port or 5432}" for host, port in zip(hosts, ports, strict=True))
    return f"{','.join(places)}/{parts.get('dbname', '')}"


class Database:
    """The connection through which a worker commits, or a bridge works."""

    def __init__(
        self, url: str, *, name: str, impatient: bool = False, main_loop: bool = False, by_keys: bool = False
    ) -> None:
        self.url = url
        self.name = name
        self._kind = {"impatient": impatient, "main_loop": main_loop, "by_keys": by_keys}
        self.connection = connect(url, name=name, **self._kind)
        self.backend = self._my_backend()

    def reopen(self) -> None:
        """Connect again, and end the lost connection's backend: its last statement must end before we read."""
        lost = self.backend
        self.close()
        self.connection = connect(self.url, name=self.name, **self._kind)
        self.backend = self._my_backend()
        values = {"pid": lost.pid, "backend_start": lost.started_at}
        if self.connection.execute(query("live_backend"), values).fetchone() == (True,):
            self.connection.execute(query("end_backend"), {"pid": lost.pid})

    def close(self) -> None:
        """Close the connection, in any state."""
        try:
            self.connection.close()
        except psycopg.Error:
            return  # the server has closed it already

    def _my_backend(self) -> Backend:
        row = self.connection.execute(query("my_backend")).fetchone()
        if row is None:
            raise SetupError("pg_stat_activity does not show our own connection")
        return Backend(*row)


def is_lost(connection: Connection, error: psycopg.Error) -> bool:
    """Tell whether the connection is lost, or the server cannot serve it; false if only a statement was refused."""
    state = error.sqlstate or ""
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:
        return True  # psycopg could not leave the pipeline of a failed transaction: it cannot be used again
    return connection.broken or connection.closed or state[:3] == "57P" or state[:2] in ("08", "53") or state == "25006"


def can_pass(error: psycopg.Error) -> bool:
    """Tell whether a running process should wait for this error to end: true for every answer of a server.

    A right, a table or disk space can be restored, and a restart of the process would not help. Other errors without an
    SQLSTATE are our mistakes, except DataError: a value in a table that Python cannot hold.
    """
    return error.sqlstate is not None or isinstance(error, psycopg.DataError)


def is_refused_row(error: psycopg.Error) -> bool:
    """Tell whether PostgreSQL refused what a statement writes: a value, a constraint, an exception of a trigger."""
    state = error.sqlstate or ""
    is_own = state[:1] in _NOT_STANDARD and state[:2] not in _OF_THE_SERVER
    return state[:2] in _OF_ROWS or (bool(state) and is_own) or isinstance(error, psycopg.DataError)


def is_unfit_table(error: psycopg.Error) -> bool:
    """Tell whether a table or a right is not what a statement needs: it is gone, renamed, a view, has a rule."""
    state = error.sqlstate or ""
    return state[:2] in _OF_TABLES or state == "55000"


def advice(error: psycopg.Error) -> str:
    """Return what a person can do about PostgreSQL's answer; "" if it is only away."""
    state = error.sqlstate or ""
    return next((do for code, do in _ADVICE.items() if state.startswith(code)), "")


def is_busy(error: psycopg.Error) -> bool:
    """Tell whether a statement of an impatient connection waited or ran too long; it may be tried again later."""
    return error.sqlstate in ("55P03", "57014")


def is_away(connection: Connection, error: psycopg.Error) -> bool:
    """Tell whether PostgreSQL did not serve us. A deadlock is not such a case: it was rolled back completely."""
    is_deadlock = (error.sqlstate or "").startswith("40")
    return is_lost(connection, error) or is_busy(error) or (can_pass(error) and not is_deadlock)
