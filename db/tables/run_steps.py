"""The steps of runs: rows of `run_step`. Each attempt has its own token."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from ...contracts.runs import Step, StepKey, StepResult
from ..postgres import Connection
from ..queries import query

ATTEMPTS = 3  # of one batch; then it is divided or, if it has a single symbol, it has failed


class PhaseState(NamedTuple):
    """The progress of a phase. all_symbols, ended_symbols: sums over its steps. waiting, done, failed: steps.

    waits_s: seconds to wait for a vendor's rate limit, or for the end of its delay.
    """

    all_symbols: int
    ended_symbols: int
    found: int
    current_symbol: str | None
    waiting: int
    done: int
    failed: int
    waits_s: float


class Question(NamedTuple):
    """A step that asks a vendor for all symbols at once. not_before: None: it may begin at once."""

    what: str
    stage: int
    not_before: datetime | None = None


def add_steps(  # the parts of a phase
    connection: Connection,
    run_id: UUID,
    phase: str,
    *,
    timeframes: Sequence[str],
    batches: Sequence[Sequence[str]],
    stage: int = 0,
    not_before: datetime | None = None,
) -> None:
    """Add a step for each timeframe and batch of symbols."""
    values = {
        "run_id": run_id,
        "phase": phase,
        "timeframes": list(timeframes),
        "batches": msgspec.json.encode(batches).decode(),
        "stage": stage,
        "not_before": not_before,
    }
    connection.execute(query("add_run_steps"), values)


def add_questions(
    connection: Connection, run_id: UUID, phase: str, questions: Sequence[Question], *, weight: int
) -> None:
    """Add a step for each question. weight: a question counts as this number of symbols in the progress."""
    values = {
        "run_id": run_id,
        "phase": phase,
        "questions": [question.what for question in questions],
        "stages": [question.stage for question in questions],
        "not_before": [question.not_before for question in questions],
        "weight": weight,
    }
    connection.execute(query("add_question_steps"), values)


def answers_of(connection: Connection, run_id: UUID, phase: str) -> dict[str, dict[str, Any]]:
    """Return the details of the finished questions of a phase: question -> detail."""
    return dict(connection.execute(query("questions_of_run"), {"run_id": run_id, "phase": phase}).fetchall())


def sources_of(connection: Connection, run_id: UUID) -> dict[str, int]:
    """Count the daily bars of a run by their source."""
    return dict(connection.execute(query("sources_of_run"), {"run_id": run_id}).fetchall())


def note_wait(connection: Connection, step: Step, seconds: float) -> None:
    """Record that a step waits, because the vendor accepts no request for this time."""
    connection.execute(query("note_wait"), {**step.key._asdict(), "token": step.token, "seconds": seconds})


def waiting_steps(connection: Connection, run_id: UUID) -> list[tuple[StepKey, int]]:
    """Return the steps that are due, each with its token."""
    rows = connection.execute(query("waiting_steps"), {"run_id": run_id})
    return [(StepKey(run_id, phase, timeframe, batch), token) for phase, timeframe, batch, token in rows]


def phase_state(connection: Connection, run_id: UUID, phase: str) -> PhaseState:
    """Return the progress of a phase."""
    row = connection.execute(query("phase_progress"), {"run_id": run_id, "phase": phase}).fetchone()
    return PhaseState(*row) if row else PhaseState(0, 0, 0, None, 0, 0, 0, 0.0)


def failed_symbols(connection: Connection, run_id: UUID, phase: str | None = None) -> int:
    """Count the symbols that failed in a phase, or in any."""
    (count,) = connection.execute(query("phase_failures"), {"run_id": run_id, "phase": phase}).fetchone() or (0,)
    return int(count)


class StepTotals(NamedTuple):
    """Totals of all steps of a run. error: why steps failed."""

    indicators: int
    patterns: int
    symbols: int
    error: str | None


def run_totals(connection: Connection, run_id: UUID) -> StepTotals:
    """Return the totals of all steps of a run."""
    row = connection.execute(query("run_totals"), {"run_id": run_id}).fetchone()
    return StepTotals(*row) if row else StepTotals(0, 0, 0, None)


def cancel_steps(connection: Connection, run_id: UUID) -> None:
    """Cancel all waiting steps: none of them can be committed."""
    connection.execute(query("cancel_steps"), {"run_id": run_id})


def halve_failed_steps(connection: Connection, run_id: UUID, phase: str) -> bool:
    """Split each failed batch with several symbols in two; return whether there was one."""
    return connection.execute(query("halve_failed_steps"), {"run_id": run_id, "phase": phase}).rowcount > 0


def read_step(connection: Connection, key: StepKey, token: int) -> Step | None:
    """Return a waiting step with this token."""
    return _step(connection, "read_step", key, token)


def lock_step(connection: Connection, key: StepKey, token: int) -> Step | None:
    """Return a waiting step, locked until the transaction ends, so that no other process does it, too."""
    return _step(connection, "lock_step", key, token)


def _step(connection: Connection, name: str, key: StepKey, token: int) -> Step | None:
    row = connection.execute(query(name), {**key._asdict(), "token": token}).fetchone()
    return None if row is None else Step(key, token, row[1], row[0])


def end_step(connection: Connection, step: Step, result: StepResult, done_by: str) -> None:
    """Record that a locked step is done. Call it in the transaction with the step's rows."""
    values = {
        **step.key._asdict(),
        "token": step.token,
        "found": result.found,
        "changed": result.changed,
        "failed": Jsonb(result.failed),
        "detail": Jsonb(dict(result.detail)),
        "done_by": done_by,
    }
    connection.execute(query("end_step"), values)
    connection.execute(query("tell_runs_changed"))


def fail_step(connection: Connection, step: Step, why: str) -> None:
    """Record a failed attempt: the step waits for the next one, or has failed for good."""
    values = {**step.key._asdict(), "token": step.token, "error": why, "attempts": ATTEMPTS}
    connection.execute(query("fail_step"), values)
    connection.execute(query("tell_runs_changed"))
