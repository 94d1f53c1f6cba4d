"""Gaps of live feeds in PostgreSQL: recorded when found, repaired when possible, closed."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ...contracts.bar import MINUTE_MS
from ...contracts.gap import Gap, Hole
from ...contracts.ticks import Column
from ..postgres import Connection
from ..queries import query
from .bars import time_bounds

MAX_ERROR_LENGTH = 200

_SYMBOLS_LOOK_BACK = 7 * 24 * 60  # minutes


class OpenGap(NamedTuple):
    """A gap to repair. first_minute, last_minute: minutes since 1970, both included."""

    id: int
    feed: str
    symbols: Sequence[str] | None
    partition: int | None
    first_minute: int
    last_minute: int
    why: str
    tried: int


class MissingMinutes(NamedTuple):
    """Minutes of a symbol, both included, that the vendor did not have."""

    symbol: str
    first_minute: int
    last_minute: int


def note_gap(connection: Connection, gap: Gap) -> None:
    """Record a gap in its own transaction, and mark bars that its feed wrote in it as partial.

    It extends an adjacent open gap of the same feed, symbols and reason.
    """
    (has_detail,) = connection.execute(query("has_bar_detail")).fetchone() or (False,)
    with connection.transaction():
        connection.execute(query("lock_gaps"))
        _note(connection, gap)
        _mark_bars(connection, gap, gap.symbols, has_detail=bool(has_detail))


def _note(connection: Connection, gap: Gap) -> None:
    first, last = sorted((gap.first_ms // MINUTE_MS, gap.last_ms // MINUTE_MS))
    values = {
        "feed": gap.feed,
        "symbols": None if gap.symbols is None else sorted(gap.symbols),
        "partition": gap.partition,
        "first": first,
        "last": last,
        "why": gap.why,
        "lost_ticks": gap.lost_ticks,
    }
    connection.execute(query("note_gap"), values)


def _mark_bars(connection: Connection, gap: Gap, symbols: Sequence[str] | None, *, has_detail: bool) -> None:
    first, last = sorted((gap.first_ms // MINUTE_MS, gap.last_ms // MINUTE_MS))
    values = {"feed": gap.feed, "symbols": None if symbols is None else list(symbols), "first": first, "last": last}
    name = "mark_partial_details" if has_detail else "mark_partial_bars"
    connection.execute(query(name), values, prepare=False)


def note_hole(connection: Connection, hole: Hole, symbols: Sequence[str], *, has_detail: bool) -> None:
    """Record lost ticks as a gap, inside the commit that counts them as lost, before its bars are written.

    symbols: of the partition. No other worker writes their bars: no lock is needed.
    """
    why = f"missing frames of {hole.producer}"
    gap = Gap(hole.feed, hole.first_ms, hole.last_ms, why, None, hole.partition, hole.ticks)
    _note(connection, gap)
    _mark_bars(connection, gap, symbols, has_detail=has_detail)


def hold_gaps(connection: Connection) -> None:
    """Allow no new gap until this transaction ends, so that `mark_staged` sees all of them."""
    connection.execute(query("gaps_stand"))


def mark_staged(connection: Connection, partitions: Sequence[int], minutes: Column) -> None:
    """Mark the staged live bars in a gap of their feed as partial; minutes: of all staged bars."""
    values = {"partitions": list(partitions)} | time_bounds(minutes)
    connection.execute(query("mark_partial_staged"), values)


class GapMinutes(NamedTuple):
    """Minutes of a feed, both included, in which ticks may be missing; symbols, partition: None for all."""

    feed: str
    symbols: Sequence[str] | None
    partition: int | None
    first_minute: int
    last_minute: int

    def has(self, feed: str, partition: int, symbol: str, minute: int) -> bool:
        """Return whether the gap contains a bar."""
        return (
            feed == self.feed
            and self.first_minute <= minute <= self.last_minute
            and self.partition in (None, partition)
            and (self.symbols is None or symbol in self.symbols)
        )


def gaps_between(connection: Connection, first: int, last: int) -> list[GapMinutes]:
    """Return the gaps of all feeds that touch some minutes, both included."""
    values = {"first": first, "last": last}
    return [GapMinutes(*row) for row in connection.execute(query("gaps_between"), values)]


def feeds_of_bars(connection: Connection, bars: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Return the feed that wrote each stored (symbol, minute)."""
    symbols, minutes = (list(column) for column in zip(*bars, strict=True)) if bars else ([], [])
    rows = connection.execute(query("feeds_of_bars"), {"symbols": symbols, "minutes": minutes})
    return {(symbol, minute): feed for symbol, minute, feed in rows}


def due_gaps(connection: Connection, feed: str, *, settle_s: float, count: int) -> list[OpenGap]:
    """Return gaps of a feed that are due. settle_s: seconds after the last minute until the vendor has its bars."""
    values = {"feed": feed, "settle_s": settle_s, "count": count}
    return [OpenGap(*row) for row in connection.execute(query("due_gaps"), values)]


def unrepaired_gaps(connection: Connection, feed: str, *, settle_s: float) -> list[OpenGap]:
    """Return every gap of a feed that is over and not fully repaired, oldest first."""
    values = {"feed": feed, "settle_s": settle_s}
    return [OpenGap(*row) for row in connection.execute(query("unrepaired_gaps"), values)]


def begin(connection: Connection, gap: OpenGap) -> bool:
    """Count a try; from now on the gap does not grow. False: it grew since it was read, read it again."""
    values = {"id": gap.id, "first": gap.first_minute, "last": gap.last_minute}
    return connection.execute(query("begin_gap"), values).fetchone() is not None


def finish(
    connection: Connection, gap: OpenGap, *, repaired: int, missing: Sequence[MissingMinutes], final_s: float
) -> None:
    """Record the result of a try, in minutes per symbol.

    final_s: seconds after the last minute until late trades end.
    """
    count = sum(one.last_minute - one.first_minute + 1 for one in missing)
    symbols, first, last = (list(column) for column in zip(*missing, strict=True)) if missing else ([], [], [])
    with connection.transaction():
        connection.execute(query("forget_missing"), {"id": gap.id})
        connection.execute(query("note_missing"), {"id": gap.id, "symbols": symbols, "first": first, "last": last})
        values = {"id": gap.id, "repaired": repaired, "missing": count, "final_s": final_s}
        connection.execute(query("finish_gap"), values)


def put_off(connection: Connection, gap: OpenGap, *, error: str, wait_s: float) -> None:
    """Record why a try failed, and when the next one may be."""
    values = {"id": gap.id, "error": error[:MAX_ERROR_LENGTH], "wait_s": wait_s}
    connection.execute(query("put_off_gap"), values)


def symbols_with_bars(connection: Connection, gap: OpenGap) -> list[str]:
    """Return the symbols with a bar in the week before a gap: a feed of all symbols may have missed any of them."""
    values = {"first": gap.first_minute - _SYMBOLS_LOOK_BACK, "last": gap.last_minute}
    return [symbol for (symbol,) in connection.execute(query("symbols_with_bars"), values)]
