"""The state of a data load, computed from its rows."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ....contracts.daily.load_state import LoadState
from ....contracts.messages.message import iso
from ....db.tables.loads import Load, LoadStep

_MOST_LINES = 100  # of log_messages


def state_of(load: Load, steps: Sequence[LoadStep]) -> LoadState:
    """Return the state of a load. steps: all of its steps, in their order."""
    first = [step for step in steps if step.symbols and step.phase == load.phases[0]] if load.phases else []
    ended = [step for step in first if step.status != "waiting"]
    failed = _failures(ended)
    # A phase may have a step for each timeframe.
    open_ = {symbol for step in first if step.status == "waiting" for symbol in step.symbols}
    every = dict.fromkeys(symbol for step in ended for symbol in step.symbols)
    good = [symbol for symbol in every if symbol not in failed and symbol not in open_]
    processed = len(good) + len(failed)
    return LoadState(
        job_id=load.job_id,
        status=load.status,
        progress=100.0 if load.status == "completed" else _progress(load, steps),
        message=_message(load, processed),
        current_symbol=ended[-1].symbols[-1] if ended and load.ended_at is None else None,
        total_symbols=len(load.symbols),
        processed_symbols=processed,
        successful_symbols=good,
        failed_symbols=sorted(failed),
        error_message=load.error,
        started_at=_time(load.started_at),
        timestamp=iso(load.at.timestamp()),
        log_messages=[*load.notes, *(f"{symbol}: {why}" for symbol, why in sorted(failed.items()))][:_MOST_LINES],
        completed_at=_time(load.ended_at) or msgspec.UNSET,
    )


def _failures(ended: Sequence[LoadStep]) -> dict[str, str]:
    failed: dict[str, str] = {}
    for step in ended:
        failed |= step.failed if step.status == "done" else dict.fromkeys(step.symbols, step.error or step.status)
    return failed


def _progress(load: Load, steps: Sequence[LoadStep]) -> float:
    """Return how much is done, 0..100: all phases have the same weight, and so have all steps of a phase."""
    if load.phase not in load.phases:
        return 0.0
    statuses = [step.status for step in steps if step.phase == load.phase]
    share = 1 - statuses.count("waiting") / len(statuses) if statuses else 0.0
    return round(100 * (load.phases.index(load.phase) + share) / len(load.phases), 1)


def _message(load: Load, processed: int) -> str:
    if load.status == "queued":
        return "waits for its turn"
    if load.status == "failed":
        return load.error or "failed"
    if not load.phases and load.status == "completed":
        return f"completed: {len(load.symbols)} symbols, no bars were asked for"
    of = f"{processed} of {len(load.symbols)} symbols"
    return of if load.status == "running" else f"{load.status}: {of}"


def _time(at: datetime | None) -> str | None:
    return None if at is None else iso(at.timestamp())
