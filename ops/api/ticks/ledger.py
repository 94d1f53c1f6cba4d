"""GET /api/ledger."""

from litestar import get

from ...audit.ledger import OUTCOMES, LedgerRow, read_ledger
from ..answers import Ledger, LedgerEntry
from ..parameters import FewerLimit
from ..refusals import refusals
from ..service import Shared


@get("/api/ledger", responses=refusals(400, 422, 503), tags=["data"], sync_to_thread=True)
def ledger(service: Shared, limit: FewerLimit = 50) -> Ledger:
    """List what became of each producer's ticks, as `tickstock audit` prints it: first the rows that do not balance."""
    with service.database.connection() as connection:
        rows = read_ledger(connection)
    rows.sort(key=lambda row: (not row.gap, -row.ticks_in, row.producer))
    return Ledger(
        producers=len(rows), unbalanced=sum(row.gap != 0 for row in rows), rows=[_entry(r) for r in rows[:limit]]
    )


def _entry(row: LedgerRow) -> LedgerEntry:
    outcomes = {name: getattr(row, name) for name in OUTCOMES}
    return LedgerEntry(producer=row.producer, ticks_in=row.ticks_in, gap=row.gap, **outcomes)
