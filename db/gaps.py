"""What a live feed missed, in PostgreSQL: noted when it is found, taken up when it can be repaired, closed."""

from collections.abc import Sequence
from typing import NamedTuple

from ..contracts.bar import MINUTE_MS
from ..contracts.gap import Gap, Hole
from .postgres import Connection
from .queries import query

MAX_ERROR_LENGTH = 200

_SYMBOLS_LOOK_BACK = 7 * 24 * 60  # minutes


class OpenGap(NamedTuple):
    """A gap to be repaired. first_minute, last_minute: minutes since 1970, both included."""

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
    """Note a gap; one that touches an open one of the same feed, symbols and reason makes that longer."""
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


def note_hole(connection: Connection, hole: Hole) -> None:
    """Note numbers that a worker gave up, inside the commit that gives them up."""
    why = f"hole in the frames of {hole.producer}"
    note_gap(connection, Gap(hole.feed, hole.first_ms, hole.last_ms, why, None, hole.partition, hole.ticks))


def due_gaps(connection: Connection, feed: str, *, settle_s: float, count: int) -> list[OpenGap]:
    """Return gaps of a feed whose turn it is. settle_s: so long after its last minute the vendor has the bars."""
    values = {"feed": feed, "settle_s": settle_s, "count": count}
    return [OpenGap(*row) for row in connection.execute(query("due_gaps"), values)]


def unrepaired_gaps(connection: Connection, feed: str, *, settle_s: float) -> list[OpenGap]:
    """Return every gap of a feed that is over and was not had in full, the oldest first."""
    values = {"feed": feed, "settle_s": settle_s}
    return [OpenGap(*row) for row in connection.execute(query("unrepaired_gaps"), values)]


def begin(connection: Connection, gap: OpenGap) -> bool:
    """Count a try; from now on the gap does not grow. False: it grew since it was read, read it again."""
    values = {"id": gap.id, "first": gap.first_minute, "last": gap.last_minute}
    return connection.execute(query("begin_gap"), values).fetchone() is not None


def finish(
    connection: Connection, gap: OpenGap, *, repaired: int, missing: Sequence[MissingMinutes], final_s: float
) -> None:
    """Note what a try brought, in minutes of symbols. final_s: so long after the last minute no late trade comes."""
    count = sum(one.last_minute - one.first_minute + 1 for one in missing)
    symbols, first, last = (list(column) for column in zip(*missing, strict=True)) if missing else ([], [], [])
    with connection.transaction():
        connection.execute(query("forget_missing"), {"id": gap.id})
        connection.execute(query("note_missing"), {"id": gap.id, "symbols": symbols, "first": first, "last": last})
        values = {"id": gap.id, "repaired": repaired, "missing": count, "final_s": final_s}
        connection.execute(query("finish_gap"), values)


def put_off(connection: Connection, gap: OpenGap, *, error: str, wait_s: float) -> None:
    """Note why a try failed, and when the next one may be."""
    values = {"id": gap.id, "error": error[:MAX_ERROR_LENGTH], "wait_s": wait_s}
    connection.execute(query("put_off_gap"), values)


def symbols_with_bars(connection: Connection, gap: OpenGap) -> list[str]:
    """Return the symbols that had a bar in the week up to a gap: of a feed without a list, those that it may miss."""
    values = {"first": gap.first_minute - _SYMBOLS_LOOK_BACK, "last": gap.last_minute}
    return [symbol for (symbol,) in connection.execute(query("symbols_with_bars"), values)]
