"""Redis connections that report their end to the next user, and connections with bounded replies."""

import socket
from typing import Any

from redis.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError


def reporting_its_end(connection_class: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return a connection class that reports once that the server closed the connection, even if it was idle.

    The library's pool replaces an ended connection silently: a process that was idle while Redis
    restarted, or was replaced by another server, would never restore.
    """

    class TellingItsEnd(connection_class):  # type: ignore[valid-type, misc]
        _end: Exception | None = None

        def can_read(self, *args: Any, **named: Any) -> bool:
            try:
                return bool(super().can_read(*args, **named))
            except (RedisConnectionError, RedisTimeoutError, OSError) as e:
                self._end = e
                raise

        def connect(self) -> None:
            end, self._end = self._end, None
            if end is not None:
                raise end
            super().connect()

    return TellingItsEnd


class ReplyTooLarge(RedisError):
    """Redis's reply is larger than this connection accepts: it is closed, the next command reopens it. Ask for less."""


class _BoundedSocket:
    """A socket that accepts a limited number of bytes of a reply."""

    def __init__(self, wrapped: socket.socket, most: int) -> None:
        self._wrapped = wrapped
        self._most = most
        self.taken = 0

    def recv_into(self, buffer: bytearray) -> int:
        count = self._wrapped.recv_into(buffer)
        self.taken += count
        if self.taken > self._most:
            raise ReplyTooLarge(f"a reply of more than {self._most} bytes")
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


def bounded_parser(most: int) -> type[Any]:
    """Return a parser that accepts `most` bytes of a reply, and closes the connection of a larger one."""

    class Bounded(DefaultParser):  # type: ignore[valid-type, misc]
        def on_connect(self, connection: Any, **named: Any) -> None:
            super().on_connect(connection, **named)
            self._bounded = _BoundedSocket(self._sock, most)
            self._sock: Any = self._bounded

        def read_response(self, *args: Any, **named: Any) -> Any:
            self._bounded.taken = 0
            return super().read_response(*args, **named)

    return Bounded
