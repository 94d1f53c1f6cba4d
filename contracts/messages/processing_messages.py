"""The messages of the daily run: each event under both of its names, if the application has another name for it.

Every progress is also a `daily_processing_progress`.
"""

from collections.abc import Sequence

from . import channel_names as channel
from .message import Body, Message, check_finite, iso, message
from .processing_events import (
    CALCULATED,
    PHASES,
    RUN_COMPLETED,
    RUN_PROGRESS,
    RUN_STARTED,
    SCHEDULED,
    SCHEDULER,
    CacheCompleted,
    Envelope,
    ImportCompleted,
    IndicatorCalculated,
    IndicatorsCompleted,
    PatternsCompleted,
    PhaseName,
    PhaseProgress,
    PhaseStarted,
    RunCompleted,
    RunProgress,
    RunStarted,
    Schedule,
)


def processing_started(*, now_s: float, started: RunStarted) -> list[Message]:
    """Announce the start of a run."""
    return _for_each_name(RUN_STARTED, channel.PROCESSING_STATUS, now_s, SCHEDULER, started)


def processing_completed(*, now_s: float, completed: RunCompleted) -> list[Message]:
    """Announce the end of a run, successful or not."""
    check_finite(completed.duration_seconds)
    return _for_each_name(RUN_COMPLETED, channel.PROCESSING_STATUS, now_s, SCHEDULER, completed)


def phase_started(phase: PhaseName, *, now_s: float, run_id: str, total_symbols: int) -> list[Message]:
    """Announce the start of a phase."""
    of = PHASES[phase]
    return _for_each_name(
        of.started, of.channels[0], now_s, of.source, PhaseStarted(run_id=run_id, total_symbols=total_symbols)
    )


def phase_progress(
    phase: PhaseName,
    *,
    now_s: float,
    run_id: str,
    completed_symbols: int,
    total_symbols: int,
    current_symbol: str | None,
    eta_seconds: float | None,
) -> list[Message]:
    """Report the progress of a phase, and of the run. eta_seconds: None if unknown."""
    check_finite(eta_seconds or 0.0)
    percent = round(100 * completed_symbols / total_symbols, 1) if total_symbols else 100.0
    of_phase = PhaseProgress(
        run_id=run_id,
        completed_symbols=completed_symbols,
        total_symbols=total_symbols,
        percent_complete=percent,
        current_symbol=current_symbol,
        eta_seconds=eta_seconds,
    )
    of_run = RunProgress(
        run_id=run_id,
        phase=phase,
        progress=percent,
        current_symbol=current_symbol,
        symbols_completed=completed_symbols,
        estimated_completion=None if eta_seconds is None else iso(now_s + eta_seconds),
    )
    of = PHASES[phase]
    return [
        *_for_each_name(of.progress, of.channels[1], now_s, of.source, of_phase),
        *_for_each_name(RUN_PROGRESS, channel.PROCESSING_STATUS, now_s, of.source, of_run),
    ]


def import_completed(
    *, now_s: float, run_id: str, success_count: int, failure_count: int, duration_seconds: float
) -> list[Message]:
    """Announce the end of the import."""
    completed = ImportCompleted(
        run_id=run_id,
        total_symbols=success_count + failure_count,
        successful_symbols=success_count,
        success_count=success_count,
        failure_count=failure_count,
        duration_seconds=duration_seconds,
    )
    return _completed("import", now_s, completed)


def cache_completed(*, now_s: float, completed: CacheCompleted) -> list[Message]:
    """Announce that the universes are up to date."""
    return _completed("cache_sync", now_s, completed)


def indicators_completed(*, now_s: float, completed: IndicatorsCompleted) -> list[Message]:
    """Announce that the daily indicators are calculated."""
    return _completed("indicators", now_s, completed)


def patterns_completed(*, now_s: float, completed: PatternsCompleted) -> list[Message]:
    """Announce that the daily patterns are detected."""
    return _completed("patterns", now_s, completed)


def indicator_calculated(*, now_s: float, calculated: IndicatorCalculated) -> list[Message]:
    """Publish one indicator of one symbol."""
    check_finite(calculated.value, *calculated.values.values())
    source = PHASES["indicators"].source
    return _for_each_name(CALCULATED, channel.INDICATORS_CALCULATED, now_s, source, calculated)


def schedule_updated(*, now_s: float, schedule: Schedule) -> list[Message]:
    """Publish the new schedule."""
    return _for_each_name(SCHEDULED, channel.PROCESSING_SCHEDULE, now_s, SCHEDULER, schedule)


Completed = ImportCompleted | CacheCompleted | IndicatorsCompleted | PatternsCompleted


def _completed(phase: PhaseName, now_s: float, completed: Completed) -> list[Message]:
    check_finite(completed.duration_seconds)
    of = PHASES[phase]
    return _for_each_name(of.completed, of.channels[2], now_s, of.source, completed)


def _for_each_name(names: Sequence[str], on: str, now_s: float, source: str, payload: Body) -> list[Message]:
    timestamp = iso(now_s)
    return [message(on, Envelope(event=name, timestamp=timestamp, source=source, payload=payload)) for name in names]
