"""The messages of a run, in the order of its events. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...contracts.messages.message import Message
from ...contracts.messages.processing_events import (
    CacheCompleted,
    CacheMode,
    IndicatorsCompleted,
    PatternsCompleted,
    PhaseName,
    RunCompleted,
    RunStarted,
    UniverseChange,
)
from ...contracts.messages.processing_messages import (
    cache_completed,
    import_completed,
    indicators_completed,
    patterns_completed,
    phase_progress,
    phase_started,
    processing_completed,
    processing_started,
)


class CacheResult(NamedTuple):
    """The changes of cache_sync. skipped: why it did nothing; None: it ran."""

    mode: CacheMode
    changes: Mapping[str, Any]
    skipped: str | None


class PhaseResult(NamedTuple):
    """The result of a phase. found: rows that exist after it; failed: failed symbols."""

    symbols: int
    failed: int
    found: int
    seconds: float
    cache: CacheResult | None = None


def run_began(
    *, now_s: float, run_id: str, run_date: str, phases: Sequence[PhaseName], universe: str, trigger: str
) -> list[Message]:
    """Announce the start of a run. A retry counts as manual."""
    started = RunStarted(
        run_id=run_id,
        run_date=run_date,
        phases=list(phases),
        universe=universe,
        trigger_type="automatic" if trigger == "automatic" else "manual",
    )
    return processing_started(now_s=now_s, started=started)


def phase_began(phase: PhaseName, *, now_s: float, run_id: str, symbols: int, has_steps: bool) -> list[Message]:
    """Announce the start of a phase, with nothing done yet."""
    said = phase_started(phase, now_s=now_s, run_id=run_id, total_symbols=symbols)
    if has_steps:
        said += phase_moved(phase, now_s=now_s, run_id=run_id, done=0, symbols=symbols, current=None, eta_s=None)
    return said


def phase_moved(
    phase: PhaseName, *, now_s: float, run_id: str, done: int, symbols: int, current: str | None, eta_s: float | None
) -> list[Message]:
    """Report the progress of a phase."""
    return phase_progress(
        phase,
        now_s=now_s,
        run_id=run_id,
        completed_symbols=done,
        total_symbols=symbols,
        current_symbol=current,
        eta_seconds=eta_s,
    )


def phase_ended(phase: PhaseName, result: PhaseResult, *, now_s: float, run_id: str, has_steps: bool) -> list[Message]:
    """Announce the end of a phase, after a progress of 100 %."""
    said: list[Message] = []
    if has_steps:
        said += phase_moved(
            phase, now_s=now_s, run_id=run_id, done=result.symbols, symbols=result.symbols, current=None, eta_s=0.0
        )
    return said + _completed(phase, result, now_s, run_id)


def _completed(phase: PhaseName, result: PhaseResult, now_s: float, run_id: str) -> list[Message]:
    good = result.symbols - result.failed
    rate = round(100 * good / result.symbols, 1) if result.symbols else 100.0
    if phase == "import":
        return import_completed(
            now_s=now_s,
            run_id=run_id,
            success_count=good,
            failure_count=result.failed,
            duration_seconds=result.seconds,
        )
    if phase == "cache_sync":
        return cache_completed(now_s=now_s, completed=_cache_completed(result, run_id))
    if phase == "indicators":
        calculated = IndicatorsCompleted(
            run_id=run_id,
            total_symbols=result.symbols,
            indicators_calculated=result.found,
            success_rate=rate,
            duration_seconds=result.seconds,
        )
        return indicators_completed(now_s=now_s, completed=calculated)
    detected = PatternsCompleted(
        run_id=run_id,
        total_symbols=result.symbols,
        patterns_detected=result.found,
        success_rate=rate,
        duration_seconds=result.seconds,
    )
    return patterns_completed(now_s=now_s, completed=detected)


def _cache_completed(result: PhaseResult, run_id: str) -> CacheCompleted:
    cache = result.cache or CacheResult("full", {}, None)
    return CacheCompleted(
        run_id=run_id,
        mode=cache.mode,
        entries_updated=result.found,
        symbols_added=cache.changes.get("added", 0),
        symbols_removed=cache.changes.get("removed", 0),
        universes={name: UniverseChange(**one) for name, one in cache.changes.get("universes", {}).items()},
        skipped=cache.skipped,
        duration_seconds=result.seconds,
    )


def run_ended(*, now_s: float, run_id: str, status: str, processed: int, failed: int, seconds: float) -> list[Message]:
    """Announce the end of a run."""
    completed = RunCompleted(
        run_id=run_id,
        status="completed" if status == "completed" else "cancelled" if status == "cancelled" else "failed",
        success=status == "completed",
        symbols_processed=processed,
        symbols_failed=failed,
        duration_seconds=seconds,
    )
    return processing_completed(now_s=now_s, completed=completed)
