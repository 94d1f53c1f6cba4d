"""A Redis client of a process. The library's own retries are off: they XADD twice and hide lost reads."""

import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from ..contracts.errors import ServerAway, SetupError, TlsRefused
from . import redis_commands, tls
from .redis_address import Host, RedisAddress, parse, shown
from .redis_cluster import Cluster, OnError, noting
from .redis_connection import bounded_parser, reporting_its_end

Client = redis_commands.Client  # one server, or a cluster as one
Node = redis_commands.Node  # one server

# The connection is lost, or the server cannot serve now: wait and restore. (Authentication errors are separate.)
AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)

# The library removes the code from errors that have a class of their own. EXECABORT: a command of the transaction was
# refused when queued, as writes are while memory is full.
_PAUSES = (
    OutOfMemoryError, ExecAbortError, ReadOnlyError, BusyLoadingError, MasterDownError, ClusterDownError,
    AskError, TryAgainError,  # a slot moves or has moved (MOVED): the next try finds it
)  # fmt: skip

_OPTIONS: dict[str, Any] = {
    "protocol": 2,
    "retry": Retry(NoBackoff(), 0),
    "socket_connect_timeout": 5.0,
    "driver_info": None,  # CLIENT SETINFO: no user has the right, and the server would log each refusal
}
_MODE_URL = {"cluster": "redis+cluster", "sentinel": "redis+sentinel"}  # from the server's INFO
_EXHAUSTED = "exhausted the last possible ID"
_SENTINEL_REASON = re.compile("«(.*?)»")
_ADVICE = {  # by words of its answer
    "MISCONF": "it cannot write to its disk: make room there, or check its log",
    "BUSY Redis": "a script runs for too long: SCRIPT KILL ends it",
    "NOREPLICAS": "too few replicas are connected: check them, or min-replicas-to-write",
    "READONLY": "it is a replica: address the master",
    "read only replica": "it is a replica: address the master",
    "unknown command": "a command is renamed or disabled in its configuration: allow it again",
    "CLUSTERDOWN": "slots of the cluster are not served: CLUSTER INFO and CLUSTER NODES name them",
    "WRONGTYPE": "a key holds another type: `tickstock doctor` names it",
}
# as lists: the library would make a dict of each entry, 3 times slower
_RAW_REPLIES = ("XREADGROUP", "XREAD", "XRANGE", "XPENDING", "XAUTOCLAIM")


def connect(url: str, *, timeout_s: float = 5.0, reply_bytes: int | None = None) -> Client:
    """Make a client without retries; timeout_s must exceed the longest BLOCK.

    reply_bytes: a larger reply raises ReplyTooLarge, and nothing of it is returned. Raises UsageError for a wrong URL,
    SetupError for a wrong file in it.
    """
    where = parse(url)
    tls.check_redis_options(url)
    options = _OPTIONS | {"socket_timeout": timeout_s} | where.options
    if reply_bytes is not None:
        options["parser_class"] = bounded_parser(reply_bytes)
    if where.kind == "sentinel":
        return _raw(_master(where, options))
    options["connection_class"] = reporting_its_end(options.get("connection_class", Connection))
    if where.kind == "cluster":
        # The library's clients have an abstract attribute.
        cluster = Cluster(where.hosts, lambda host, on_error: _raw(_node(host, options, on_error)))  # type: ignore[abstract]
        return cast("Client", cluster)
    return _raw(redis.Redis.from_pool(ConnectionPool(**options)))


def _node(host: Host, options: dict[str, Any], on_error: OnError) -> redis.Redis:
    connection_class = noting(options["connection_class"], on_error)
    pool = ConnectionPool(**options | {"connection_class": connection_class, "host": host[0], "port": host[1]})
    return redis.Redis.from_pool(pool)


