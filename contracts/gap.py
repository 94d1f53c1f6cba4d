"""Market time in which ticks may be missing, as who finds it hands it on. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

# How a source reports ticks that it may have missed: first and last ms of market time, symbols (None: all), why.
OnGap = Callable[[int, int, Sequence[str] | None, str], None]


class Gap(NamedTuple):
    """Market time in which a feed may have lost ticks.

    first_ms, last_ms: Unix ms; their minutes are both part of it. symbols: None for every symbol, perhaps of one
    partition only. why: a short fixed phrase: gaps that touch and have the same reason become one. lost_ticks: where
    somebody counted them.
    """

    feed: str
    first_ms: int
    last_ms: int
    why: str
    symbols: tuple[str, ...] | None = None
    partition: int | None = None
    lost_ticks: int | None = None


class Hole(NamedTuple):
    """Numbers of a live producer that a worker gave up.

    first_ms, last_ms: market time, in Unix ms, of the ticks before and behind it. ticks: how many numbers are lost.
    """

    feed: str
    partition: int
    first_ms: int
    last_ms: int
    producer: str
    ticks: int
