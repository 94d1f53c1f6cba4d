"""Check the bars: compare every stored bar, field by field, with a recounted one."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import msgspec
import psycopg

from ...contracts.bar import MINUTE_NS
from ...contracts.partition import partition_of
from ...contracts.spellings.trade_conditions import TRADE_RULES
from ...contracts.ticks import SHARE_MICRO, Column, Ticks, concat
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client
from ...db.staged_rows import TableShape
from ...db.tables.bars import table_shape
from ...producer.replay import ReplaySource
from ...workers.partition.saved_state import load_state
from ...workers.partition.tick_check import MS_NS
from .recount import Key, Recount, may_touch_a_bar, recount
from .stream_recount import Committed, FeedRecount, recount_partition

_VWAP_TOLERANCE = 1e-9  # relative: its sum depends on the order of the additions
_ROWS = 10_000


Say = Callable[[str], None]


def _in_silence(_: str) -> None:
    pass


class Difference(NamedTuple):
    """A field of a bar, or the whole bar (field: bar), that differs from the recount. None: missing."""

    symbol: str
    minute: int
    field: str
    table: object
    recounted: object


@dataclass(slots=True)
class AuditResult:
    """recounted: compared bars. elsewhere: bars of the table that cannot be recounted from the available ticks.

    open: recounted bars that are not closed yet. refused: bars that the database refused, stored as dead letters.
    """

    agree: int = 0
    differ: int = 0
    first: Difference | None = None
    elsewhere: int = 0
    open: int = 0
    refused: int = 0

    def note(self, difference: Difference | None) -> None:
        """Count a compared bar."""
        if difference is None:
            self.agree += 1
            return
        self.differ += 1
        if self.first is None or difference[:2] < self.first[:2]:
            self.first = difference


class _Row(NamedTuple):
    """One bar of the table. feed, replay: its last writer; None if another program wrote it."""

    symbol: str
    minute: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trade_count: int | None
    vwap: float | None
    feed: str | None
    replay: bool | None

    @property
    def key(self) -> Key:
        return self.symbol, self.minute


class UnbalancedRow(NamedTuple):
    """A row of the ledger that does not balance. gap: ticks without an outcome; uncounted: numbers without a tick."""

    partition: int
    producer: str
    gap: int
    uncounted: int


def unbalanced_rows(connection: Connection) -> list[UnbalancedRow]:
    """Return the rows of the ledger that do not balance."""
    return [UnbalancedRow(*row) for row in connection.execute(query("unbalanced_ledger_rows"))]


class FeedDifference(NamedTuple):
    """A replay whose bars do not have the ticks that the ledger counts as applied."""

    feed: str
    applied: int
    in_bars: int


def differing_feeds(connection: Connection) -> list[FeedDifference]:
    """Compare each replay's ledger with its bars, open ones included; replays without a score are left out.

    In one snapshot: workers may continue meanwhile.
    """
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with connection.transaction():
        open_ticks: Counter[str] = Counter()
        for partition, state in connection.execute(query("audit_states")).fetchall():
            books = load_state(state, partition).feeds if state else {}
            open_ticks.update({feed: int(book.bars["trades"].sum()) for feed, book in books.items()})
        rows = [FeedDifference(*row) for row in connection.execute(query("ticks_by_feed"))]
    found = [row._replace(in_bars=row.in_bars + open_ticks[row.feed]) for row in rows]
    return [row for row in found if row.applied != row.in_bars]


# -- from files -------------------------------------------------------------------------------------------------------


class _Covered(NamedTuple):
    """The coverage of a file: its symbols, from its first minute to its last."""

    symbols: frozenset[str]
    first: int
    last: int


def audit_files(
    connection: Connection, files: Sequence[str], say: Say = _in_silence, *, rules: TRADE_RULES | None = None
) -> AuditResult:
    """Compare every bar of some flat files, and every bar of the table that they cover. say: receives the progress.

    All of their ticks are in memory, 28 bytes each.
    """
    shape, refused = table_shape(connection), _refused_keys(connection)
    batches, covered = [], []
    for file in files:
        ticks = concat(_with_progress(ReplaySource([file], rules=rules), file, say))
        batches.append(ticks.take(may_touch_a_bar(ticks, shape)))
        if len(ticks):
            minutes = (int(ticks.ts.min()) // MINUTE_NS, int(ticks.ts.max()) // MINUTE_NS)
            covered.append(_Covered(frozenset(ticks.symbols), *minutes))
    counted = recount(concat(batches))
    result = AuditResult(refused=sum(counted.find(*key) is not None for key in refused))
    counted = counted.without(refused)
    symbols = sorted(set().union(*(c.symbols for c in covered)))
    first, last = min((c.first for c in covered), default=0), max((c.last for c in covered), default=0)
    with connection.transaction():
        for row in _told_rows(_rows(connection, shape, symbols, first, last), say):
            place = counted.find(*row.key)
            if place is not None:
                _compare(result, counted, place, row, shape)
            elif any(row.symbol in c.symbols and c.first <= row.minute <= c.last for c in covered):
                result.note(_only_in_table(row))
    _note_missing(result, counted)
    return result


def _with_progress(source: ReplaySource, file: str, say: Say) -> Iterator[Ticks]:
    for ticks in source:
        say(f"{file}: {source.bytes_read / max(1, source.bytes_total):.0%} read")
        yield ticks


# -- from the streams -------------------------------------------------------------------------------------------------


def audit_streams(
    connection: Connection, client: Client, *, max_future_s: float, say: Say = _in_silence
) -> AuditResult:
    """Compare every bar whose ticks are all still in the streams with the feed that wrote it last.

    One snapshot of the database holds the committed frames and the bars: workers may continue meanwhile.
    """
    shape = table_shape(connection)
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with connection.transaction():
        partitions = _committed(connection)
        feeds = []
        for committed in partitions:
            say(f"partition {committed.partition} of {len(partitions)} is recounted")
            feeds.append(recount_partition(client, committed, len(partitions), shape, int(max_future_s * 1000) * MS_NS))
        refused = _refused_keys(connection)
        taken_away = frozenset(connection.execute(query("audit_taken_away")).fetchall())
        result = AuditResult(open=sum(len(feed.open) for found in feeds for feed in found))
        counted = [feed for found in feeds for feed in found]
        for row in _told_rows(_rows(connection, shape, *_span(counted)), say):
            found = feeds[partition_of(row.symbol, len(feeds))]
            if row.key not in refused:
                _compare_with_feeds(result, found, row, shape)
    for feed in counted:
        _note_missing(result, feed.recount, refused | taken_away)
    result.refused = len(refused)
    return result


def _committed(connection: Connection) -> list[Committed]:
    numbers: dict[int, dict[str, tuple[str, int]]] = {}
    for partition, producer, feed, number in connection.execute(query("audit_numbers")):
        numbers.setdefault(partition, {})[producer] = feed, number
    abandoned: dict[int, set[str]] = {}
    for replay, partition in connection.execute(query("audit_abandoned")):
        abandoned.setdefault(partition, set()).add(replay)
    return [
        Committed(partition, state, numbers.get(partition, {}), frozenset(abandoned.get(partition, ())))
        for partition, state in connection.execute(query("audit_states")).fetchall()
    ]


def _span(feeds: Sequence[FeedRecount]) -> tuple[list[str], int, int]:
    bars = [feed.recount.bars["minute"] for feed in feeds if len(feed.recount.bars)]
    symbols = sorted({symbol for feed in feeds for symbol in feed.recount.symbols})
    return symbols, int(min((m.min() for m in bars), default=0)), int(max((m.max() for m in bars), default=0))


def _compare_with_feeds(result: AuditResult, feeds: Sequence[FeedRecount], row: _Row, shape: TableShape) -> None:
    places = {feed.feed: feed.recount.find(*row.key) for feed in feeds}
    for feed in feeds:
        if (place := places[feed.feed]) is not None:
            feed.recount.met[place] = True
    mine = next((feed for feed in feeds if feed.feed == row.feed), None)
    over = next((f for f in feeds if f.replay and places[f.feed] is not None), None)
    if over is not None and not row.replay:
        # A replay replaces a live feed's bar, and no live feed writes there afterwards.
        result.note(Difference(*row.key, "feed", row.feed, over.feed))
    elif mine is None or row.minute < mine.first_minute or row.key in mine.open:
        result.elsewhere += 1
    elif (place := places[mine.feed]) is not None:
        _compare(result, mine.recount, place, row, shape)
    else:
        result.note(_only_in_table(row))


# -- one bar ----------------------------------------------------------------------------------------------------------


def _rows(connection: Connection, shape: TableShape, symbols: Sequence[str], first: int, last: int) -> Iterator[_Row]:
    """Yield bars of the table, by symbol and minute, through a cursor on the server."""
    name = "audited_bars_with_detail" if shape.has_detail else "audited_bars"
    with connection.cursor(name="audit") as cursor:
        cursor.itersize = _ROWS
        cursor.execute(query(name), {"symbols": list(symbols), "first": first, "last": last})
        yield from (_Row(*row) for row in cursor)


def _told_rows(rows: Iterator[_Row], say: Say) -> Iterator[_Row]:
    for number, row in enumerate(rows):
        if number % _ROWS == 0:
            say(f"{number:,} bars of the table compared")
        yield row


def _refused_keys(connection: Connection) -> frozenset[Key]:
    bars = [msgspec.json.decode(original) for (original,) in connection.execute(query("audit_unstorable"))]
    return frozenset((bar["symbol"], bar["timestamp"] // 60) for bar in bars)


def _compare(result: AuditResult, counted: Recount, place: int, row: _Row, shape: TableShape) -> None:
    counted.met[place] = True
    field = _first_different_field(counted.bars[place], row, shape)
    if field is None:
        result.note(None)
    else:
        name, table, recounted = field
        result.note(Difference(row.symbol, row.minute, name, table, recounted))


def _first_different_field(bar: Column, row: _Row, shape: TableShape) -> tuple[str, object, object] | None:
    """Compare as stored: numbers rounded to the table's decimals, half away from zero as PostgreSQL does."""
    for name in ("open", "high", "low", "close"):
        counted, table = (_stored(value, shape.price_decimals) for value in (bar[name].item(), getattr(row, name)))
        if counted != table:
            return name, table, counted
    volume = Decimal(int(bar["volume_micro"])).scaleb(-6)
    counted, table = (_stored(value, shape.volume_decimals) for value in (volume, row.volume))
    if counted != table:
        return "volume", table, counted
    trades = int(bar["trades"]) or None
    if row.trade_count != trades:
        return "trade_count", row.trade_count, trades
    shares = float(bar["volume_micro"]) / SHARE_MICRO
    vwap = float(bar["notional"]) / shares if shares else float(bar["close"])
    if row.vwap is None or not abs(row.vwap - vwap) <= _VWAP_TOLERANCE * abs(vwap):
        return "vwap", row.vwap, vwap
    return None


def _stored(value: Any, decimals: int) -> Decimal:
    # str() of a float is its shortest exact text, which is sent to the database.
    return Decimal(str(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


def _only_in_table(row: _Row) -> Difference:
    return Difference(*row.key, "bar", f"{row.trade_count} trades", None)


def _note_missing(result: AuditResult, counted: Recount, but: frozenset[Key] = frozenset()) -> None:
    for place in (~counted.met).nonzero()[0].tolist():
        if (key := counted.key(place)) not in but:
            result.note(Difference(*key, "bar", None, f"{counted.bars['trades'][place]} trades"))
