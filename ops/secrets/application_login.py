"""A Redis proxy for programs without a password: it logs each connection in as `application` and forwards it.

So they have exactly that user's rights. Redis's own user `default` must stay without login but with all rights, because
a restart of Redis loads its append-only file as that user (ops/secrets/redis_acl.py).
"""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import structlog

from ...contracts.errors import UsageError

log = structlog.get_logger()

_CHUNK_BYTES = 64 << 10
_MOST_CONNECTIONS = 500  # the application's pools have some tens of connections
_LOGIN_WITHIN_S = 5.0
_OK = b"+OK\r\n"


class Upstream(NamedTuple):
    """The address of Redis, and the login."""

    host: str
    port: int
    user: str
    password: str


def upstream_of(url: str) -> Upstream:
    """Parse Redis's address. Raises UsageError unless it is one server without TLS, with a password."""
    parts = urlsplit(url)
    if parts.scheme != "redis" or not parts.hostname:
        raise UsageError("an address redis://USER:PASSWORD@HOST:PORT is needed: one server, without TLS")
    if not parts.password:
        raise UsageError("the address of Redis has no password: a login needs one")
    user = unquote(parts.username or "application")
    return Upstream(parts.hostname, parts.port or 6379, user, unquote(parts.password))


async def serve(host: str, port: int, upstream: Upstream, *, listening: Callable[[int], None]) -> None:
    """Forward connections until SIGTERM or SIGINT. listening: called with the port. Raises OSError if it is in use."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    open_now: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = loop.create_task(_pass_on(reader, writer, upstream, full=len(open_now) >= _MOST_CONNECTIONS))
        open_now.add(task)
        task.add_done_callback(open_now.discard)

    server = await asyncio.start_server(accept, host, port)
    listening(server.sockets[0].getsockname()[1])
    await stop.wait()
    server.close()
    for task in open_now:
        task.cancel()
    await asyncio.gather(*open_now, return_exceptions=True)


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream, *, full: bool
) -> None:
    with closing(writer), suppress(OSError):
        if full:
            writer.write(b"-ERR max number of clients reached\r\n")
            return
        try:
            async with asyncio.timeout(_LOGIN_WITHIN_S):
                from_redis, to_redis = await _logged_in(upstream)
        except (OSError, TimeoutError, UsageError) as e:
            log.warning("no login for the application", why=str(e) or type(e).__name__)
            writer.write(b"-ERR login to Redis failed: see the log of tickstock application-login\r\n")
            return
        with closing(to_redis):
            _keep_alive(writer)
            ways = {asyncio.create_task(_pump(reader, to_redis)), asyncio.create_task(_pump(from_redis, writer))}
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)


async def _logged_in(upstream: Upstream) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    words = [b"AUTH", upstream.user.encode(), upstream.password.encode()]
    writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
    answer = await reader.readline()
    if answer != _OK:
        writer.close()
        raise UsageError(f"Redis refuses the login of {upstream.user}: {answer.decode(errors='replace').strip()}")
    return reader, writer


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()  # wait for a slow reader; Redis disconnects it by its own limits


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
