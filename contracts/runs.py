"""A daily run and its steps: names, parameters, results. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec

from .errors import UsageError
from .messages.processing_events import PHASES, CacheMode, PhaseName

Trigger = Literal["automatic", "manual", "retry"]
RunStatus = Literal["queued", "running", "cancelling", "completed", "failed", "cancelled", "interrupted"]
# The sources of daily bars, in the order in which they are asked; also the provenance of the rows.
Source = Literal["grouped", "flat", "aggregates", "own"]

STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
ALIVE: tuple[RunStatus, ...] = ("queued", "running", "cancelling")
ALL_PHASES: tuple[PhaseName, ...] = tuple(PHASES)  # in the order in which a run opens them
CACHE_MODES: tuple[CacheMode, ...] = get_args(CacheMode)
SOURCES: tuple[Source, ...] = get_args(Source)
EVERY_UNIVERSE = "all"  # every symbol that has bars


class RunParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a run, other than its phases. None: all.

    lookback_days: trading days to process, the run's own day included. skip_market_check: process the run's own day
    even if the market was closed. batch: symbols in one step. cache_mode: which universes cache_sync computes.
    """

    timeframes: tuple[str, ...] | None = None
    symbols: tuple[str, ...] | None = None
    indicators: tuple[str, ...] | None = None
    patterns: tuple[str, ...] | None = None
    lookback_days: int = 1
    skip_market_check: bool = False
    batch: int = 250
    cache_mode: CacheMode = "full"


class WantedRun(NamedTuple):
    """A requested run. idempotency_key: a second request with the same key returns the same run."""

    run_date: date
    trigger: Trigger
    universe: str
    phases: tuple[PhaseName, ...]
    parameters: RunParameters
    requested_by: str = ""
    original_run_id: UUID | None = None
    idempotency_key: str | None = None


class StepKey(NamedTuple):
    """What identifies a step. timeframe: "" if the step does all of them."""

    run_id: UUID
    phase: str
    timeframe: str
    batch: int

    @property
    def text(self) -> str:
        """Write the key for an entry of the stream."""
        return f"{self.run_id}|{self.phase}|{self.timeframe}|{self.batch}"


class Step(NamedTuple):
    """A step that waits to be done. token: random, new for each attempt; only its own attempt may commit the step."""

    key: StepKey
    token: int
    attempt: int
    symbols: list[str]


class StepResult(NamedTuple):
    """The result of a step. found: rows that exist after it; changed: rows written or deleted.

    failed: symbol -> reason. detail: more, as JSON: `rows` of each source, or the `error` of one without an answer.
    """

    found: int
    changed: int
    failed: dict[str, str]
    detail: Mapping[str, Any] = {}


def key_of(text: str) -> StepKey:
    """Read the key of a step. Raises ValueError."""
    run_id, phase, timeframe, batch = text.split("|")
    return StepKey(UUID(run_id), phase, timeframe, int(batch))


def phases_of(names: Sequence[str]) -> tuple[PhaseName, ...]:
    """Return the named phases in order. `all` and the application's name `data_import` are accepted.

    Raises UsageError, which lists the known phases.
    """
    wanted = {"import" if name == "data_import" else name for name in names} or {"all"}
    if unknown := sorted(wanted - {"all", *ALL_PHASES}):
        raise UsageError(f"there is no phase {unknown[0]}; there are: all, {', '.join(ALL_PHASES)}")
    return tuple(phase for phase in ALL_PHASES if phase in wanted or "all" in wanted)


def parameters_of(value: Any) -> RunParameters:
    """Read parameters as stored in a row."""
    return msgspec.convert(value, RunParameters)
