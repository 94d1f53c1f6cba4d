"""A connection to Redis whose end is always an error to whoever uses it next."""

from typing import Any

from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


def telling_its_end(connection_class: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return a connection class that tells once that the server has ended the connection, also where it lay idle.

    The library's pool looks at a connection before it hands it out, and opens another in silence where it has ended: so
    whoever did something else while Redis was started again, or another took its place, would never restore.
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
