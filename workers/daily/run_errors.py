"""The error messages of a run for the channel `tickstock:errors`. Pure."""

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ...contracts.errors import RestAway, RestBroken, RestRefused, TickStockError
from ...contracts.messages.message import Message
from ...contracts.messages.system_messages import Category, Severity, error

_CODES: Mapping[type[TickStockError], tuple[str, Category]] = {
    RestAway: ("DATA_SOURCE_UNAVAILABLE", "network"),
    RestRefused: ("DATA_SOURCE_REFUSED", "security"),
    RestBroken: ("DATA_SOURCE_BROKEN", "validation"),
}
_COMPONENTS = {
    "import": "data_import",
    "cache_sync": "cache_sync",
    "indicators": "indicators",
    "patterns": "patterns",
    "signals": "backtest",
    "trades": "backtest",
}


def quota_used_up(*, now_s: float, run_id: str, phase: str, seconds: float) -> Message:
    """Report that the vendor accepts no request for this time."""
    text = f"the vendor's quota of requests is used up: asked again in {seconds:.0f} s"
    context = {"retry_after": round(seconds, 3)}
    return _error("RATE_LIMIT_EXCEEDED", "network", "warning", text, now_s, run_id, phase, context)


def source_failed(  # the fields of the message
    failure: TickStockError, *, now_s: float, run_id: str, phase: str, source: str, asked: str
) -> Message:
    """Report that a source did not answer, or not usably."""
    code, category = _CODES.get(type(failure), ("DATA_SOURCE_FAILED", "network"))
    context = {"source": source, "asked": asked}
    return _error(code, category, "error", str(failure), now_s, run_id, phase, context)


def splits_refused(sentence: str, *, now_s: float, run_id: str) -> Message:
    """Report that a split of the vendor's list is not used."""
    return _error("SPLIT_REFUSED", "validation", "warning", sentence, now_s, run_id, "import", {})


def step_failed(*, now_s: float, run_id: str, phase: str, timeframe: str, symbol: str | None, why: str) -> Message:
    """Report that a step failed for a symbol, or (None) for all symbols."""
    context = {"symbol": symbol, "timeframe": timeframe}
    return _error("STEP_FAILED", "performance", "error", why, now_s, run_id, phase, context)


def run_failed(*, now_s: float, run_id: str, phase: str, why: str) -> Message:
    """Report that a run failed."""
    return _error("RUN_FAILED", "performance", "critical", why, now_s, run_id, phase, {})


def _error(  # noqa: PLR0913  # one for each part of the message
    code: str,
    category: Category,
    severity: Severity,
    text: str,
    now_s: float,
    run_id: str,
    phase: str,
    context: Mapping[str, Any],
) -> Message:
    named = f"tickstockpl:error|{run_id}|{phase}|{code}|{text}|{now_s:.3f}"
    return error(
        now_s=now_s,
        error_id=str(uuid5(NAMESPACE_URL, named)),
        severity=severity,
        category=category,
        component=_COMPONENTS.get(phase, "daily_processing"),
        error_code=code,
        text=text,
        context={"run_id": run_id, "phase": phase, **context},
    )
