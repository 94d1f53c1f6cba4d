"""One example of each message of each channel, made by the same functions as the real messages."""

from collections.abc import Iterator

from ..detection import Detection, IndicatorAlert, IndicatorValue
from .message import Figure, Message, iso
from .monitoring_messages import (
    monitoring_alert_resolved,
    monitoring_alert_triggered,
    monitoring_health_check,
    monitoring_metric_update,
    monitoring_system_status,
)
from .pattern_messages import alert_message, indicator_message, pattern_messages
from .processing_events import (
    CacheCompleted,
    IndicatorCalculated,
    IndicatorsCompleted,
    PatternsCompleted,
    PhaseName,
    RunCompleted,
    RunStarted,
    Schedule,
    UniverseChange,
)
from .processing_messages import (
    cache_completed,
    import_completed,
    indicator_calculated,
    indicators_completed,
    patterns_completed,
    phase_progress,
    phase_started,
    processing_completed,
    processing_started,
    schedule_updated,
)
from .streaming_messages import (
    Connection,
    DataFlow,
    Issue,
    Resources,
    StaleSymbols,
    session_started,
    session_stopped,
    streaming_health,
)
from .system_messages import (
    Component,
    Components,
    backtest_progress,
    backtest_results,
    critical_alert,
    error,
    health_status,
)

_SESSION = "0b6a3c1e-7d52-4f0a-9a6e-2f1d8c4b5e90"
_RUN = "550e8400-e29b-41d4-a716-446655440000"
_ERROR = "7f1c9d5a-3e64-4b8f-8a21-6d0e9b7c4f13"
_ALERT = "workers-behind"
_JOB = "backtest_1763735400_5f0c7d21"
_RESULT = "3-1042"
_MINUTE = 29_395_590  # 2025-11-21T14:30:00 UTC
_NOW_S = 1_763_735_460.25  # 2025-11-21T14:31:00.25 UTC
_OPENED_S = 1_763_735_400.0
_CLOSED_S = 1_763_758_800.0
_IMPORTED_S = 1_763_759_400.0
_COMPONENTS = Components(
    redis=Component(status="healthy", details={"used_memory_mb": 212.4, "ping_ms": 0.3}),
    database=Component(status="healthy", details={"ping_ms": 0.6}),
    workers=Component(status="degraded", details={"alive": 3, "partitions_owned": 15, "partitions_total": 16}),
    bridge=Component(status="healthy", details={"epoch": 7, "lag_entries": 0}),
    feed=Component(status="healthy", details={"ticks_per_second": 8123.5, "last_tick_age_s": 0.4}),
    jobs=Component(status="healthy", details={"processes": 2, "waiting_steps": 0}),
)


def example_messages() -> list[Message]:
    """Return an example of each message of each channel, without epoch and seq."""
    return [*_results(), *_session(), *_system(), *_monitoring(), *_backtest(), *_run(), *_phases()]


def _results() -> Iterator[Message]:
    detection = Detection(
        symbol="AAPL",
        pattern="Doji",
        timeframe="1min",
        minute=_MINUTE,
        confidence=0.85,
        direction=0,
        open=185.48,
        high=185.9,
        low=185.1,
        close=185.5,
        volume=1000.0,
        detected_at=_NOW_S,
        parameters={"rule": "talib"},
    )
    value = IndicatorValue(
        symbol="AAPL",
        indicator="RSI",
        timeframe="1min",
        minute=_MINUTE,
        value=72.5,
        values={"rsi_14": 72.5},
        period=14,
        calculated_at=_NOW_S,
    )
    alert = IndicatorAlert(
        symbol="AAPL",
        alert_type="RSI_OVERBOUGHT",
        indicator="RSI",
        timeframe="1min",
        minute=_MINUTE,
        value=72.5,
        threshold=70.0,
        severity="warning",
        raised_at=_NOW_S,
        rsi=72.5,
    )
    yield from pattern_messages(detection, session_id=_SESSION, result_id=_RESULT)
    yield indicator_message(value, session_id=_SESSION, result_id=_RESULT)
    yield alert_message(alert, session_id=_SESSION, result_id=_RESULT)


def _session() -> Iterator[Message]:
    yield session_started(
        now_s=_NOW_S,
        session_id=_SESSION,
        universe="stock_etf_test",
        symbol_universe_key="stock_etf_test:combo_test",
        started_at_s=_OPENED_S,
        symbol_count=70,
    )
    yield session_stopped(
        now_s=_CLOSED_S,
        session_id=_SESSION,
        stopped_at_s=_CLOSED_S,
        duration_seconds=23_400.0,
        total_patterns=1250,
        total_indicators=81_900,
        final_status="completed",
    )
    yield streaming_health(
        now_s=_NOW_S,
        session_id=_SESSION,
        status="degraded",
        active_symbols=69,
        patterns_detected=3,
        indicators_calculated=207,
        connection=Connection(
            redis="connected", database="connected", workers=3, partitions_owned=15, partitions_total=16
        ),
        data_flow=DataFlow(ticks_per_second=8123.5, bars_per_minute=69.0, processing_lag_ms=4.2),
        resources=Resources(cpu_percent=37.5, memory_mb=412.0),
        stale_symbols=StaleSymbols(count=1, symbols=["BRK.B"]),
        issues=[
            Issue(code="partition_unowned", message="1 of 16 partitions has no worker", since=iso(1_763_735_457.0))
        ],
    )


