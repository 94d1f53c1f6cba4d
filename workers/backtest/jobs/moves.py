"""Advance one backtest, in the transaction that locks its row. The rows alone decide which move it makes."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog

from ....contracts.errors import UsageError
from ....contracts.messages.message import Message
from ....contracts.runs import RunStatus
from ....db.postgres import Connection
from ....db.tables import run_steps, runs
from ....db.tables.backtests import drop_parts, drop_result, figures_of
from ....db.tables.jobs import job_id_of, lock_job, request_of_job
from ....db.tables.run_results import add_messages
from ....db.tables.run_steps import Question
from ....db.tables.runs import AliveRun, RunTotals
from ..backtest import pin
from ..report import Request
from .kept_report import figures_of as read_figures
from .said import completed_said, failed_said, progress_said
from .steps import SIGNALS, TRADES, batches_of

log = structlog.get_logger()

CANCELLED: Final = "cancelled"
_OF_SIGNALS = 0.9  # the share of the signals in the progress: trading takes little time


def move_backtest(connection: Connection, run_id: UUID, *, says: bool) -> bool:
    """Make one move, if due; return False if the backtest has ended. says: also publish its progress."""
    with connection.transaction():
        run = lock_job(connection, run_id)
        return run is not None and _Move(connection, run, job_id_of(connection, run_id)).move(says=says)


class _Move:
    def __init__(self, connection: Connection, run: AliveRun, job_id: str) -> None:
        self._connection, self._run, self._job_id = connection, run, job_id

    def move(self, *, says: bool) -> bool:
        if self._run.status == "cancelling":
            return self._end(CANCELLED, CANCELLED)
        if self._run.status == "queued":
            return self._begin()
        return self._go_on(says=says)

    def _begin(self) -> bool:
        run_id = self._run.run_id
        request = msgspec.convert(request_of_job(self._connection, run_id), Request)
        try:
            pinned = pin(self._connection, request)
            definitions = [one.definition for one in pinned]  # a wrong row ends the job now
        except UsageError as e:
            return self._end("failed", str(e))
        batches = batches_of(request)
        symbols = [symbol for batch in batches for symbol in batch]
        runs.begin_run(self._connection, run_id, symbols, pinned)
        runs.open_phase(self._connection, run_id, SIGNALS)
        run_steps.add_steps(self._connection, run_id, SIGNALS, timeframes=[""], batches=batches)
        log.info("backtest began", job_id=self._job_id, symbols=len(symbols), patterns=len(definitions))
        return self._say(0.0, None)

    def _go_on(self, *, says: bool) -> bool:
        run_id, phase = self._run.run_id, str(self._run.phase)
        state = run_steps.phase_state(self._connection, run_id, phase)
        share = share_of(phase, state.ended_symbols, state.all_symbols)
        if state.failed:  # without one of its symbols the result would be wrong
            return self._end("failed", run_steps.run_totals(self._connection, run_id).error or "failed")
        if state.waiting:
            return self._say(share, state.current_symbol) if says else True
        if phase == SIGNALS:
            runs.open_phase(self._connection, run_id, TRADES)
            run_steps.add_questions(self._connection, run_id, TRADES, [Question("", 0)], weight=1)
            return self._say(share, state.current_symbol)
        why = run_steps.answers_of(self._connection, run_id, TRADES).get("", {}).get("error")
        return self._end("completed" if why is None else "failed", why)

    def _say(self, share: float, symbol: str | None) -> bool:
        now_s, runs_s = self._run.now_s, self._run.runs_s
        ends_s = round(now_s + runs_s * (1 - share) / share, 1) if share else None
        self._tell(progress_said(self._job_id, now_s=now_s, share=share, symbol=symbol, ends_s=ends_s))
        return True

    def _end(self, status: RunStatus, why: str | None) -> bool:
        run_id, now_s = self._run.run_id, self._run.now_s
        run_steps.cancel_steps(self._connection, run_id)
        of_steps = run_steps.run_totals(self._connection, run_id)
        failed = run_steps.failed_symbols(self._connection, run_id)
        text = figures_of(self._connection, run_id) if status == "completed" else None
        figures = None if text is None else read_figures(text)
        drop_parts(self._connection, run_id)
        if figures is None:  # a cancel may come just after the last step stored a result
            drop_result(self._connection, run_id)
        totals = RunTotals(of_steps.symbols, failed, 0, figures.signals if figures else 0)
        runs.end_run(self._connection, run_id, status, totals, None if status == CANCELLED else why)
        log.info("backtest ended", job_id=self._job_id, status=status, why=why)
        if figures is not None:
            self._tell(completed_said(self._job_id, figures, now_s=now_s))
        else:
            self._tell(failed_said(self._job_id, why or status, now_s=now_s))
        return False

    def _tell(self, said: Sequence[Message]) -> None:
        add_messages(self._connection, said)


def share_of(phase: str | None, ended: int, every: int) -> float:
    """Return the done share of a backtest, 0 to 1. ended: the number of symbols with found signals; every: of all."""
    return _OF_SIGNALS if phase == TRADES else round(_OF_SIGNALS * ended / max(1, every), 4)