def _master(where: RedisAddress, options: dict[str, Any]) -> redis.Redis:
    """Make a client of the master that the Sentinels name; each new connection asks them again."""
    options = dict(options)
    secured = {"ssl": True} if options.pop("connection_class", None) is SSLConnection else {}
    secured |= {name: value for name, value in options.items() if name.startswith("ssl_")} if secured else {}
    login = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    asked = _OPTIONS | {"socket_timeout": 1.0, "socket_connect_timeout": 1.0} | secured | login
    sentinel = Sentinel(where.hosts, sentinel_kwargs=asked)
    sentinel.sentinels = [_OneSentinel(host, port, **asked) for host, port in where.hosts]
    managed = reporting_its_end(SentinelManagedSSLConnection if secured else SentinelManagedConnection)
    master: redis.Redis = sentinel.master_for(where.master, **options | secured | {"connection_class": managed})
    return master


class _OneSentinel(redis.Redis):
    """Treat a Sentinel that answers with an error as unreachable; otherwise the library does not ask the next one."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command."""
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except (ResponseError, RedisConnectionError, RedisTimeoutError) as e:
            raise _SentinelSays(str(e)) from e


class _SentinelSays(RedisConnectionError):
    """Show the reason in the library's collected errors, which otherwise show only the class."""

    def __repr__(self) -> str:
        return f"«{self}»"


def _raw(client: redis.Redis) -> Node:
    """Make the library return some replies as the server sent them.

    Our type Node says more than the library's own types.
    """
    for command in _RAW_REPLIES:
        client.response_callbacks.pop(command, None)
    return cast("Node", client)


def node_of(client: Client, key: str) -> Node:
    """Return the client of the one server that holds a key; in a cluster, of that node."""
    return cast("Node", client.node_of(key) if isinstance(client, Cluster) else client)


def is_cluster(client: Client) -> bool:
    """Tell whether one command cannot use keys of two partitions."""
    return isinstance(client, Cluster)


def masters(client: Client) -> list[Node]:
    """Return a client of each server that accepts writes: one, or the masters of a cluster."""
    return client.masters() if isinstance(client, Cluster) else [cast("Node", client)]


def check(client: Client, url: str) -> None:
    """Raise ServerAway if no Redis answers, SetupError if it is not usable."""
    mode = answer_of(url, lambda: _mode(client.info("server")))
    if (mode == "cluster") != is_cluster(client) or mode == "sentinel":
        raise SetupError(
            f"Redis at {address(url)} is a {mode} server: {_MODE_URL.get(mode, 'redis')}:// is its address"
        )
    policy = eviction_policy(client, url)
    if policy != "noeviction":
        raise SetupError(
            f"Redis at {address(url)} has maxmemory-policy {policy}, which may delete whole streams: "
            "set `maxmemory-policy noeviction`"
        )


def _mode(server: dict[str, Any]) -> str:
    """Return standalone, cluster or sentinel: Valkey and Redis name it differently."""
    return str(server.get("server_mode") or server.get("redis_mode") or "standalone")


def eviction_policy(client: Client, url: str) -> str:
    """Return Redis's policy for full memory; in a cluster, the worst policy of a node.

    Raises ServerAway, or SetupError if it refuses us.
    """
    return answer_of(
        url, lambda: _worst(str(node.info("memory").get("maxmemory_policy", "noeviction")) for node in masters(client))
    )


def answer_of(url: str, ask: Callable[[], str]) -> str:
    """Return a server's answer. Raises ServerAway if it is away, TlsRefused, SetupError if it refuses us."""
    try:
        return ask()
    except AuthenticationError as e:
        do = "give user and password in REDIS_URL, or as REDIS_USER and REDIS_PASSWORD"
        raise SetupError(f"Redis at {address(url)}: {str(e).rstrip('.')}: {do}") from e
    except AWAY as e:
        if why := tls.refused_by_redis(url, str(e)):
            raise TlsRefused(f"Redis at {address(url)}: {why}", "redis") from e
        if isinstance(e, MasterNotFoundError):
            raise ServerAway(_without_master(url, str(e)), "redis") from e
        raise ServerAway(f"Redis at {address(url)}: {e}{tls.hint(url, str(e))}", "redis") from e
    except ResponseError as e:
        if is_pause(e):
            raise ServerAway(f"Redis at {address(url)}: {e}", "redis") from e
        raise SetupError(f"Redis at {address(url)}: {e}") from e


