"""Clocks, waits and chance. They are passed in, so that tests and simulations can replace them.

workers/ and producer/ take time and chance only from here (ruff's banned-api in pyproject.toml). Waiting for a server
is not part of it: a blocking read of Redis, a NOTIFY, a socket's timeout.
"""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid4


class Waitable(Protocol):
    """An event that ends a wait early: a stop, a closed thread, a message."""

    def wait(self, seconds: float, /) -> bool:
        """Wait up to `seconds`; return whether the event happened."""


@dataclass(frozen=True, slots=True)
class World:
    """The clocks, waits and random numbers of a part of the program. `dataclasses.replace` makes another one.

    monotonic_ns: never goes back; its zero means nothing. unix_ns: the host's clock, for messages and spans only:
    decisions use Redis's or PostgreSQL's clock. cpu_s: processor time of this process. wait: wait for an event, for a
    limited time; returns whether it happened. uniform: a random number between two. random_bits: this number of
    unpredictable bits.
    """

    monotonic_ns: Callable[[], int]
    unix_ns: Callable[[], int]
    cpu_s: Callable[[], float]
    sleep: Callable[[float], None]
    wait: Callable[[Waitable, float], bool]
    uniform: Callable[[float, float], float]
    random_bits: Callable[[int], int]
    uuid: Callable[[], UUID]

    def monotonic_s(self) -> float:
        """Return the monotonic clock in seconds."""
        return self.monotonic_ns() / 1e9

    def utc_now(self) -> datetime:
        """Return the host's time of day, UTC."""
        return datetime.fromtimestamp(self.unix_ns() / 1e9, UTC)

    def token(self) -> int:
        """Return a token of 63 random bits: counters would repeat after a fail-over of the database."""
        return self.random_bits(63)


REAL = World(
    monotonic_ns=time.monotonic_ns,
    unix_ns=time.time_ns,
    cpu_s=time.process_time,
    sleep=time.sleep,
    wait=lambda event, seconds: event.wait(seconds),
    uniform=random.uniform,
    random_bits=secrets.randbits,
    uuid=uuid4,
)
