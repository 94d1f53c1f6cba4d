"""`tickstock gaps`: list the gaps of live feeds for people and programs, and repair them on request."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ...contracts.partition import partition_of
from ...db.postgres import Connection
from ...db.queries import query
from ...db.schema.migrate import recorded_partitions
from ...db.tables import gaps
from ...db.tables.gaps import MissingMinutes, OpenGap
from ...producer.gap_repair import SETTLE_S, Bars, GapRepair


class KnownGap(NamedTuple):
    """A stored gap: the columns of the table, and the minutes that the vendor did not have."""

    id: int
    feed: str
    symbols: list[str] | None
    partition: int | None
    first_minute: int
    last_minute: int
    why: str
    lost_ticks: int | None
    found_at: datetime
    state: str
    tried: int
    error: str | None
    minutes_repaired: int
    minutes_missing: int
    missing: list[MissingMinutes]


def read_gaps(connection: Connection, *, state: str | None, limit: int, symbol: str | None = None) -> list[KnownGap]:
    """Return gaps, latest first. state: only gaps in this state. symbol: only gaps that may lack its ticks."""
    partitions = recorded_partitions(connection) if symbol else None
    home = partition_of(symbol, partitions) if symbol and partitions else None
    values = {"state": state, "symbol": symbol, "partition": home, "count": limit}
    rows = connection.execute(query("list_gaps"), values).fetchall()
    missing: dict[int, list[MissingMinutes]] = {row[0]: [] for row in rows}
    for gap_id, *minutes in connection.execute(query("list_missing"), {"ids": list(missing)}):
        missing[gap_id].append(MissingMinutes(*minutes))
    return [KnownGap._make((*row, missing[row[0]])) for row in rows]


def as_object(gap: KnownGap) -> dict[str, Any]:
    """Return a gap for JSON: times as ISO-8601 UTC, minutes by their start."""
    return {
        "id": gap.id,
        "feed": gap.feed,
        "symbols": gap.symbols,
        "partition": gap.partition,
        "first_minute": iso_minute(gap.first_minute),
        "last_minute": iso_minute(gap.last_minute),
        "why": gap.why,
        "lost_ticks": gap.lost_ticks,
        "found_at": gap.found_at.astimezone(UTC).isoformat(),
        "state": gap.state,
        "tried": gap.tried,
        "error": gap.error,
        "minutes_repaired": gap.minutes_repaired,
        "minutes_missing": gap.minutes_missing,
        "missing": [
            {
                "symbol": one.symbol,
                "first_minute": iso_minute(one.first_minute),
                "last_minute": iso_minute(one.last_minute),
            }
            for one in gap.missing
        ],
    }


def iso_minute(minute: int) -> str:
    """Return the text of a minute since 1970: 2026-11-20T14:30Z."""
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%MZ")


class Repaired(NamedTuple):
    """The result of a repair: gaps closed, gaps that failed with the reason, and minutes per symbol."""

    gaps: int
    failed: list[tuple[OpenGap, str]]
    minutes: int
    missing: int


def repair_now(
    connection: Connection,
    redis_url: str,
    rest: Bars,
    *,
    partitions: int,
    feed: str,
    symbols: Sequence[str] | None,
    wait: Callable[[float], bool],
) -> Repaired | None:
    """Repair each gap of the feed that has ended and is not fully repaired. Return None if stopped before the end.

    symbols: which to repair; None means those with a bar in the week before the gap. Raises LeaseTaken if another
    process repairs.
    """
    found = gaps.unrepaired_gaps(connection, feed, settle_s=SETTLE_S)
    if not found:
        return Repaired(0, [], 0, 0)
    repair = GapRepair(connection, redis_url, rest, partitions=partitions, symbols=lambda: symbols, wait=wait)
    try:
        with repair.turn():
            outcomes = _outcomes(repair, found)
        repair.close()
    except BaseException:
        repair.abandon()
        raise
    return outcomes if not wait(0) else None


def _outcomes(repair: GapRepair, found: Iterable[OpenGap]) -> Repaired:
    count = minutes = missing = 0
    failed = []
    for gap in found:
        outcome = repair.repair(gap)
        if outcome is None:
            continue
        if outcome.error is not None:
            failed.append((gap, outcome.error))
            continue
        count += 1
        minutes += outcome.repaired
        missing += outcome.missing_count
    return Repaired(count, failed, minutes, missing)
