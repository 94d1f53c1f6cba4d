"""Parse Redis's URL: one server, the master of some Sentinels, or a Cluster."""

from collections.abc import Mapping
from inspect import signature
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from redis import Redis
from redis.connection import SSLConnection, parse_url

from ..contracts.errors import UsageError

Host = tuple[str, int]
ServerKind = Literal["single", "sentinel", "cluster"]

_OPTIONS = {*signature(Redis.__init__).parameters, "connection_class", "path", "sentinel_username", "sentinel_password"}
_PORTS: Mapping[str, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_EXAMPLES = (
    "redis://:PASSWORD@HOST:PORT/0, rediss:// over TLS, redis+sentinel://:PASSWORD@HOST1:PORT,HOST2:PORT/MASTER/0 "
    "or redis+cluster://:PASSWORD@HOST1:PORT,HOST2:PORT"
)


class RedisAddress(NamedTuple):
    """A parsed URL. hosts: of the server, the Sentinels, or some nodes. options: of each connection, as in redis-py."""

    kind: ServerKind
    hosts: tuple[Host, ...]
    master: str  # its name at the Sentinels
    options: dict[str, Any]


def parse(url: str) -> RedisAddress:
    """Parse a URL: redis[s]://, redis[s]+sentinel:// with the master's name as its path, redis[s]+cluster://, unix://.

    Options of TLS, names and timeouts are in the query, as in redis-py. Raises UsageError.
    """
    scheme, _, kind = urlsplit(url).scheme.partition("+")
    try:
        if not kind:
            return RedisAddress("single", hosts_of(url), "", _checked(parse_url(url)))
        if kind == "sentinel":
            return _several(url, scheme, "sentinel")
        if kind == "cluster":
            return _several(url, scheme, "cluster")
    except ValueError as e:
        # The error's text may hold a part of the password.
        raise UsageError(f"the Redis address cannot be read: {_EXAMPLES}") from e
    raise UsageError(f"the Redis address cannot be read: {_EXAMPLES}")


def _several(url: str, scheme: str, kind: ServerKind) -> RedisAddress:
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    master, _, db = parts.path.strip("/").partition("/") if kind == "sentinel" else ("", "", "")
    if kind == "sentinel" and not master:
        raise UsageError(
            "the Redis address names no master: redis+sentinel://HOST1:PORT,HOST2:PORT/MASTER, as in `sentinel monitor`"
        )
    if kind == "cluster" and parts.path.strip("/") not in ("", "0"):
        raise UsageError("a Redis Cluster has one database, 0: leave the number out of the address")
    options = parse_url(f"{scheme}://{login}{at}host/{db}?{parts.query}")
    del options["host"]
    if db and not db.isdigit():
        raise UsageError(f"the Redis address has {db!r} after its master: the number of a database is needed")
    return RedisAddress(kind, hosts_of(url), master, _checked(options))


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Return the checked options of a connection.

    Raises UsageError; the library would fail only at the first command.
    """
    is_secured = options.get("connection_class") is SSLConnection
    for name in options:
        if name.startswith("ssl_") and not is_secured:
            raise UsageError(f"the Redis address has the option {name}, which is for rediss://")
        if name not in _OPTIONS:
            raise UsageError(f"the Redis address has an unknown option: {name}")
    return options


def hosts_of(url: str) -> tuple[Host, ...]:
    """Return hosts and ports of a URL; an empty result for a socket. Raises ValueError."""
    parts = urlsplit(url)
    kind = parts.scheme.partition("+")[2] or "single"
    hosts = parts.netloc.rpartition("@")[2]
    return tuple(_host(host, _PORTS.get(kind, 0)) for host in hosts.split(",") if host)


def _host(text: str, port: int) -> Host:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "", parts.port or port


def shown(url: str) -> str:
    """Return hosts and ports of a URL, without secrets; for a socket its path."""
    try:
        hosts = hosts_of(url)
    except ValueError:
        return "(unreadable)"
    return ",".join(f"{host}:{port}" for host, port in hosts) or urlsplit(url).path
