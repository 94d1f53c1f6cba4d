"""The ledger: the outcome of every tick, and whether the sums balance."""

from typing import NamedTuple

from ...db.postgres import Connection
from ...db.queries import query

OUTCOMES = ("applied", "quote_or_zero", "refused", "future", "too_late", "superseded", "lost", "repeated")


class LedgerRow(NamedTuple):
    """One producer, or the sum of all. gap: ticks in minus the sum of their outcomes; 0 if it balances."""

    producer: str
    ticks_in: int
    applied: int
    quote_or_zero: int
    refused: int
    future: int
    too_late: int
    superseded: int
    lost: int
    repeated: int
    uncounted: int

    @property
    def gap(self) -> int:
        """Ticks without an outcome; numbers without a tick included."""
        return self.ticks_in - sum(getattr(self, name) for name in OUTCOMES) or self.uncounted


def read_ledger(connection: Connection, producer: str | None = None) -> list[LedgerRow]:
    """Read the ledger by producer, or of one producer."""
    rows = connection.execute(query("ledger_by_producer"), {"producer": producer}).fetchall()
    return [LedgerRow(*row) for row in rows]
