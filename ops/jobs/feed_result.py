"""What a feed left in the database when a whole job is done: its ledger, its bars, the patterns on them."""

from typing import NamedTuple

from ...db.postgres import Connection
from ...db.queries import query
from ...db.tables.replays import Replaced, replaced_by
from ..audit.ledger import LedgerRow, read_ledger
from ..audit.ledger_table import print_ledger


class FeedResult(NamedTuple):
    """rows: of the ledger; none where nothing was committed."""

    rows: list[LedgerRow]
    bars: int
    patterns: int
    replaced: list[Replaced]

    @property
    def cut(self) -> int:
        """Minutes of which another replay had the other part: it is in no bar any more."""
        return sum(one.cut for one in self.replaced)


def read_result(connection: Connection, replay: str) -> FeedResult:
    """Read what a replay left: its name is that of its producer and of its feed."""
    bars, patterns = connection.execute(query("bars_of_feed"), {"feed": replay}).fetchone() or (0, 0)
    return FeedResult(read_ledger(connection, replay), bars, patterns, replaced_by(connection, replay))


def print_result(result: FeedResult, *, seconds: float, left_out: int = 0) -> None:
    """Print it for people. seconds: that the job took; left_out: rows of its files."""
    print_ledger(result.rows, left_out=left_out, seconds=seconds)
    print(f"{result.bars:,} bars, {result.patterns:,} patterns on them")
    for one in result.replaced:
        if one.feed:
            print(f"{one.bars:,} bars took the place of {one.feed}: {one.ticks:,} of its ticks are superseded now")
        else:
            print(f"{one.bars:,} bars took the place of older ones, of which only the table still knows")
        if one.taken_away:
            print(f"{one.taken_away:,} of them are gone: these files speak of their minutes, and hold no trade of them")
        if one.cut:
            print(f"{one.cut:,} of them are CUT: a minute that two commands share has only the trades of the last one.")
            print(f"Replay the files together, in their order: those of this command, and {one.source}")
