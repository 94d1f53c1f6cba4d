"""What the API hears and says: the bodies of its calls. Times are ISO-8601 UTC, progress is 0..100. Pure."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

# Nothing that PostgreSQL or a terminal cannot take.
Word = Annotated[str, Meta(min_length=1, max_length=201, pattern=r"^[^\x00-\x1f\x7f]+$")]
Words = Annotated[list[Word], Meta(max_length=10_000)]
Percent = Annotated[float, Meta(ge=0, le=100)]

# -- what is asked for -------------------------------------------------------------------------------------------------


class ManualTrigger(Struct, kw_only=True):
    """A daily run. phases: all, import (data_import), cache_sync, indicators, patterns; universe: NAME:KEY, or `all`.

    run_date: the day of the run; by default the last one on which the market has opened.
    """

    skip_market_check: bool = False
    phases: Words | None = None
    universe: Word | None = None
    run_date: date | None = None


class ImportTrigger(Struct, kw_only=True):
    """An import alone. timeframes: daily, weekly, monthly; lookback_days: trading days up to the run's."""

    universes: Words | None = None
    timeframes: Words | None = None
    lookback_days: Annotated[int, Meta(ge=1, le=1000)] = 1


class IndicatorTrigger(Struct, kw_only=True):
    """Indicators alone. timeframe: daily, weekly or monthly; nothing said: all of them."""

    timeframe: Word | None = None
    symbols: Words | None = None
    indicators: Words | None = None


class PatternTrigger(Struct, kw_only=True):
    """Patterns alone. timeframe: daily, weekly or monthly; nothing said: all of them."""

    timeframe: Word | None = None
    symbols: Words | None = None
    patterns: Words | None = None


class Retry(Struct, kw_only=True):
    """What a run could not do, again. symbols: only these."""

    original_run_id: UUID
    symbols: Words | None = None


# -- what is answered --------------------------------------------------------------------------------------------------


class Refusal(Struct, kw_only=True, omit_defaults=True):
    """Why a call was refused, in a sentence. run_id: the run that stands in the way."""

    message: str
    run_id: UUID | UnsetType = UNSET


class Started(Struct, kw_only=True):
    """A run was added; it begins as soon as a process `tickstock-jobs` takes it up."""

    run_id: UUID
    status: Literal["started"] = "started"
    message: str = "Processing started successfully"


class Cancelled(Struct, kw_only=True):
    """A run is asked to end."""

    run_id: UUID
    message: str


class ProcessingStatus(Struct, kw_only=True):
    """The run that is alive. is_running: false, too, where no process `tickstock-jobs` has been there for a minute.

    as_of: when it was read; old while PostgreSQL does not answer.
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
    """A run. status: success, failed, cancelled, interrupted, or queued, running, cancelling while it is alive."""

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
    """Runs, the newest first."""

    runs: list[HistoryRun]


class Services(Struct, kw_only=True):
    """Whether each part answers."""

    redis: Literal["healthy", "unhealthy"]
    database: Literal["healthy", "unhealthy"]
    api: Literal["healthy"] = "healthy"


class Health(Struct, kw_only=True):
    """The fleet's health in the words of `tickstock status`. looked_s: how old the look is, in seconds."""

    status: Literal["healthy", "degraded", "error", "starting"]
    services: Services
    processing_status: str
    version: str
    looked_s: float | None


class FleetAnswer(Struct, kw_only=True):
    """The object that `tickstock status --json` prints. looked_s: how old it is, in seconds."""

    looked_s: float
    fleet: dict[str, Any]
