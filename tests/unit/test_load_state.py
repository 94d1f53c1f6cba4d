"""What the rows of a load say of it while it goes on."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
from tickstockpl.db.tables.loads import Load, LoadStep
from tickstockpl.workers.daily.loads.load_state import state_of

AT = datetime(2025, 11, 21, 21, 0, tzinfo=UTC)
LOAD = Load(
    UUID(int=1), "5f0c", "running", ["indicators", "patterns"], "indicators", ["A", "B", "C", "D"], ["a note"], None,
    AT, AT, None, None, is_heard=False, at=AT,
)  # fmt: skip


def step(status, *symbols, failed=None, error=None, phase="indicators"):
    return LoadStep(phase, status, list(symbols), failed or {}, error)


def test_a_symbol_is_done_when_its_steps_of_every_timeframe_are():
    steps = [
        step("done", "A", "B", failed={"B": "no bars"}), step("done", "A", "B"), step("failed", "C", error="broken"),
        step("done", "D"), step("waiting", "D"), step("waiting", "A", phase="patterns"),
    ]  # fmt: skip
    assert msgspec.to_builtins(state_of(LOAD, steps)) == {
        "job_id": "5f0c", "status": "running", "progress": 40.0, "message": "3 of 4 symbols", "current_symbol": "D",
        "total_symbols": 4, "processed_symbols": 3, "successful_symbols": ["A"], "failed_symbols": ["B", "C"],
        "error_message": None, "started_at": "2025-11-21T21:00:00.000000+00:00",
        "timestamp": "2025-11-21T21:00:00.000000+00:00", "log_messages": ["a note", "B: no bars", "C: broken"],
    }  # fmt: skip


def test_the_end_is_told_only_when_it_is_there():
    ended = state_of(LOAD._replace(status="completed", phase="patterns", ended_at=AT), [])
    assert (ended.progress, ended.completed_at) == (100.0, "2025-11-21T21:00:00.000000+00:00")
