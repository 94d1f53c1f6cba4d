"""The result of a finished feed in the database: its ledger, its bars, and their patterns."""

from typing import NamedTuple

from ...db.postgres import Connection
from ...db.queries import query
from ...db.tables.replays import Replaced, replaced_by
from ..audit.ledger import LedgerRow, read_ledger
from ..audit.ledger_table import print_ledger


class FeedResult(NamedTuple):
    """rows: of the ledger; empty if nothing was committed."""

    rows: list[LedgerRow]
    bars: int
    patterns: int
    replaced: list[Replaced]

    @property
    def cut(self) -> int:
        """Minutes that another replay had partly covered: its part is in no bar now."""
        return sum(one.cut for one in self.replaced)


def read_result(connection: Connection, replay: str) -> FeedResult:
    """Read the result of a replay: its producer and its feed have the same name."""
    bars, patterns = connection.execute(query("bars_of_feed"), {"feed": replay}).fetchone() or (0, 0)
    return FeedResult(read_ledger(connection, replay), bars, patterns, replaced_by(connection, replay))


def print_result(result: FeedResult, *, seconds: float, left_out: int = 0) -> None:
    """Print the result for people. seconds: the job's duration; left_out: skipped rows of its files."""
    print_ledger(result.rows, left_out=left_out, seconds=seconds)
    print(f"{result.bars:,} bars, {result.patterns:,} patterns on them")
    for one in result.replaced:
        if one.feed:
            print(f"{one.bars:,} bars replaced bars of {one.feed}: {one.ticks:,} of its ticks are superseded now")
        else:
            print(f"{one.bars:,} bars replaced older bars, which only the table still had")
        if one.taken_away:
            print(
                f"{one.taken_away:,} of them were deleted: these files cover their minutes, but have no trade in them"
            )
        if one.cut:
            print(f"{one.cut:,} of them are CUT: a minute that two commands share has only the trades of the last one.")
            print(f"Replay the files together, in their order: those of this command, and {one.source}")
