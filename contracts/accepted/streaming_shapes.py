"""The shapes that the application accepts, observed and written by hand.

They are not made from the Struct types: `tickstock contract check` compares messages with them, so that a mistake in a
type is found. Names, JSON types and bounds are here; the samples in the tests check the order of keys.
"""

from collections.abc import Mapping

from .shape import (
    COUNT,
    FLOW_ID,
    FRACTION,
    NUMBER,
    OBJECT,
    ORDINAL,
    PERCENT,
    TEXT,
    TIME,
    UNIX_SECONDS,
    WORD,
    Rule,
    either,
    list_of,
    map_of,
    one_of,
    optional,
    or_null,
)

Shape = Mapping[str, Rule]

_PROVENANCE = optional(one_of("partial"))  # of a bar for which the live feed did not receive the whole minute

_NOT_WELL = ("degraded", "error", "starting", "stopping")
_FLEET_STATUS = one_of("healthy", *_NOT_WELL)
_SEVERITY = one_of("critical", "error", "warning", "info", "debug")
_CATEGORY = one_of(
    *("pattern", "database", "network", "validation", "performance"),
    *("security", "configuration", "integration", "websocket", "redis"),
)
_COMPONENT: Shape = {"status": _FLEET_STATUS, "details": OBJECT}
_CHECKED: Shape = {"status": one_of("OK", *_NOT_WELL), "details": OBJECT}

_BASE_RATE: Shape = {"hits": COUNT, "of": ORDINAL, "expected": NUMBER, "after_bars": ORDINAL, "days": ORDINAL}

# The application passes these on unchanged; it has no key `parts` of its own.
_PARTS = list_of(
    {"pattern": WORD, "confidence": FRACTION, "direction": NUMBER, "levels": list_of(NUMBER), "flow_id": FLOW_ID}
)
_PATTERN_EVENT: Shape = {
    "event_type": "pattern_detected",
    "source": "TickStockPL",
    "timestamp": UNIX_SECONDS,
    "flow_id": FLOW_ID,
    "data": {
        "symbol": WORD,
        "pattern": WORD,
        "confidence": FRACTION,
        "flow_id": FLOW_ID,
        "tier": WORD,
        "source": WORD,
        "price_change": NUMBER,
        "current_price": NUMBER,
        "volume": NUMBER,
        "timestamp": UNIX_SECONDS,  # an ISO text breaks the application's cache
        "expires_at": UNIX_SECONDS,
        "indicators": {"relative_strength": NUMBER, "relative_volume": NUMBER},
        "parts": _PARTS,
        "bar_provenance": _PROVENANCE,
    },
}
_STREAMING_PATTERN: Shape = {
    "type": "streaming_pattern",
    "event": "pattern_detected",
    "session_id": FLOW_ID,
    "timestamp": TIME,
    "detection": {
        "symbol": WORD,
        "pattern": WORD,
        "pattern_type": WORD,
        "confidence": FRACTION,
        "timestamp": TIME,
        "timeframe": WORD,
        "parameters": OBJECT,
        "bar_data": {"open": NUMBER, "high": NUMBER, "low": NUMBER, "close": NUMBER, "volume": NUMBER},
        "metadata": {
            "session_id": FLOW_ID,
            "flow_id": FLOW_ID,
            "parts": _PARTS,
            "base_rate": or_null(_BASE_RATE),
            "bar_provenance": _PROVENANCE,
        },
    },
}
_STREAMING_INDICATOR: Shape = {
    "type": "streaming_indicator",
    "event": "indicator_calculated",
    "session_id": FLOW_ID,
    "timestamp": TIME,
    "calculation": {
        "symbol": WORD,
        "indicator": WORD,
        "indicator_type": WORD,
        "value": NUMBER,
        "values": either(NUMBER, map_of(NUMBER)),
        "timestamp": TIME,
        "timeframe": WORD,
        "metadata": {"period": or_null(ORDINAL), "bar_provenance": _PROVENANCE},
    },
}
_INDICATOR_ALERT: Shape = {
    "type": "indicator_alert",
    "alert_type": WORD,
    "symbol": WORD,
    "timestamp": TIME,
    "session_id": FLOW_ID,
    "severity": WORD,
    "data": {
        "rsi": or_null(NUMBER),
        "indicator": WORD,
        "value": NUMBER,
        "threshold": NUMBER,
        "bar_provenance": _PROVENANCE,
    },
}
_STARTED: Shape = {
    "session_id": FLOW_ID,
    "universe": TEXT,
    "symbol_universe_key": TEXT,
    "started_at": TIME,
    "start_time": TIME,
    "symbol_count": COUNT,
    "status": "active",
}
_STOPPED: Shape = {
    "session_id": FLOW_ID,
    "stopped_at": TIME,
    "duration_seconds": NUMBER,
    "total_patterns": COUNT,
    "total_indicators": COUNT,
    "final_status": WORD,
}
HEALTH: Shape = {
    "type": "streaming_health",
    "event": "streaming_health",
    "session_id": FLOW_ID,
    "status": _FLEET_STATUS,
    "timestamp": TIME,
    "active_symbols": COUNT,
    "ticks_per_second": NUMBER,
    "patterns_detected": COUNT,
    "indicators_calculated": COUNT,
    "connection": {
        "redis": WORD,
        "database": WORD,
        "workers": COUNT,
        "partitions_owned": COUNT,
        "partitions_total": COUNT,
    },
    "data_flow": {"ticks_per_second": NUMBER, "bars_per_minute": NUMBER, "processing_lag_ms": or_null(NUMBER)},
    "resources": {"cpu_percent": NUMBER, "memory_mb": NUMBER},
    "stale_symbols": {"count": COUNT, "symbols": list_of(WORD)},
    "issues": list_of({"code": WORD, "message": WORD, "since": TIME}),
}
_ERROR: Shape = {
    "event": "processing_error",
    "version": "1.0",
    "error_id": FLOW_ID,
    "source": "TickStockPL",
    "severity": _SEVERITY,
    "category": _CATEGORY,
    "message": TEXT,
    "component": WORD,
    "traceback": or_null(TEXT),
    "context": OBJECT,
    "timestamp": TIME,
    "payload": {
        "severity": _SEVERITY,
        "component": WORD,
        "error_code": WORD,
        "message": TEXT,
        "error_message": TEXT,
        "context": OBJECT,
    },
}
_FIGURE = or_null(either(NUMBER, TEXT))
_BACKTEST: Shape = {"event_type": WORD, "source": "TickStockPL", "timestamp": UNIX_SECONDS, "job_id": WORD}


