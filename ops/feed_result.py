"""What a feed left in the database when a whole job is done: its ledger, its bars, the patterns on them."""

from typing import NamedTuple

from ..db.postgres import Connection
from ..db.queries import query
from .ledger import LedgerRow, read_ledger
from .ledger_table import print_ledger


class FeedResult(NamedTuple):
    """rows: of the ledger; none where nothing was committed."""

    rows: list[LedgerRow]
    bars: int
    patterns: int


def read_result(connection: Connection, replay: str) -> FeedResult:
    """Read what a replay left: its name is that of its producer and of its feed."""
    bars, patterns = connection.execute(query("bars_of_feed"), {"feed": replay}).fetchone() or (0, 0)
    return FeedResult(read_ledger(connection, replay), bars, patterns)


def print_result(result: FeedResult, *, seconds: float, left_out: int = 0) -> None:
    """Print it for people. seconds: that the job took; left_out: rows of its files."""
    print_ledger(result.rows, left_out=left_out, seconds=seconds)
    print(f"{result.bars:,} bars, {result.patterns:,} patterns on them")