def _without_master(url: str, said: str) -> str:
    """Make the message that no Sentinel knows the master, with each reason, without the library's own words."""
    reasons = "; ".join(dict.fromkeys(_SENTINEL_REASON.findall(said)))
    message = f"no Sentinel of {address(url).replace(',', ', ')} names a master `{parse(url).master}`"
    return f"{message}: {reasons}" if reasons else f"{message}: none of them watches it"


def _worst(policies: Iterable[str]) -> str:
    return next((policy for policy in policies if policy != "noeviction"), "noeviction")


def has_aof(client: Client) -> bool:
    """Tell whether every server writes an append-only file."""
    return all(node.info("persistence").get("aof_enabled") for node in masters(client))


def is_pause(error: Exception) -> bool:
    """Tell whether a server cannot do it now: memory or disk full, fail-over, a script, no id left."""
    return (
        isinstance(error, _PAUSES)
        or any(code in str(error) for code in ("MISCONF", "NOREPLICAS", "BUSY Redis"))
        or is_exhausted(error)
    )


def is_exhausted(error: Exception) -> bool:
    """Tell whether a stream has no id left, because a sender chose the largest: a worker will give it new ids."""
    return _EXHAUSTED in str(error)


def is_foreign(error: object) -> bool:
    """Tell whether one of our keys has the wrong type because another program wrote it."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def advice(error: Exception) -> str:
    """Return what a person can do about Redis's answer; "" if it is only away."""
    return next((do for words, do in _ADVICE.items() if words in str(error)), "")


def can_pass(error: Exception) -> bool:
    """Tell whether a running process should wait for this error to end: true for all but a missing right.

    SCRIPT KILL, DEL or CONFIG SET can end it; a restart of the process would not help.
    """
    return isinstance(error, AWAY) or (isinstance(error, ResponseError) and not is_refused(error))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether Redis refused a write because its memory is full; reads, acks and trims still work."""
    return isinstance(error, OutOfMemoryError)


def is_refused(error: Exception) -> bool:
    """Tell whether our user lacks a right. The server words this differently for a command in a script."""
    in_script = ("ACL failure in script", "The user executing the script")
    return isinstance(error, NoPermissionError) or any(words in str(error) for words in in_script)


def is_gone(error: Exception) -> bool:
    """Tell whether the group or its stream is missing. The text differs by command and by server."""
    return any(words in str(error) for words in ("NOGROUP", "UNBLOCKED", "no such key", "requires the key to exist"))


def address(url: str) -> str:
    """Return hosts and ports of a URL, without its secrets."""
    return shown(url)


def make_group(client: Client, key: str, group: str) -> None:
    """Make a consumer group, and its stream, at its start (never at `$`, which skips existing entries)."""
    try:
        client.xgroup_create(key, group, id="0", mkstream=True)
    except ResponseError as e:
        if not str(e).startswith("BUSYGROUP"):
            raise


def memory_share(client: Client) -> float:
    """Return the used part of `maxmemory`, 0..1, of the fullest server; 0 if unlimited."""
    return _share(fullest_memory(client))


def fullest_memory(client: Client) -> tuple[int, int]:
    """Return the bytes used and `maxmemory` (0: unlimited) of the fullest server."""
    memories = [node.info("memory") for node in masters(client)]
    return max(((m["used_memory"], m.get("maxmemory") or 0) for m in memories), key=lambda m: (_share(m), m))


def _share(memory: tuple[int, int]) -> float:
    used, most = memory
    return used / most if most else 0.0


def redis_ms(client: Client) -> int:
    """Return Redis TIME in Unix milliseconds, the clock of all arrivals; in a cluster, one node's."""
    return ms_of_time(client.time())


def ms_of_time(reply: tuple[int, int]) -> int:
    """Convert an answer to TIME, also of a pipeline."""
    seconds, micros = reply
    return int(seconds) * 1000 + int(micros) // 1000
