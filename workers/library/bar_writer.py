"""Write the bars of a caller's own loop: merged with stored bars, a batch per transaction, each exactly once."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import psycopg
import structlog

from ...contracts.errors import ServerAway, SetupError
from ...contracts.ticks import Column
from ...db.postgres import Connection, Database, is_lost
from ...db.queries import query
from ...db.schema.migrate import check_schema
from ...db.schema.timescale import Chunks, lift_limits, lock_chunk_making
from ...db.staged_rows import STAGED_DTYPE, VALUE_COLUMNS, TableShape
from ...db.tables.bars import existing, open_stage, stage, table_shape, upsert
from ...db.tables.own_bars.forgotten_bars import put_back_staged
from ..commit.staged_bars import resolve
from ..partition.bar_book import merge

log = structlog.get_logger()

FEED = "library"
_ALL_ROWS = (0, 2**31 - 1)


@dataclass(slots=True)
class BarCounts:
    """Results for bars. superseded: another feed's bar is kept; unstorable: refused by the database."""

    bars: int = 0
    revisions: int = 0
    superseded: int = 0
    unstorable: int = 0

    def add(self, other: "BarCounts") -> None:
        """Add the counts of another batch."""
        self.bars += other.bars
        self.revisions += other.revisions
        self.superseded += other.superseded
        self.unstorable += other.unstorable


class _Unanswered(NamedTuple):
    """A transaction whose COMMIT may have been sent."""

    transaction_id: str
    counts: BarCounts


class BarWriter:
    """Holds bars until they are durable. symbols: the owner's growing list that bars index.

    Raises SetupError if the schema is not this program's, ServerAway if no server answers.
    """

    def __init__(self, url: str, symbols: list[str]) -> None:
        self.counts = BarCounts()
        self._symbols = symbols
        self._waiting: list[Column] = []  # batches in arrival order; only the first can be in a transaction
        self._unanswered: _Unanswered | None = None
        self._lost = False
        self._database = Database(url, name="tickstock-library", by_keys=True)
        try:
            check_schema(self._database.connection)
            self.shape = self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> TableShape:
        open_stage(self._database.connection)
        lift_limits(self._database.connection)
        self._chunks = Chunks(self._database.connection)
        return table_shape(self._database.connection)

    @property
    def waiting(self) -> int:
        """Return how many bars, some of them partial, are not known to be durable."""
        return sum(map(len, self._waiting))

    def add(self, bars: Column) -> None:
        """Add closed bars (BAR_DTYPE), in arrival order."""
        if len(bars):
            self._waiting.append(bars)

    def write(self) -> None:
        """Write every bar. Raises ServerAway, SetupError: the unwritten bars stay for the next call."""
        try:
            if self._lost:
                self._recover()
            if self._waiting:
                self._waiting = [merge(*self._waiting)]
            while self._waiting:
                self._write_first()
        except psycopg.Error as e:
            self._lost = self._lost or is_lost(self._database.connection, e)
            if not self._lost:
                self._unanswered = None  # the server answered that it has rolled it back
            why = str(e).strip().splitlines()[0]
            if self._lost or isinstance(e, psycopg.errors.OperationalError):
                raise ServerAway(f"{self.waiting} bars wait: {why}", "postgresql") from e
            raise SetupError(f"{self.waiting} bars wait, PostgreSQL refuses to write them: {why}") from e

    def close(self) -> None:
        """Close the connection; a later `write` opens it again."""
        self._database.close()
        self._lost = True

    def _recover(self) -> None:
        """Connect again, and find out whether the unanswered COMMIT succeeded: its bars must not be merged twice."""
        self._database.reopen()
        self.shape = self._prepare()
        if self._unanswered:
            values = {"transaction_id": self._unanswered.transaction_id}
            (status,) = self._database.connection.execute(query("transaction_status"), values).fetchone() or (None,)
            if status == "in progress":
                raise ServerAway(f"{self.waiting} bars wait: their transaction is still under way", "postgresql")
            if status == "committed":
                self.counts.add(self._unanswered.counts)
                del self._waiting[0]
            self._unanswered = None
        self._lost = False

    def _write_first(self) -> None:
        batch = self._waiting[0]
        try:
            counts = self._transaction(batch)
        except (psycopg.errors.DataError, psycopg.errors.IntegrityError) as e:
            self._unanswered = None
            self._take_apart(batch, e)
            return
        self._unanswered = None
        self.counts.add(counts)
        del self._waiting[0]

    def _transaction(self, batch: Column) -> BarCounts:
        connection = self._database.connection
        makes_chunks = self._chunks.lacks(connection, batch["minute"])
        with connection.transaction():
            if makes_chunks:
                lock_chunk_making(connection)
            # Before the comparison, to see what another program of this feed merges now.
            connection.execute(query("lock_library_writer"))
            counts = self._write(connection, self._staged(batch))
            (transaction_id,) = connection.execute(query("transaction_id")).fetchone() or ("",)
            self._unanswered = _Unanswered(transaction_id, counts)
        return counts

    def _write(self, connection: Connection, rows: Column) -> BarCounts:
        stage(connection, rows)
        connection.execute(query("lock_forgotten_bars"))
        put_back_staged(connection, self.shape, rows["minute"])
        resolved = resolve(rows, existing(connection), self.shape)
        kept = resolved.rows[~resolved.superseded]
        if resolved.compared:
            stage(connection, kept)
        if len(kept):
            first, last = _ALL_ROWS
            connection.execute(query("insert_symbols"), {"partitions": [0], "first": first, "last": last})
            upsert(connection, self.shape, [0], first, last)
        changed = resolved.changed & ~resolved.superseded
        revised = int((changed & (resolved.rows["revision"] > 0)).sum())
        return BarCounts(int(changed.sum()) - revised, revised, int(resolved.superseded.sum()))

    def _staged(self, batch: Column) -> Column:
        rows = np.zeros(len(batch), STAGED_DTYPE)
        rows["row_number"] = np.arange(len(batch))
        rows["symbol"] = [self._symbols[code].encode() for code in batch["symbol"].tolist()]
        rows["feed"] = FEED.encode()
        for name in ("minute", *VALUE_COLUMNS):
            rows[name] = batch[name]
        return rows

    def _take_apart(self, batch: Column, error: psycopg.Error) -> None:
        """Halve a refused batch; drop the bar that is refused alone."""
        if len(batch) > 1:
            middle = len(batch) // 2
            self._waiting[:1] = [batch[:middle], batch[middle:]]
            return
        self.counts.unstorable += 1
        bar = batch[0]
        why = str(error).strip().splitlines()[0]
        log.error("bar refused by PostgreSQL", symbol=self._symbols[bar["symbol"]], minute=int(bar["minute"]), why=why)
        del self._waiting[0]
