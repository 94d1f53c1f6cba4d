"""What the figures mean: issues, one status for the whole and for each part, a score.

The status is `stopping` once the bridge leaves; `error` while a critical issue stands; `starting` in the first 15 s
as long as no worker lives; `degraded` while any other issue stands; else `healthy`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ...contracts.channels import (
    Component,
    Components,
    Connection,
    DataFlow,
    Issue,
    Resources,
    StaleSymbols,
    Status,
    iso,
)
from ...contracts.market_hours import is_market_open
from ...db.redis import FULL_SHARE
from .figures import Figures

# The bounds of `tickstock status`, too (`ops/verdict.py`).
GRACE_S = 15.0  # a killed worker's partitions are taken over within 6 s; a fleet starts its parts one by one
SILENT_S = 60.0
LAG_S = 5.0  # a worker commits each second
UNDETECTED_BARS = 1_000


class Rule(NamedTuple):
    """When something is an issue, and of which part. text: what to say of it, None while all is well.

    critical: nothing is committed any more. alarming: a person must look at it now, on `tickstock:alerts:critical`.
    """

    code: str
    component: str
    critical: bool
    alarming: bool
    text: Callable[[Figures, datetime], str | None]


def _database_away(figures: Figures, _: datetime) -> str | None:
    """Our connection to PostgreSQL is lost and not yet opened again."""
    away_s = figures.database_away_s
    return None if away_s is None else f"PostgreSQL has not answered for {away_s:.0f} s: nothing is committed"


def _no_workers(figures: Figures, _: datetime) -> str | None:
    """No worker held its name's lease for 15 s."""
    if figures.workers or figures.workerless_s < GRACE_S:
        return None
    return f"no worker has been alive for {figures.workerless_s:.0f} s: start one with tickstock-worker"


def _partitions_unowned(figures: Figures, _: datetime) -> str | None:
    """Workers live, and yet a partition had no owner for 15 s."""
    if not figures.workers or figures.unowned_s < GRACE_S:
        return None
    return (
        f"{figures.partitions_total - figures.partitions_owned} of {figures.partitions_total} partitions have no owner"
    )


def _ticks_lost(figures: Figures, _: datetime) -> str | None:
    """Ticks lost: the ledger's count of them grew within the last 15 minutes."""
    return f"{figures.ticks_lost:,} ticks were lost on the way" if figures.ticks_lost else None


def _feed_silent(figures: Figures, at: datetime) -> str | None:
    """No tick was committed for 60 s in market hours."""
    if figures.silent_s <= SILENT_S or not is_market_open(at):
        return None
    return f"no tick for {figures.silent_s:.0f} s in market hours"


def _lag_high(figures: Figures, _: datetime) -> str | None:
    """Look for a tick that waits for its commit for more than 5 s."""
    if figures.lag_ms is None or figures.lag_ms <= LAG_S * 1000:
        return None
    return f"ticks wait for {figures.lag_ms / 1000:,.1f} s: add workers"


def _dead_letters(figures: Figures, _: datetime) -> str | None:
    """Dead letters were added within the last 5 minutes."""
    return (
        f"{figures.dead_letters:,} ticks or entries were refused: see tickstock dlq" if figures.dead_letters else None
    )


def _redis_memory_high(figures: Figures, _: datetime) -> str | None:
    """More than nine tenths of Redis's maxmemory is used."""
    share = figures.redis_memory_share
    return f"Redis uses {share:.0%} of its memory: producers wait" if share > FULL_SHARE else None


def _foreign_keys(figures: Figures, _: datetime) -> str | None:
    """Look for keys of ours in Redis that hold something else, because others use their names."""
    if not figures.foreign_keys:
        return None
    first, *others = figures.foreign_keys
    more = f", and {len(others):,} more" if others else ""
    return f"{first.says}{more}: their partitions wait; {first.do}"


def _undetected_bars(figures: Figures, _: datetime) -> str | None:
    """More closed bars wait for their detectors than a minute brings, and at least 1,000."""
    if figures.undetected <= max(UNDETECTED_BARS, figures.bars_per_minute):
        return None
    return f"{figures.undetected:,} closed bars wait for their detectors: add workers"