def _session(event: str, session: Shape) -> list[Shape]:
    return [{"type": f"streaming_{event}", "event": event, "timestamp": TIME, "session": session, "data": session}]


# If a channel has several messages, the first key of each distinguishes them.
SHAPES: Mapping[str, list[Shape]] = {
    "tickstock.events.patterns": [_PATTERN_EVENT],
    "tickstock:patterns:streaming": [_STREAMING_PATTERN],
    "tickstock:patterns:detected": [_STREAMING_PATTERN],
    "tickstock:indicators:streaming": [_STREAMING_INDICATOR],
    "tickstock:alerts:indicators": [_INDICATOR_ALERT],
    "tickstock:streaming:session_started": _session("session_started", _STARTED),
    "tickstock:streaming:session_stopped": _session("session_stopped", _STOPPED),
    "tickstock:streaming:health": [{**HEALTH, "health": HEALTH}],
    "tickstock.health.status": [
        {
            "event_type": "system_health",
            "source": "TickStockPL",
            "timestamp": UNIX_SECONDS,
            "data": {
                "status": _FLEET_STATUS,
                "components": dict.fromkeys(("redis", "database", "workers", "bridge", "feed", "jobs"), _COMPONENT),
            },
        }
    ],
    "tickstock:alerts:critical": [
        {"type": WORD, "message": WORD, "severity": _SEVERITY, "component": WORD, "timestamp": TIME, "data": OBJECT}
    ],
    "tickstock:errors": [_ERROR],
    "tickstock:monitoring": [
        {
            "event_type": "METRIC_UPDATE",
            "metrics": {"system": {"cpu_percent": PERCENT, "memory_percent": PERCENT}},
            "health_score": {"overall": PERCENT},
        },
        {"event_type": "ALERT_TRIGGERED", "alert": {"id": WORD, "level": WORD, "message": WORD}},
        {"event_type": "ALERT_RESOLVED", "alert_id": WORD},
        {
            "event_type": "HEALTH_CHECK",
            "health": {"overall_score": PERCENT, "status": _FLEET_STATUS, "components": map_of(_CHECKED)},
        },
        {"event_type": "SYSTEM_STATUS", "status": one_of("RUNNING", *_NOT_WELL), "details": OBJECT},
    ],
    "tickstock.events.backtesting.progress": [
        {
            **_BACKTEST,
            "progress": FRACTION,
            "current_symbol": or_null(WORD),
            "estimated_completion": or_null(UNIX_SECONDS),
        }
    ],
    "tickstock.events.backtesting.results": [
        {**_BACKTEST, "status": one_of("completed", "failed"), "results": map_of(_FIGURE)}
    ],
}