def _system() -> Iterator[Message]:
    yield health_status(now_s=_NOW_S, status="degraded", components=_COMPONENTS)
    yield critical_alert(
        now_s=_NOW_S,
        text="no worker has committed for 60 s",
        component="workers",
        details={"last_commit_age_s": 61.2, "lag_entries": 4120},
    )
    yield error(
        now_s=_NOW_S,
        error_id=_ERROR,
        severity="error",
        category="database",
        component="committer",
        error_code="STATEMENT_TIMEOUT",
        text="the commit of partition 3 took longer than 30 s",
        context={"partition": 3},
    )


def _monitoring() -> Iterator[Message]:
    yield monitoring_metric_update(cpu_percent=37.5, memory_percent=41.0, overall=92.5)
    yield monitoring_alert_triggered(alert_id=_ALERT, level="warning", text="the workers are 12 s behind")
    yield monitoring_alert_resolved(alert_id=_ALERT)
    yield monitoring_health_check(
        overall_score=92.5,
        status="degraded",
        components={name: getattr(_COMPONENTS, name) for name in _COMPONENTS.__struct_fields__},
    )
    yield monitoring_system_status(status="healthy", details={"workers": 3, "partitions_owned": 16})


def _backtest() -> Iterator[Message]:
    yield backtest_progress(
        now_s=_NOW_S, job_id=_JOB, progress=0.5, current_symbol="AAPL", estimated_completion_s=_NOW_S + 30
    )
    figures: dict[str, Figure] = {
        "total_return": 0.031,
        "annual_return": 0.034,
        "sharpe_ratio": 1.2,
        "sortino_ratio": 1.9,
        "max_drawdown": -0.04,
        "exposure": 0.2,
        "final_equity": 103_100.0,
        "benchmark_return": 0.05,
        "total_trades": 42,
        "winning_trades": 24,
        "losing_trades": 18,
        "win_rate": 24 / 42,
        "profit": 3100.0,
        "profit_factor": None,
        "average_profit": 73.8,
        "best_trade": 990.5,
        "worst_trade": -512.25,
        "average_bars": 7.5,
        "commission": 840.0,
        "signals": 60,
        "symbols": 2,
        "start_date": "2025-01-02",
        "end_date": "2025-11-20",
        "timeframe": "daily",
        "initial_capital": 100_000.0,
    }
    yield backtest_results(now_s=_NOW_S, job_id=_JOB, status="completed", results=figures)


def _run() -> Iterator[Message]:
    started = RunStarted(
        run_id=_RUN,
        run_date="2025-11-21",
        phases=["import", "cache_sync", "indicators", "patterns"],
        universe="sp500",
        trigger_type="automatic",
    )
    yield from processing_started(now_s=_IMPORTED_S, started=started)
    completed = RunCompleted(
        run_id=_RUN,
        status="completed",
        success=True,
        symbols_processed=505,
        symbols_failed=5,
        duration_seconds=2100.0,
    )
    yield from processing_completed(now_s=_IMPORTED_S, completed=completed)
    schedule = Schedule(
        enabled=True,
        trigger_time="16:10",
        timezone="America/New_York",
        next_run=iso(1_764_018_600.0),
        universes=["sp500", "nasdaq100"],
        market_check=True,
    )
    yield from schedule_updated(now_s=_IMPORTED_S, schedule=schedule)


def _phases() -> Iterator[Message]:
    phases: tuple[PhaseName, ...] = ("import", "cache_sync", "indicators", "patterns")
    for phase in phases:
        yield from phase_started(phase, now_s=_IMPORTED_S, run_id=_RUN, total_symbols=505)
        yield from phase_progress(
            phase,
            now_s=_IMPORTED_S,
            run_id=_RUN,
            completed_symbols=250,
            total_symbols=505,
            current_symbol="GOOGL",
            eta_seconds=300.0,
        )
    yield from import_completed(
        now_s=_IMPORTED_S, run_id=_RUN, success_count=500, failure_count=5, duration_seconds=1200.0
    )
    cached = CacheCompleted(
        run_id=_RUN,
        mode="full",
        entries_updated=12,
        symbols_added=2,
        symbols_removed=1,
        universes={"market_leaders:top_100": UniverseChange(added=["NEW", "PLTR"], removed=["OLD"])},
        skipped=None,
        duration_seconds=3.5,
    )
    yield from cache_completed(now_s=_IMPORTED_S, completed=cached)
    calculated = IndicatorsCompleted(
        run_id=_RUN, total_symbols=505, indicators_calculated=7575, success_rate=99.0, duration_seconds=600.0
    )
    yield from indicators_completed(now_s=_IMPORTED_S, completed=calculated)
    found = PatternsCompleted(
        run_id=_RUN, total_symbols=505, patterns_detected=1250, success_rate=99.0, duration_seconds=1200.0
    )
    yield from patterns_completed(now_s=_IMPORTED_S, completed=found)
    rsi = IndicatorCalculated(
        run_id=_RUN,
        symbol="AAPL",
        indicator="RSI",
        timeframe="daily",
        value=61.0,
        values={"rsi_14": 61.0},
        timestamp="2025-11-21T05:00:00+00:00",
    )
    yield from indicator_calculated(now_s=_IMPORTED_S, calculated=rsi)
