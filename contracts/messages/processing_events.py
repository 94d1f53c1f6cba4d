"""The events of the daily run: the envelope, the payload of each event, and the events' names."""

from collections.abc import Mapping
from typing import Generic, Literal, NamedTuple, TypeVar

from . import channel_names as channel
from .message import Body, Count, IsoTime, Percent

PhaseName = Literal["import", "cache_sync", "indicators", "patterns"]
Trigger = Literal["automatic", "manual"]
CacheMode = Literal["full", "market_cap", "themes", "ipos"]  # the application's names; each computes some universes
SCHEDULER = "daily_scheduler"  # the source of messages about a whole run

# An event's names: ours first, then the application's if it has another one.
RUN_STARTED = ("processing_started", "daily_processing_started")
RUN_COMPLETED = ("processing_completed", "daily_processing_completed")
RUN_PROGRESS = ("daily_processing_progress",)
CALCULATED = ("indicator_calculated",)
SCHEDULED = ("schedule_updated",)


class Phase(NamedTuple):
    """A phase's source, its channels, and the names of its events."""

    source: str
    channels: tuple[str, str, str]  # started, progress, completed
    started: tuple[str, ...]
    progress: tuple[str, ...]
    completed: tuple[str, ...]


PHASES: Mapping[PhaseName, Phase] = {
    "import": Phase(
        source="daily_import_job",
        channels=(channel.IMPORT_STARTED, channel.IMPORT_PROGRESS, channel.IMPORT_COMPLETED),
        started=("import_started", "data_import_started"),
        progress=("import_progress",),
        completed=("import_completed", "data_import_completed"),
    ),
    "cache_sync": Phase(
        source="daily_cache_sync_job",
        channels=(channel.CACHE_STARTED, channel.CACHE_PROGRESS, channel.CACHE_COMPLETED),
        started=("cache_sync_started",),
        progress=("cache_sync_progress",),
        completed=("cache_sync_completed",),
    ),
    "indicators": Phase(
        source="daily_indicator_job",
        channels=(channel.INDICATORS_STARTED, channel.INDICATORS_PROGRESS, channel.INDICATORS_COMPLETED),
        started=("indicator_processing_started",),
        progress=("indicator_progress",),
        completed=("indicator_processing_completed",),
    ),
    "patterns": Phase(
        source="daily_pattern_job",
        channels=(channel.PATTERNS_STARTED, channel.PATTERNS_PROGRESS, channel.PATTERNS_COMPLETED),
        started=("pattern_processing_started",),
        progress=("pattern_progress",),
        completed=("pattern_processing_completed",),
    ),
}


class Payload(Body, frozen=True, kw_only=True):
    """The base of every payload: run_id is its first key."""

    run_id: str


class RunStarted(Payload, frozen=True, kw_only=True):
    """processing_started, daily_processing_started. run_date: YYYY-MM-DD, New York."""

    run_date: str
    phases: list[PhaseName]
    universe: str
    trigger_type: Trigger


class RunCompleted(Payload, frozen=True, kw_only=True):
    """processing_completed, daily_processing_completed."""

    status: Literal["completed", "failed", "cancelled"]
    success: bool
    symbols_processed: Count
    symbols_failed: Count
    duration_seconds: float


class RunProgress(Payload, frozen=True, kw_only=True):
    """The message daily_processing_progress. progress: of the phase that runs, 0..100."""

    phase: PhaseName
    progress: Percent
    current_symbol: str | None
    symbols_completed: Count
    estimated_completion: IsoTime | None


class PhaseStarted(Payload, frozen=True, kw_only=True):
    """A phase began."""

    total_symbols: Count


class PhaseProgress(Payload, frozen=True, kw_only=True):
    """The progress of a phase."""

    completed_symbols: Count
    total_symbols: Count
    percent_complete: Percent
    current_symbol: str | None
    eta_seconds: float | None


class ImportCompleted(Payload, frozen=True, kw_only=True):
    """Bars imported. successful_symbols and success_count are the same number, for two readers."""

    total_symbols: Count
    successful_symbols: Count
    success_count: Count
    failure_count: Count
    duration_seconds: float


class UniverseChange(Body, frozen=True, kw_only=True):
    """The added and removed symbols of a universe: the first 100 of each."""

    added: list[str]
    removed: list[str]


class CacheCompleted(Payload, frozen=True, kw_only=True):
    """Universes computed. universes: NAME:KEY -> its change; skipped: why nothing was done, or null."""

    mode: CacheMode
    entries_updated: Count
    symbols_added: Count
    symbols_removed: Count
    universes: dict[str, UniverseChange]
    skipped: str | None
    duration_seconds: float


class IndicatorsCompleted(Payload, frozen=True, kw_only=True):
    """Daily indicators calculated; success_rate: percent of the symbols."""

    total_symbols: Count
    indicators_calculated: Count
    success_rate: Percent
    duration_seconds: float


class PatternsCompleted(Payload, frozen=True, kw_only=True):
    """Daily patterns detected; success_rate: percent of the symbols."""

    total_symbols: Count
    patterns_detected: Count
    success_rate: Percent
    duration_seconds: float


class IndicatorCalculated(Payload, frozen=True, kw_only=True):
    """One indicator of one symbol on `tickstock:indicators:calculated`; timestamp: the bar's start."""

    symbol: str
    indicator: str
    timeframe: str
    value: float
    values: dict[str, float]
    timestamp: IsoTime


class Schedule(Body, frozen=True, kw_only=True):
    """schedule_updated: the new answer of GET /api/processing/schedule. trigger_time: HH:MM in the timezone."""

    enabled: bool
    trigger_time: str
    timezone: str
    next_run: IsoTime | None
    universes: list[str]
    market_check: bool


P = TypeVar("P", bound=Body)


class Envelope(Body, Generic[P], frozen=True, kw_only=True):
    """The envelope of every event of a run."""

    event: str
    timestamp: IsoTime
    source: str
    version: Literal["1.0"] = "1.0"
    payload: P
