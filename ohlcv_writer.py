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
    """The counts of a writer since its start. ticks: those that changed a bar; quote_or_zero: those that may not.

    The others count bars. superseded: not written, because another feed wrote that minute. unstorable: refused by the
    database. waiting: closed, but not durable yet.
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

    A minute closes when the symbol's next minute begins, or by flush or close. A late tick changes the stored bar. A
    minute that another feed wrote, for example a worker's, is not changed. A tick that is given twice counts twice.

    database_config: host, port, database, user, password (and other parameters of libpq), or a URL. second_stamp:
    whether a time on a whole second marks the end or the start of that second, for ticks without a kind. trade_rules:
    `sip`: a trade's conditions decide which values of its bar it sets; `all`: each trade sets all. write_every_s: bars
    that close sooner after a write are written with the next tick, so that a minute's bars take few transactions.

    Raises UsageError for a wrong configuration; SetupError if the database refuses this user, or its schema is not that
    of this program (`tickstock migrate`); ServerAway if no server answers.
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

        Raises NotATick (a TickStockError, with `reason` and `detail`) if it is not a valid tick; nothing changes then.
        While the database is away nothing is raised: bars are kept, and written when it is back. Raises UsageError
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
        """Return the counts of ticks and bars since the start."""
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
            raise UsageError("this LiveOHLCVWriter is closed and takes no more ticks")

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
    """Return a connection string for libpq. Raises UsageError, whose text has no values: one is the password."""
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
