"""What the database refuses of a commit: found by trying halves, and sent to the dead letters; the rest goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import psycopg
import structlog

from ...db.postgres import Connection
from .commit import Commit
from .plan import drop_all_findings, drop_findings, found_on, found_symbols, take_findings_back, take_unstorable
from .staging import plan_messages, restage, stage_findings
from .transaction import CommitTransaction

log = structlog.get_logger()


class Unstorable:
    """Takes out of a commit what a transaction of it met. The staging tables fit the commit that is returned."""

    def __init__(self, connection: Connection, transaction: CommitTransaction) -> None:
        self._connection = connection
        self._transaction = transaction

    def take_out(self, commit: Commit, error: psycopg.Error) -> Commit:
        """Return the commit without the bars, or else without the findings, that the database refuses.

        Where none is to blame, a symbol that we know may have been deleted: the same commit. Else raises the error.
        """
        why = _first_line(error)
        without = self._take_out_bars(commit, why) or self._take_out_findings(commit, why)
        if without is not None:
            return without
        if not self._transaction.forget_symbols():
            raise error
        return commit

    def leave_findings_out(self, commit: Commit, error: psycopg.Error) -> bool:
        """Leave patterns and indicators out, where there are any; return whether the commit may go through without."""
        if not any(plan.found.symbols or plan.found.superseded for plan in commit.plans):
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
        symbols = [symbol for plan in commit.plans for symbol in found_symbols(plan)]
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
        stage_findings(self._connection, trial)  # those alone
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
