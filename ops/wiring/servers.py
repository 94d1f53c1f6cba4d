"""The addresses of the servers, and connections to them."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import psycopg
import structlog
from redis.exceptions import ResponseError
from tenacity import RetryCallState, retry, retry_if_exception, stop_after_delay, wait_random_exponential

from ...contracts.errors import DatabaseGone, ServerAway, TlsRefused, UsageError
from ...contracts.fleet.fleet_rules import DROPS, GRANT
from ...contracts.names import GROUP, stream_key
from ...contracts.redis_rights import RIGHTS, Role
from ...contracts.settings import Servers, servers_from
from ...db import redis
from ...db.look.redis_losses import read_forgotten
from ...db.look.redis_replay import PRINT_AGAIN, UNKNOWN, replay_of
from ...db.postgres import Connection, connect
from ...db.redis import Client
from ...db.schema.migrate import check_schema, migrate, open_stream
from ..embedded.servers import default_data_dir, embedded_servers, servers_to_look_at
from ..secrets.files import with_secrets
from .redis_refusals import refusals_named, require_rights

log = structlog.get_logger()

T = TypeVar("T")

# For the embedded PostgreSQL: a program that has taken its port while it is down could ask for the password in clear
# text, and libpq would send it.
REQUIRE_SCRAM = "?require_auth=scram-sha-256"


class Place(NamedTuple):
    """The servers, and how long to wait for them at the start."""

    servers: Servers
    embedded: bool
    connect_timeout_s: float
    data_dir: Path | None = None  # of the embedded servers

    def options(self) -> list[str]:
        """Return options for another command to use the same servers; outside addresses are in the environment."""
        return ["--data-dir", str(self.data_dir)] if self.data_dir else ["--embedded", "never"]


@contextmanager
def place(
    data_dir: Path | None,
    *,
    embedded: bool,
    connect_timeout_s: float,
    subfolder: str | None = None,
    to_look: bool = False,
) -> Iterator[Place]:
    """Find the servers: those in the environment, else the embedded ones of a data folder, started if necessary.

    to_look: also return running embedded servers that do not answer. Raises UsageError, SetupError.
    """
    outside = servers_from(with_secrets(os.environ))
    if outside or not embedded:
        if outside is None:
            raise UsageError("no server is set: set REDIS_URL and DATABASE_URL, or leave out --embedded never")
        with refusals_named(outside.redis_url, "operator"):
            yield Place(outside, embedded=False, connect_timeout_s=connect_timeout_s)
        return
    folder = data_dir or default_data_dir()
    if subfolder:
        folder /= subfolder
    with (servers_to_look_at if to_look else embedded_servers)(folder, log=log.info) as servers:
        safe = Servers(servers.redis_url, servers.database_url + REQUIRE_SCRAM)
        yield Place(safe, embedded=True, connect_timeout_s=connect_timeout_s, data_dir=folder)


def wait_for_server(what: Callable[[], T], timeout_s: float) -> T:
    """Retry until a server answers completely; log once which one is away, and why. Raises ServerAway."""

    def attempt() -> T:
        try:
            return what()
        except (psycopg.OperationalError, ResponseError, *redis.AWAY) as e:  # it went away in between
            if isinstance(e, ResponseError) and not redis.is_pause(e):
                raise
            raise ServerAway(str(e).strip(), "postgresql" if isinstance(e, psycopg.Error) else "redis") from e

    def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number == 1 and isinstance(error, ServerAway):
            log.warning("waiting for a server", server=error.server, why=str(error), seconds=timeout_s)

    retrying = retry(
        retry=retry_if_exception(lambda e: isinstance(e, ServerAway) and not isinstance(e, DatabaseGone | TlsRefused)),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        stop=stop_after_delay(timeout_s),
        before_sleep=say,
        reraise=True,
    )
    return retrying(attempt)()


def open_postgres(where: Place, *, name: str) -> Connection:
    """Connect to PostgreSQL, waiting for it; migrate the embedded one."""

    def opened() -> Connection:
        connection = connect(where.servers.database_url, name=name)
        if where.embedded:
            migrate(connection)
        return connection

    return wait_for_server(opened, where.connect_timeout_s)


def with_postgres(where: Place, name: str, ask: Callable[[Connection], T]) -> T:
    """Connect and call `ask`; if the server goes away in between, wait and call it again."""

    def asked() -> T:
        with closing(open_postgres(where._replace(connect_timeout_s=0), name=name)) as connection:
            return ask(connection)

    return wait_for_server(asked, where.connect_timeout_s)


def open_redis(where: Place, role: Role = "operator") -> Client:
    """Make a Redis client, waiting for its server. Raises SetupError if it is unusable, or not usable in this role."""
    client = redis.connect(where.servers.redis_url)

    def has_aof() -> bool:
        redis.check(client, where.servers.redis_url)
        return redis.has_aof(client)

    persists = wait_for_server(has_aof, where.connect_timeout_s)
    wait_for_server(lambda: require_rights(client, where.servers.redis_url, role), where.connect_timeout_s)
    if not persists:
        log.warning("Redis has no AOF: uncommitted frames are lost when it stops", do="appendonly yes")
    if RIGHTS[role].courtesies:  # other roles would only fill the server's ACL LOG
        wait_for_server(lambda: _warn_of_replay(client), where.connect_timeout_s)
    return client


def _warn_of_replay(client: Client) -> None:
    """Warn if a restart of Redis would lose data, or if our user may not check it."""
    replays = {replay_of(node) for node in redis.masters(client)}
    if "drops" in replays:
        log.error("Redis would lose data at its next start", why=DROPS, do=GRANT)
    elif "unknown" in replays:
        log.warning("Redis may lose data at its next start", why=UNKNOWN, do=PRINT_AGAIN)


def open_redis_to_look(where: Place) -> Client:
    """Make a Redis client for reading, waiting for its server; settings are not checked."""
    client = redis.connect(where.servers.redis_url)
    wait_for_server(lambda: redis.eviction_policy(client, where.servers.redis_url), where.connect_timeout_s)
    return client


def open_both(where: Place, *, partitions: int | None, role: Role = "producer") -> tuple[Client, int]:
    """Check both servers and the schema; return a client, and the partition count."""
    # Imported here, because it loads TA-Lib, which a read-only command does not need.
    from ...workers.detect.definitions import seed_definitions  # noqa: PLC0415

    def check_and_open_stream() -> int:
        with closing(open_postgres(where, name="tickstock")) as connection:
            check_schema(connection)
            seed_definitions(connection)
            return open_stream(connection, partitions)

    count = wait_for_server(check_and_open_stream, where.connect_timeout_s)
    client = open_redis(where, role)
    if role == "worker":  # this role may read everything, and does the restoring
        wait_for_server(lambda: _say_what_is_forgotten(where, client), where.connect_timeout_s)
    wait_for_server(lambda: _make_groups(client, count), where.connect_timeout_s)
    return client, count


def _say_what_is_forgotten(where: Place, client: Client) -> None:
    with closing(open_postgres(where, name="tickstock")) as connection:
        for one in read_forgotten(connection, client):
            log.warning("Redis lost data", what=one.says, do=one.do)


def _make_groups(client: Client, partitions: int) -> None:
    """Create the groups before a producer can fill the memory: a full Redis would refuse it, and no one could read."""
    for partition in range(partitions):
        try:
            redis.make_group(client, stream_key(partition), GROUP)
        except ResponseError as e:
            if redis.is_pause(e):
                return
            if not redis.is_foreign(e):  # the partition's users log it, and leave it out
                raise
