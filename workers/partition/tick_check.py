"""Which ticks may change a bar: checks their time against arrival, and the limits of the database's columns. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ...contracts.bounds import HELD_BYTES
from ...contracts.names import REPAIR_FEED
from ...contracts.partition import ms_of
from ...contracts.spellings.original import originals
from ...contracts.spellings.tick_values import is_too_small
from ...contracts.ticks import (
    MAX_PRICE,
    MAX_SIZE,
    MAX_TRADE_COUNT,
    MAX_TS_NS,
    MIN_TS_NS,
    REPEATED,
    Column,
    Mask,
    Refused,
    Ticks,
)
from .frame_order import Arrival

MS_NS = 1_000_000
LATENESS_MS = 500  # time that a live bar stays open after its end
MAX_FUTURE_S = 900.0  # how far a tick's time may be ahead of its arrival

REVISION_WINDOW_NS = 15 * 60 * 1_000_000_000  # a live tick that is older at its arrival is refused as too late


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of accepted ticks: those of the columns of ohlcv_1min. Prices in dollars, sizes in shares."""

    lateness_ns: int = LATENESS_MS * MS_NS
    max_future_ns: int = int(MAX_FUTURE_S * 1000) * MS_NS
    min_price: float = 0.0000005  # less is stored as 0
    max_price: float = MAX_PRICE
    max_size: float = MAX_SIZE
    held_bytes: int = HELD_BYTES  # of the frames that wait behind missing ones in one partition
    partitions: int | None = None  # of the stream; None: every symbol is accepted in this partition


class Checked(NamedTuple):
    """The ticks that may change a bar, the refused ones, and counts of those that are dropped without a dead letter."""

    ticks: Ticks
    quote_or_zero: int
    refused: list[Refused]
    repeated: int = 0


class RowArrivals(NamedTuple):
    """When rows were born and when they arrived, in Unix ns by Redis's clock; neither is later than their read.

    born_ns: 0 for rows that are never too late. arrived_ns: the later of birth and entry id.
    """

    born_ns: Column
    arrived_ns: Column


def row_arrivals(arrivals: Sequence[Arrival], batches: Sequence[Ticks]) -> RowArrivals | None:
    """Return the arrival of each row of some frames; None for a replay, whose ticks may have any time."""
    if arrivals[0].frame.is_replay:
        return None
    lengths = [len(batch) for batch in batches]
    arrived_ns = np.repeat([a.arrived_ms * MS_NS for a in arrivals], lengths)
    delay_ns = np.repeat([a.frame.delay_ms * MS_NS for a in arrivals], lengths)
    born = [
        np.minimum(ms_of(batch.optional["row_id"]), arrival.born_ms)
        if "row_id" in batch.optional
        else np.full(len(batch), arrival.born_ms)
        for arrival, batch in zip(arrivals, batches, strict=True)
    ]
    born_ns = np.concatenate(born) * MS_NS
    is_repair = arrivals[0].frame.feed == REPAIR_FEED  # fetched for what was missed, perhaps hours ago
    return RowArrivals(np.zeros_like(born_ns) if is_repair else born_ns - delay_ns, arrived_ns)


def check(ticks: Ticks, arrivals: RowArrivals | None, limits: Limits) -> Checked:
    """Split ticks into good and refused ones. Only live ticks have arrivals, and are compared with them."""
    zero, repeated = ticks.size == 0, np.zeros(len(ticks), bool)
    if "flags" in ticks.optional:
        zero |= ticks.optional["flags"] == 0
        repeated = ticks.optional["flags"] == REPEATED
    good = ~(zero | repeated)
    refused: list[Refused] = []
    for reason, detail, bad in _problems(ticks, arrivals, limits):
        mask = bad & good
        if mask.any():
            refused += [Refused(reason, detail, original) for original in originals(ticks.take(mask))]
            good &= ~mask
    kept = ticks if good.all() else ticks.take(good)
    return Checked(widened(kept), int(zero.sum()), refused, int(repeated.sum()))


def widened(ticks: Ticks) -> Ticks:
    """Extend the high and low of aggregates to their open and close, as the readers of JSON aggregates do."""
    given = ticks.optional
    if not {"open", "high", "low"} & given.keys():
        return ticks
    first, close = given.get("open", ticks.price), ticks.price
    high, low = np.maximum(given.get("high", close), close), np.minimum(given.get("low", close), close)
    extremes = {"high": np.maximum(high, first), "low": np.minimum(low, first)}
    return replace(ticks, optional={**given, **extremes})


def may_count(ticks: Ticks, arrivals: RowArrivals, limits: Limits) -> Mask:
    """Return a mask of the ticks that would not be refused."""
    good = np.ones(len(ticks), bool)
    for _, _, bad in _problems(ticks, arrivals, limits):
        good &= ~bad
    return good


def _problems(ticks: Ticks, arrivals: RowArrivals | None, limits: Limits) -> Iterator[tuple[str, str, Mask]]:
    """Yield reason, detail, and the ticks with this problem."""
    for name in ("price", "open", "high", "low", "vwap"):
        column = ticks.price if name == "price" else ticks.optional.get(name)
        if column is not None:  # NaN compares false, and so is refused
            bad = ~((column >= limits.min_price) & (column < limits.max_price))
            yield "price", f"{name} is not a price that the table's columns hold", bad
    yield "size", "more than the table's column holds", ~((ticks.size >= 0) & (ticks.size < limits.max_size))
    yield "size", "below half a millionth of a share: it would count as 0", is_too_small(ticks.size)
    if (count := ticks.optional.get("trade_count")) is not None:
        yield (
            "size",
            "trade_count is more than its column holds, or negative",
            (count < 0) | (count >= MAX_TRADE_COUNT),
        )
    yield "timestamp", "outside 1990-2100", (ticks.ts < MIN_TS_NS) | (ticks.ts >= MAX_TS_NS)
    if arrivals is not None:
        yield "future", "later than its arrival allows", ticks.ts > arrivals.arrived_ns + limits.max_future_ns
        too_late = ticks.ts < arrivals.born_ns - REVISION_WINDOW_NS
        yield "too_late", "more than 15 minutes before its arrival", too_late
