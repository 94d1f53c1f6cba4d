"""The ledger: what became of every tick, and whether it adds up."""

from typing import NamedTuple

from ...db.postgres import Connection
from ...db.queries import query

OUTCOMES = ("applied", "quote_or_zero", "refused", "future", "too_late", "superseded", "lost", "repeated")


class LedgerRow(NamedTuple):
    """One producer, or the sum of all. gap: ticks in less the sum of what became of them: 0, or something is wrong."""

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
        """Ticks that are nowhere; numbers given without a tick counted."""
        return self.ticks_in - sum(getattr(self, name) for name in OUTCOMES) or self.uncounted


def read_ledger(connection: Connection, producer: str | None = None) -> list[LedgerRow]:
    """Read the ledger by producer, or of one producer."""
    rows = connection.execute(query("ledger_by_producer"), {"producer": producer}).fetchall()
    return [LedgerRow(*row) for row in rows]
