"""A run of daily processing and its steps, as everybody speaks of them. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec

from .errors import UsageError
from .messages.processing_events import PHASES, CacheMode, PhaseName

Trigger = Literal["automatic", "manual", "retry"]
Status = Literal["queued", "running", "cancelling", "completed", "failed", "cancelled", "interrupted"]
# Where bars of days come from, in the order in which they are asked; also the provenance of their rows.
Source = Literal["grouped", "flat", "aggregates", "own"]

STATUSES: tuple[Status, ...] = get_args(Status)
ALIVE: tuple[Status, ...] = ("queued", "running", "cancelling")
ALL_PHASES: tuple[PhaseName, ...] = tuple(PHASES)  # in the order in which a run opens them
CACHE_MODES: tuple[CacheMode, ...] = get_args(CacheMode)
SOURCES: tuple[Source, ...] = get_args(Source)
EVERY_UNIVERSE = "all"  # every symbol that has bars


class RunParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may be asked for beside its phases. None: all.

    lookback_days: trading days up to the run's own, itself included, whose bars are made and looked at.
    skip_market_check: the run's own day counts even where the market was closed.
    batch: symbols of a step. cache_mode: what cache_sync makes again.
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
    """A run that somebody asks for. idempotency_key: who asks again under the same one means the same run."""

    run_date: date
    trigger: Trigger
    universe: str
    phases: tuple[PhaseName, ...]
    parameters: RunParameters
    requested_by: str = ""
    original_run_id: UUID | None = None
    idempotency_key: str | None = None


class StepKey(NamedTuple):
    """What tells a step from every other. timeframe: "" where a step does all of them."""

    run_id: UUID
    phase: str
    timeframe: str
    batch: int

    @property
    def text(self) -> str:
        """Write it for a stream's entry."""
        return f"{self.run_id}|{self.phase}|{self.timeframe}|{self.batch}"


class Step(NamedTuple):
    """A step that waits. token: of this attempt."""

    key: StepKey
    token: int
    attempt: int
    symbols: list[str]


class StepResult(NamedTuple):
    """What a step did. found: rows that are there after it; changed: rows that it wrote or deleted; failed: why.

    detail: what else is to be known of it, as JSON: `rows` of each source, an `error` that others made good.
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
    """Return the phases that are named, in their order: `all`, and the application's `data_import`, too.

    Raises UsageError, which names the known ones.
    """
    wanted = {"import" if name == "data_import" else name for name in names} or {"all"}
    if unknown := sorted(wanted - {"all", *ALL_PHASES}):
        raise UsageError(f"there is no phase {unknown[0]}; there are: all, {', '.join(ALL_PHASES)}")
    return tuple(phase for phase in ALL_PHASES if phase in wanted or "all" in wanted)


def parameters_of(value: Any) -> RunParameters:
    """Read parameters as a row holds them."""
    return msgspec.convert(value, RunParameters)