RULES = (
    Rule("DATABASE_AWAY", "database", True, True, _database_away),
    Rule("NO_WORKERS", "workers", True, True, _no_workers),
    Rule("TICKS_LOST", "feed", False, True, _ticks_lost),
    Rule("PARTITIONS_UNOWNED", "workers", False, False, _partitions_unowned),
    Rule("FEED_SILENT", "feed", False, False, _feed_silent),
    Rule("LAG_HIGH", "workers", False, False, _lag_high),
    Rule("DEAD_LETTERS", "feed", False, False, _dead_letters),
    Rule("REDIS_MEMORY_HIGH", "redis", False, False, _redis_memory_high),
    Rule("FOREIGN_KEYS", "redis", False, True, _foreign_keys),
    Rule("UNDETECTED_BARS", "workers", False, False, _undetected_bars),
)
_RULES = {rule.code: rule for rule in RULES}


def issues_of(figures: Figures, at: datetime, before: Sequence[Issue] = ()) -> list[Issue]:
    """Return what is wrong, worst first; an issue that stood before keeps its `since`."""
    since = {issue.code: issue.since for issue in before}
    found = ((rule.code, rule.text(figures, at)) for rule in RULES)
    now = iso(at.timestamp())
    return [Issue(code=code, message=text, since=since.get(code, now)) for code, text in found if text is not None]


def component_of(issue: Issue) -> str:
    """Name the part that an issue is of."""
    return _RULES[issue.code].component


def is_critical(issue: Issue) -> bool:
    """Tell an issue with which nothing is committed any more."""
    return _RULES[issue.code].critical


def is_alarming(issue: Issue) -> bool:
    """Tell an issue that a person must look at now."""
    return _RULES[issue.code].alarming


def status_of(figures: Figures, issues: Sequence[Issue], *, stopping: bool = False) -> Status:
    """Return the status of the whole, by the rule in this module's first lines."""
    if stopping:
        return "stopping"
    if any(is_critical(issue) for issue in issues):
        return "error"
    if not figures.workers and figures.uptime_s < GRACE_S:
        return "starting"
    return "degraded" if issues else "healthy"


def score_of(issues: Sequence[Issue]) -> float:
    """Return 100 less 60 for each critical issue and 15 for each other one; 0 at least."""
    return max(0.0, 100.0 - sum(60.0 if is_critical(issue) else 15.0 for issue in issues))


def components_of(figures: Figures, issues: Sequence[Issue], bridge: Component) -> Components:
    """Return the status and the figures of each part; bridge: our own."""
    parts: Mapping[str, dict[str, str | int | float | bool | None]] = {
        "redis": {"memory_share": round(figures.redis_memory_share, 4)},
        "database": {"away_seconds": figures.database_away_s},
        "workers": {
            "living": figures.workers,
            "partitions_owned": figures.partitions_owned,
            "partitions_total": figures.partitions_total,
            "processing_lag_ms": figures.lag_ms,
            "undetected_bars": figures.undetected,
        },
        "feed": {
            "ticks_per_second": round(figures.ticks_per_second, 3),
            "seconds_without_a_tick": round(figures.silent_s, 1),
            "dead_letters": figures.dead_letters,
            "ticks_lost": figures.ticks_lost,
        },
    }
    made = {name: Component(status=_status_of_part(name, issues), details=details) for name, details in parts.items()}
    return Components(**made, bridge=bridge)


def _status_of_part(name: str, issues: Sequence[Issue]) -> Status:
    found = [is_critical(issue) for issue in issues if component_of(issue) == name]
    if not found:
        return "healthy"
    return "error" if any(found) else "degraded"


def connection_of(figures: Figures) -> Connection:
    """Return what the bridge reaches. Redis is there: without it nobody would hear this."""
    return Connection(
        redis="connected",
        database="connected" if figures.database_away_s is None else "disconnected",
        workers=figures.workers,
        partitions_owned=figures.partitions_owned,
        partitions_total=figures.partitions_total,
    )


def data_flow_of(figures: Figures) -> DataFlow:
    """Return how much flows."""
    return DataFlow(
        ticks_per_second=round(figures.ticks_per_second, 3),
        bars_per_minute=round(figures.bars_per_minute, 3),
        processing_lag_ms=None if figures.lag_ms is None else round(figures.lag_ms, 3),
    )


def resources_of(figures: Figures) -> Resources:
    """Return what the fleet uses."""
    return Resources(cpu_percent=round(figures.cpu_percent, 2), memory_mb=round(figures.memory_mb, 2))


def stale_symbols_of(figures: Figures) -> StaleSymbols:
    """Return who ticked and does no longer."""
    return StaleSymbols(count=figures.stale_symbol_count, symbols=list(figures.stale_symbols))
