"""The bodies of the API's requests and answers. Times are ISO-8601 UTC, progress is 0..100. Pure."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

# No control characters: PostgreSQL or a terminal may not accept them.
Word = Annotated[str, Meta(min_length=1, max_length=201, pattern=r"^[^\x00-\x1f\x7f]+$")]
Words = Annotated[list[Word], Meta(max_length=10_000)]
Percent = Annotated[float, Meta(ge=0, le=100)]

# -- requests ----------------------------------------------------------------------------------------------------------


class ManualTrigger(Struct, kw_only=True):
    """Start a daily run. phases: all, import (data_import), cache_sync, indicators, patterns.

    universe: NAME:KEY, or `all`. run_date: the day of the run; default: the last day on which the market has opened.
    """

    skip_market_check: bool = False
    phases: Words | None = None
    universe: Word | None = None
    run_date: date | None = None


class ImportTrigger(Struct, kw_only=True):
    """Start only an import. timeframes: daily, weekly, monthly; lookback_days: trading days up to the run's day."""

    universes: Words | None = None
    timeframes: Words | None = None
    lookback_days: Annotated[int, Meta(ge=1, le=1000)] = 1


class IndicatorTrigger(Struct, kw_only=True):
    """Start only indicators. timeframe: daily, weekly or monthly; default: all of them."""

    timeframe: Word | None = None
    symbols: Words | None = None
    indicators: Words | None = None


class PatternTrigger(Struct, kw_only=True):
    """Start only patterns. timeframe: daily, weekly or monthly; default: all of them."""

    timeframe: Word | None = None
    symbols: Words | None = None
    patterns: Words | None = None


class Retry(Struct, kw_only=True):
    """Run the failed symbols of an earlier run again. symbols: only these."""

    original_run_id: UUID
    symbols: Words | None = None


# -- answers -----------------------------------------------------------------------------------------------------------


class Refusal(Struct, kw_only=True, omit_defaults=True):
    """Why a call was refused, in a sentence. run_id: the active run that prevents it."""

    message: str
    run_id: UUID | UnsetType = UNSET


class Started(Struct, kw_only=True):
    """A run was added. A process `tickstock-jobs` begins it."""

    run_id: UUID
    status: Literal["started"] = "started"
    message: str = "Processing started successfully"


class Cancelled(Struct, kw_only=True):
    """The run that is being cancelled."""

    run_id: UUID
    message: str


class ProcessingStatus(Struct, kw_only=True):
    """The active run. is_running: false also if no process `tickstock-jobs` has advanced the run for a minute.

    run_id: of the last run if none is active.
    as_of: the time of this state; it is old while PostgreSQL does not answer.
    """

    is_running: bool
    status: Literal["idle", "queued", "running", "cancelling"]
    run_id: UUID | None = None
    current_phase: str | None = None
    progress: Percent = 0.0
    symbols_processed: int = 0
    symbols_total: int = 0
    start_time: datetime | None = None
    estimated_completion: datetime | None = None
    as_of: datetime


class HistoryRun(Struct, kw_only=True):
    """A run. status: success, failed, cancelled, interrupted; queued, running or cancelling while it is active."""

    run_id: UUID
    run_date: date
    trigger_type: str
    start_time: datetime
    end_time: datetime | None
    status: str
    phases: list[str]
    universe: str
    symbols_processed: int
    symbols_failed: int
    patterns_detected: int
    indicators_calculated: int
    duration_seconds: float | None
    error: str | None


class History(Struct, kw_only=True):
    """Runs, newest first."""

    runs: list[HistoryRun]


class Services(Struct, kw_only=True):
    """Whether each server answers."""

    redis: Literal["healthy", "unhealthy"]
    database: Literal["healthy", "unhealthy"]
    api: Literal["healthy"] = "healthy"


class Health(Struct, kw_only=True):
    """The fleet's health in the words of `tickstock status`. looked_s: age of the last reading in seconds."""

    status: Literal["healthy", "degraded", "error", "starting"]
    services: Services
    processing_status: str
    version: str
    looked_s: float | None


class Moment(Struct, kw_only=True):
    """A reading of the fleet. lag_s: age of the oldest tick that waits; unpublished: results that wait."""

    at: datetime
    ticks_per_second: float
    bars_per_minute: float
    lag_ticks: int
    lag_s: float | None
    unpublished: int


class Hour(Struct, kw_only=True):
    """Readings of the last hour, oldest first, one each five seconds."""

    moments: list[Moment]


class Bar(Struct, kw_only=True):
    """A bar. time: its start, UTC; of a bar of days or longer, its first day.

    vwap, trades, revision: of 1-minute bars only. revision: how many times the bar changed. provenance: live, partial,
    replay or repair; of a daily bar, its source.
    """

    time: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float | None
    trades: int | None
    provenance: str | None
    revision: int | None


