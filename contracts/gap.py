"""Market time in which ticks may be missing. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

# How a source reports ticks that it may have missed: first and last ms of market time, symbols (None: all), why.
OnGap = Callable[[int, int, Sequence[str] | None, str], None]


class Gap(NamedTuple):
    """Market time in which a feed may have lost ticks.

    first_ms, last_ms: Unix ms; the minutes of both belong to the gap. symbols: None for every symbol (of `partition`,
    if given). why: a short fixed phrase: adjacent gaps with the same reason are merged. lost_ticks: None if not
    counted.
    """

    feed: str
    first_ms: int
    last_ms: int
    why: str
    symbols: tuple[str, ...] | None = None
    partition: int | None = None
    lost_ticks: int | None = None


class Hole(NamedTuple):
    """Missing frames of a live producer that a worker counted as lost.

    first_ms, last_ms: market time (Unix ms) of the ticks before and after them. ticks: how many ticks are lost.
    """

    feed: str
    partition: int
    first_ms: int
    last_ms: int
    producer: str
    ticks: int
