"""Find the rows of a commit that the database refuses, by trying halves. They become dead letters."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import msgspec
import numpy as np
import psycopg
import structlog

from ...contracts.names import DETECTOR
from ...contracts.ticks import MAX_BODY_BYTES, Mask, Refused
from ...db.postgres import Connection, is_lost, is_refused_row, is_unfit_table
from ...db.staged_rows import StagedRows
from ..detect.detector import NOT_LOADED
from ..marks import REVISED, joined, marks_of
from ..partition.numbering import without_symbols
from ..partition.uncommitted import DeadLetter
from .commit import Commit
from .messages import outbox_bars
from .plan import Findings, PartitionPlan, drop_bars
from .staging import plan_messages, restage, stage_findings
from .transaction import CommitTransaction

log = structlog.get_logger()


class Unstorable:
    """Removes refused rows from a commit. The staging tables fit the returned commit."""

    def __init__(self, connection: Connection, transaction: CommitTransaction) -> None:
        self._connection = connection
        self._transaction = transaction

    def without_refused(self, commit: Commit, error: psycopg.Error) -> Commit:
        """Return the commit without what the database refuses; the same one if its tables have changed.

        Raises the error if it refuses nothing that can be left out, or if the connection is lost.
        """
        if is_lost(self._connection, error) or not (is_refused_row(error) or is_unfit_table(error)):
            raise error
        if self._transaction.look_again():
            return commit
        if is_refused_row(error):
            return self._take_out(commit, error)
        if not self._leave_findings_out(commit, error):
            raise error
        return commit

    def _take_out(self, commit: Commit, error: psycopg.Error) -> Commit:
        """Return the commit without the bars, or else without the findings, that the database refuses.

        If neither is refused, somebody may have deleted a symbol that we registered before: returns the same commit, to
        be tried again with every symbol registered. Raises the error if no symbol was registered before.
        """
        why = _first_line(error)
        without = self._take_out_bars(commit, why) or self._take_out_findings(commit, why)
        if without is not None:
            return without
        if not self._transaction.forget_symbols():
            raise error
        return commit

    def _leave_findings_out(self, commit: Commit, error: psycopg.Error) -> bool:
        """Leave all patterns and indicators out; return whether there were any, so that a retry makes sense."""
        found = [plan.found for plan in commit.plans]
        if not any(one.symbols or one.superseded or len(one.recomputed) for one in found):
            return False
        why = _first_line(error)
        for plan in commit.plans:
            drop_all_findings(plan, why)
        log.error("findings refused by the database", why=why, do="`tickstock doctor` names what a table lacks")
        plan_messages(self._connection, commit)
        return True

    # -- bars --------------------------------------------------------------------------------------------------------

    def _take_out_bars(self, commit: Commit, why: str) -> Commit | None:
        rows = commit.rows
        bad = list(self._refused_rows(commit, 0, len(rows))) if len(rows) else []
        if not bad:
            return None
        mask = np.isin(rows["row_number"], bad)
        symbols = sorted({symbol.decode() for symbol in rows["symbol"][mask].tolist()})
        take_unstorable(commit.plans, rows, mask, why)
        commit = restage(self._connection, commit, rows[~mask], commit.changed[~mask])
        for plan in commit.plans:
            take_findings_back(plan, symbols, commit.rows)
        plan_messages(self._connection, commit)
        return commit

    def _refused_rows(self, commit: Commit, first: int, end: int) -> Iterator[int]:
        if self._transaction.takes_bars(commit, first, end):
            return
        if end - first == 1:
            yield first
            return
        middle = (first + end) // 2
        yield from self._refused_rows(commit, first, middle)
        yield from self._refused_rows(commit, middle, end)

    # -- findings ----------------------------------------------------------------------------------------------------

    def _take_out_findings(self, commit: Commit, why: str) -> Commit | None:
        symbols = [symbol for plan in commit.plans for symbol in sorted(found_symbols(plan) | taken_symbols(plan))]
        bad = set(self._refused_symbols(commit, symbols)) if symbols else set()
        for plan in commit.plans:
            drop_findings(plan, bad, why)
        if not bad:
            return None
        log.error("findings refused by the database", symbols=sorted(bad), why=why)
        plan_messages(self._connection, commit)
        return commit

    def _refused_symbols(self, commit: Commit, symbols: Sequence[str]) -> Iterator[str]:
        trial = [replace(plan, found=found_on(plan, set(symbols))) for plan in commit.plans]
        stage_findings(self._connection, trial)
        if self._transaction.takes_findings(commit, trial):
            return
        if len(symbols) == 1:
            yield symbols[0]
            return
        middle = len(symbols) // 2
        yield from self._refused_symbols(commit, symbols[:middle])
        yield from self._refused_symbols(commit, symbols[middle:])


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0]


# -- bars ------------------------------------------------------------------------------------------------------------


def take_unstorable(plans: Sequence[PartitionPlan], rows: StagedRows, bad: Mask, why: str) -> None:
    """Count the ticks of bars that the database refuses as refused, and send each bar to the dead letters."""
    for plan, bar, closed in drop_bars(plans, rows, bad, "refused"):
        refused = Refused("unstorable", why, msgspec.json.encode(outbox_bars(np.array([bar]))[0]))
        plan.dead_letters.append(DeadLetter(closed.book.producer, refused))
        plan.unstorable.add(bar["symbol"].item().decode())


def take_findings_back(plan: PartitionPlan, symbols: Sequence[str], rows: StagedRows) -> None:
    """Drop what was found on some symbols, and their histories: these hold a bar that is not stored.

    The symbols' other bars (rows) are marked, so that they are detected after their histories were loaded again. A
    commit with bars has no indicators yet.
    """
    here = rows[(rows["partition"] == plan.state.partition) & np.isin(rows["symbol"], [s.encode() for s in symbols])]
    codes = plan.state.codes_of(symbol.decode() for symbol in here["symbol"].tolist())
    gone = plan.state.codes_of(symbol for symbol in symbols if symbol in plan.symbols)
    for code in gone.tolist():
        plan.detector.set_reach(code, NOT_LOADED)
    plan.found = plan.found.without(set(symbols), gone)
    plan.marks = without_symbols(plan.marks, gone)
    publish = [closed.book.publish for row in here for closed in plan.closed if closed.feed.encode() == row["feed"]]
    plan.marks = joined([plan.marks, marks_of(codes, here["minute"], REVISED, publish=np.array(publish, bool))])


# -- findings --------------------------------------------------------------------------------------------------------


def found_symbols(plan: PartitionPlan) -> set[str]:
    """Return the symbols for which a commit writes findings."""
    higher = {plan.state.symbols[code] for code in plan.found.higher["symbol"].tolist()}
    return higher | plan.found.symbols


def taken_symbols(plan: PartitionPlan) -> set[str]:
    """Return the symbols for which a commit takes former findings away."""
    recomputed = {plan.state.symbols[code] for code in plan.found.recomputed["symbol"].tolist()}
    return recomputed.union(plan.found.superseded.values())


def found_on(plan: PartitionPlan, symbols: AbstractSet[str]) -> Findings:
    """Return the findings on some symbols."""
    others = (found_symbols(plan) | taken_symbols(plan)) - symbols
    codes = plan.state.codes_of(sorted(others))
    return plan.found.without(others, codes).without_taken(others, codes)


def drop_findings(plan: PartitionPlan, symbols: AbstractSet[str], why: str) -> None:
    """Send the findings on some symbols to the dead letters; their bars are committed.

    Their former findings are taken away all the same, but not of a symbol with nothing else: that is refused, too.
    """
    mine = symbols & found_symbols(plan)
    _add_lost_findings(plan, mine, why)
    plan.found = plan.found.without(mine, plan.state.codes_of(sorted(mine)))
    stay = (symbols - mine) & taken_symbols(plan)
    _add_lost_findings(plan, stay, why)
    plan.found = plan.found.without_taken(stay, plan.state.codes_of(sorted(stay)))


def drop_all_findings(plan: PartitionPlan, why: str) -> None:
    """Send every pattern and indicator to the dead letters, because a table of theirs changed; bars are committed."""
    _add_lost_findings(plan, plan.found.symbols, why)
    plan.found = Findings(higher=plan.found.higher)


def _add_lost_findings(plan: PartitionPlan, symbols: AbstractSet[str], why: str) -> None:
    for symbol in sorted(symbols):
        found = found_on(plan, {symbol})
        lost = msgspec.json.encode(
            {
                "symbol": symbol,
                "patterns": found.new + found.again,
                "indicators": [one for column in found.indicators for one in column.each()],
                "superseded": [flow_id for flow_id, owner in found.superseded.items() if owner == symbol],
            }
        )
        plan.dead_letters.append(DeadLetter(DETECTOR, Refused("unstorable_finding", why, lost[:MAX_BODY_BYTES])))