class Bars(Struct, kw_only=True):
    """Bars of one symbol, oldest first."""

    symbol: str
    timeframe: str
    bars: list[Bar]


class Pattern(Struct, kw_only=True):
    """A pattern. time: the end of its bar. bar: the start of its bar; of a bar of days or longer, its first day.

    superseded_at: the time at which a late tick removed it; null: it is valid. event: first (published), repeat, part.
    base_rate: how often such patterns were right on the measured days; null: not measured.
    """

    symbol: str
    time: datetime
    bar: str | None
    timeframe: str
    pattern: str
    confidence: float
    direction: str | None
    price: float | None
    volume: float | None
    levels: list[float]
    flow_id: str | None
    superseded_at: datetime | None
    event: str | None
    parameters: Any
    base_rate: Any


class Patterns(Struct, kw_only=True):
    """Patterns, latest first."""

    patterns: list[Pattern]


class Indicator(Struct, kw_only=True):
    """A value of an indicator. time: the end of its bar; values: each output by its name."""

    time: datetime
    timeframe: str
    indicator: str
    value: float | None
    values: Any


class Indicators(Struct, kw_only=True):
    """Values of one symbol, latest first."""

    symbol: str
    indicators: list[Indicator]


class Symbol(Struct, kw_only=True):
    """A known symbol. active: false if it is delisted."""

    symbol: str
    name: str | None
    type: str | None
    active: bool


class Symbols(Struct, kw_only=True):
    """Symbols that begin with the text, then symbols whose name contains it."""

    symbols: list[Symbol]


class Definition(Struct, kw_only=True):
    """A pattern or an indicator. description: its rule in one line. timeframes: null: all. threshold: of patterns."""

    name: str
    description: str | None
    enabled: bool
    timeframes: list[str] | None
    threshold: str | None
    period: int | None


class Definitions(Struct, kw_only=True):
    """All patterns and indicators; `enabled` tells whether the workers detect them."""

    patterns: list[Definition]
    indicators: list[Definition]


class Gaps(Struct, kw_only=True):
    """Gaps of live feeds, latest first, as `tickstock gaps --json` prints them."""

    gaps: list[dict[str, Any]]


class LedgerEntry(Struct, kw_only=True):
    """The ticks of a producer and their outcomes. gap: ticks_in without the outcomes; 0 if the row balances."""

    producer: str
    ticks_in: int
    applied: int
    quote_or_zero: int
    refused: int
    future: int
    too_late: int
    superseded: int
    lost: int
    repeated: int
    gap: int


class Ledger(Struct, kw_only=True):
    """producers, unbalanced: how many there are, also of those that are not listed."""

    producers: int
    unbalanced: int
    rows: list[LedgerEntry]


class DeadLetter(Struct, kw_only=True):
    """A refused tick. original: the beginning of its text, with escapes; original_bytes: the length of the whole."""

    id: int
    created_at: datetime
    partition: int
    producer: str
    reason: str
    detail: str
    original: str
    original_bytes: int


class DeadLetters(Struct, kw_only=True):
    """Refused ticks, latest first."""

    dead_letters: list[DeadLetter]


# -- schedule and cache ------------------------------------------------------------------------------------------------


class ScheduleChange(Struct, kw_only=True):
    """Fields to change. trigger_time: HH:MM in New York; after_close: start ten minutes after the close instead."""

    enabled: bool | None = None
    trigger_time: Word | None = None
    market_check: bool | None = None
    universes: Words | None = None
    after_close: bool | None = None


class ScheduleAnswer(Struct, kw_only=True):
    """When daily runs start by themselves."""

    enabled: bool
    trigger_time: str
    timezone: str
    next_run: datetime | None
    universes: list[str]
    market_check: bool
    after_close: bool


class CacheSyncTrigger(Struct, kw_only=True):
    """mode: full, market_cap, themes or ipos. force: accepted but without effect: each sync compares everything."""

    mode: Word = "full"
    force: bool = False


class CacheSyncStarted(Struct, kw_only=True):
    """A run with only the phase cache_sync was added."""

    job_id: UUID
    mode: str
    status: Literal["accepted"] = "accepted"
    message: str = "Cache synchronization started"


class CacheSyncStatus(Struct, kw_only=True):
    """The state of a run of cache_sync."""

    job_id: UUID
    mode: str
    status: str
    created_at: datetime
    start_time: datetime | None
    end_time: datetime | None
    duration_seconds: float | None
    triggered_by: str
    error_details: str | None
    progress: Percent


class CacheSyncHistory(Struct, kw_only=True):
    """Runs of cache_sync, newest first."""

    jobs: list[CacheSyncStatus]


class CacheSyncStats(Struct, kw_only=True):
    """How the runs of cache_sync in the last days ended."""

    days: int
    total: int
    completed: int
    failed: int
    cancelled: int
    running: int
    average_duration_seconds: float | None
    last_completed: datetime | None
