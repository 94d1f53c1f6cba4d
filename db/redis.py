"""One Redis client of a process. The client library's own retries are off: they XADD twice and hide what was read."""

from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from ..contracts.errors import ServerAway, SetupError

Client = Any  # redis.Redis; its replies are untyped

# The connection is gone, or the server cannot serve now: wait and restore. (Authentication errors are their own.)
AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)

# The library takes the code off the text of those errors that it has a class for. EXECABORT: a command of the
# transaction was refused when it was queued, as all writes are while memory is full.
_PAUSES = (OutOfMemoryError, ExecAbortError, ReadOnlyError, BusyLoadingError, MasterDownError, ClusterDownError)

_RAW_REPLIES = ("XREADGROUP", "XREAD", "XRANGE", "XPENDING")  # the library turns each entry into a dict: 3 times slower


def connect(url: str, *, timeout_s: float = 5.0) -> Client:
    """Make a client without retries; timeout_s must be above the longest BLOCK."""
    try:
        client = redis.Redis.from_url(
            url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=timeout_s, socket_connect_timeout=5.0
        )
    except ValueError as e:
        # The error's text may hold a piece of the password.
        raise SetupError("the Redis address cannot be read: redis://:PASSWORD@HOST:PORT/0 is one") from e
    for command in _RAW_REPLIES:
        client.response_callbacks.pop(command, None)
    return client


def check(client: Client, url: str) -> None:
    """Raise ServerAway where no Redis answers, SetupError where it must not be used."""
    policy = eviction_policy(client, url)
    if policy != "noeviction":
        raise SetupError(
            f"Redis at {address(url)} has maxmemory-policy {policy}, which evicts whole streams in silence: "
            "set `maxmemory-policy noeviction`"
        )


def eviction_policy(client: Client, url: str) -> str:
    """Return what Redis does when its memory is full. Raises ServerAway, SetupError where it does not answer us."""
    try:
        return str(client.info("memory").get("maxmemory_policy", "noeviction"))
    except AuthenticationError as e:
        raise SetupError(f"Redis at {address(url)}: {e}") from e
    except AWAY as e:
        raise ServerAway(f"Redis at {address(url)}: {e}") from e
    except ResponseError as e:
        if is_pause(e):
            raise ServerAway(f"Redis at {address(url)}: {e}") from e
        raise SetupError(f"Redis at {address(url)}: {e}") from e


def is_pause(error: Exception) -> bool:
    """Tell a server that cannot write now (memory or disk full, fail-over) from one that refuses the command."""
    return isinstance(error, _PAUSES) or any(code in str(error) for code in ("MISCONF", "NOREPLICAS"))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether Redis refused a write for want of memory; reads, acks and trims work all the same."""
    return isinstance(error, OutOfMemoryError)


def is_gone(error: Exception) -> bool:
    """Tell that the group or its stream is gone: Redis and Valkey say it in different words."""
    return any(code in str(error) for code in ("NOGROUP", "UNBLOCKED"))


def address(url: str) -> str:
    """Return host and port of a URL, without its secrets."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path


def make_group(client: Client, key: str, group: str) -> None:
    """Make a consumer group, and its stream, at the start of it (never at `$`: what is there would be skipped)."""
    try:
        client.xgroup_create(key, group, id="0", mkstream=True)
    except ResponseError as e:
        if not str(e).startswith("BUSYGROUP"):
            raise


def memory_share(client: Client) -> float:
    """Return how much of `maxmemory` is used, 0..1; 0 where there is no limit."""
    memory = client.info("memory")
    return float(memory["used_memory"] / memory["maxmemory"]) if memory.get("maxmemory") else 0.0


def redis_ms(client: Client) -> int:
    """Return Redis TIME in Unix milliseconds: the one clock that arrivals are measured by."""
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000
