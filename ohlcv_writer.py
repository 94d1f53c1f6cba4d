"""Ticks to 1-minute bars in PostgreSQL, for a caller that has its own loop and wants no fleet.

with LiveOHLCVWriter(DB_CONFIG) as writer:
    writer.process_tick({"ticker": "AAPL", "price": 150.25, "volume": 1000, "timestamp": 1757601000.5})
"""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg
import structlog
from psycopg.conninfo import make_conninfo

from .contracts.errors import ServerAway, UsageError
from .contracts.settings import without_driver
from .contracts.spellings.tick_json import DEFAULT_SECOND_STAMP, SecondStamp
from .contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from .db.backoff import Backoff
from .db.staged_rows import TableShape
from .db.world import REAL
from .workers.library.bar_writer import BarWriter
from .workers.library.minute_book import MinuteBook
from .workers.partition.tick_check import Limits

log = structlog.get_logger()

_MAX_WAIT_S = 30.0  # between two tries while the database is away


class WriterCounts(NamedTuple):
    """What a writer did so far. ticks: that touched a bar; quote_or_zero: that may not; the rest counts bars.

    superseded: bars that are not written because another feed wrote that minute; unstorable: that the database refused.
    waiting: closed bars, some of them partial, that are not durable yet.
    """

    ticks: int
    quote_or_zero: int
    bars: int
    revisions: int
    superseded: int
    unstorable: int
    waiting: int


class LiveOHLCVWriter:
    """Writes the bars of its caller's ticks to `ohlcv_1min`; for one thread.

    A minute closes when its own symbol's next one begins, or by flush or close. A late tick is merged into the bar that
    stands. A minute that another feed wrote, a worker's for one, is left as it is. What is handed in twice counts
    twice, whatever its id.

    database_config: host, port, database, user, password (and what else libpq knows), or a URL. second_stamp: what a
    stamp on a whole second means where a tick does not say its kind, the second's end or its start. trade_rules: sip
    lets a trade's conditions say what it sets of its bar, all lets each set everything. write_every_s: what closes
    sooner after a write waits for the next tick, so that a minute's bars go in few transactions.

    Raises UsageError for a wrong configuration, SetupError where the database refuses us or its schema is not this
    program's (`tickstock migrate`), ServerAway where none answers.
    """

    def __init__(
        self,
        database_config: Mapping[str, Any] | str,
        *,
        second_stamp: SecondStamp = DEFAULT_SECOND_STAMP,
        trade_rules: TRADE_RULES = DEFAULT_RULES,
        write_every_s: float = 1.0,
    ) -> None:
        self._write_every_s = write_every_s
        self._write_at_s = 0.0  # monotonic
        self._backoff = Backoff(REAL, first_s=1.0, longest_s=_MAX_WAIT_S)
        self._is_closed = False
        self._book = MinuteBook(Limits(), second_stamp=second_stamp, rules=trade_rules)
        self._writer = BarWriter(_conninfo(database_config), self._book.symbols)
        self._book.limits = _limits(self._writer.shape)

    def process_tick(self, tick: object) -> None:
        """Take one tick: a mapping in any of the documented spellings, or an object with such attributes.

        Raises NotATick (a TickStockError, with `reason` and `detail`) for one that is none; nothing has changed then.
        A database that is away raises nothing here: its bars are kept, and written when it is back. Raises UsageError
        after close.
        """
        self._check_open()
        self._writer.add(self._book.add(tick, time.time_ns()))
        if self._writer.waiting and time.monotonic() >= self._write_at_s:
            self._write_or_wait()

    def flush(self) -> None:
        """Close every open minute, and make all bars durable.

        Raises ServerAway: the bars are kept for the next time. Raises UsageError after close.
        """
        self._check_open()
        self._writer.add(self._book.close_all())
        self._writer.write()

    def close(self) -> None:
        """Flush, and close the connection. Raises ServerAway: the bars are kept, close once more."""
        if self._is_closed:
            return
        try:
            self.flush()
            self._is_closed = True
        finally:
            self._writer.close()

    @property
    def counts(self) -> WriterCounts:
        """Tell what became of the ticks so far."""
        book, bars = self._book, self._writer.counts
        return WriterCounts(
            book.ticks,
            book.quote_or_zero,
            bars.bars,
            bars.revisions,
            bars.superseded,
            bars.unstorable,
            self._writer.waiting,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise UsageError("this LiveOHLCVWriter is closed: nobody would write the bars of more ticks")

    def _write_or_wait(self) -> None:
        try:
            self._writer.write()
            wait_s = self._write_every_s
            self._backoff.reset()
        except ServerAway as e:
            wait_s = self._backoff.pause_s()
            log.warning("bars wait for the database", why=str(e), seconds=wait_s)
        self._write_at_s = time.monotonic() + wait_s


def _conninfo(config: Mapping[str, Any] | str) -> str:
    """Return what libpq takes. Raises UsageError without the values: one of them is the password."""
    if isinstance(config, str):
        return without_driver(config)
    if not isinstance(config, Mapping):
        raise UsageError("database_config is neither a mapping nor a URL")
    named = {"dbname" if name == "database" else name: value for name, value in config.items()}
    try:
        return make_conninfo(**named)
    except psycopg.ProgrammingError:
        raise UsageError(
            f"database_config has {', '.join(map(str, config))}: host, port, database, user and password are "
            "known, and what else libpq knows"
        ) from None


def _limits(shape: TableShape) -> Limits:
    return Limits(min_price=0.5 * 10.0**-shape.price_decimals, max_price=shape.max_price, max_size=shape.max_size)
