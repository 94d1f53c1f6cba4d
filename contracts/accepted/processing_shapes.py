"""The shapes of the daily run's messages, written by hand from the application's description."""

from collections.abc import Mapping

from .shape import COUNT, DATE, FLAG, NUMBER, PERCENT, TIME, WORD, list_of, map_of, one_of, or_null
from .streaming_shapes import Shape


def _envelopes(payload: Shape, *events: str) -> list[Shape]:
    """Make seed 002's envelope of each event."""
    return [
        {"event": event, "timestamp": TIME, "source": WORD, "version": "1.0", "payload": {"run_id": WORD, **payload}}
        for event in events
    ]


_PHASE_STARTED: Shape = {"total_symbols": COUNT}
_PHASE_PROGRESS: Shape = {
    "completed_symbols": COUNT,
    "total_symbols": COUNT,
    "percent_complete": PERCENT,
    "current_symbol": or_null(WORD),
    "eta_seconds": or_null(NUMBER),
}
_RATED: Shape = {"total_symbols": COUNT, "success_rate": PERCENT, "duration_seconds": NUMBER}

# If a channel has several messages, the first key of each distinguishes them.
PROCESSING_SHAPES: Mapping[str, list[Shape]] = {
    "tickstock:processing:status": [
        *_envelopes(
            {
                "run_date": DATE,
                "phases": list_of(one_of("import", "cache_sync", "indicators", "patterns")),
                "universe": WORD,
                "trigger_type": one_of("automatic", "manual"),
            },
            *("processing_started", "daily_processing_started"),
        ),
        *_envelopes(
            {
                "phase": one_of("import", "cache_sync", "indicators", "patterns"),
                "progress": PERCENT,
                "current_symbol": or_null(WORD),
                "symbols_completed": COUNT,
                "estimated_completion": or_null(TIME),
            },
            "daily_processing_progress",
        ),
        *_envelopes(
            {
                "status": one_of("completed", "failed", "cancelled"),
                "success": FLAG,
                "symbols_processed": COUNT,
                "symbols_failed": COUNT,
                "duration_seconds": NUMBER,
            },
            *("processing_completed", "daily_processing_completed"),
        ),
    ],
    "tickstock:processing:schedule": [
        {
            "event": "schedule_updated",
            "timestamp": TIME,
            "source": WORD,
            "version": "1.0",
            "payload": {
                "enabled": FLAG,
                "trigger_time": WORD,
                "timezone": WORD,
                "next_run": or_null(TIME),
                "universes": list_of(WORD),
                "market_check": FLAG,
            },
        }
    ],
    "tickstock:import:started": _envelopes(_PHASE_STARTED, "import_started", "data_import_started"),
    "tickstock:import:progress": _envelopes(_PHASE_PROGRESS, "import_progress"),
    "tickstock:import:completed": _envelopes(
        {
            "total_symbols": COUNT,
            "successful_symbols": COUNT,
            "success_count": COUNT,
            "failure_count": COUNT,
            "duration_seconds": NUMBER,
        },
        *("import_completed", "data_import_completed"),
    ),
    "tickstock:cache:started": _envelopes(_PHASE_STARTED, "cache_sync_started"),
    "tickstock:cache:progress": _envelopes(_PHASE_PROGRESS, "cache_sync_progress"),
    "tickstock:cache:completed": _envelopes(
        {
            "mode": one_of("full", "market_cap", "themes", "ipos"),
            "entries_updated": COUNT,
            "symbols_added": COUNT,
            "symbols_removed": COUNT,
            "universes": map_of({"added": list_of(WORD), "removed": list_of(WORD)}),
            "skipped": or_null(WORD),
            "duration_seconds": NUMBER,
        },
        "cache_sync_completed",
    ),
    "tickstock:indicators:started": _envelopes(_PHASE_STARTED, "indicator_processing_started"),
    "tickstock:indicators:progress": _envelopes(_PHASE_PROGRESS, "indicator_progress"),
    "tickstock:indicators:completed": _envelopes(
        {**_RATED, "indicators_calculated": COUNT}, "indicator_processing_completed"
    ),
    "tickstock:indicators:calculated": _envelopes(
        {
            "symbol": WORD,
            "indicator": WORD,
            "timeframe": WORD,
            "value": NUMBER,
            "values": map_of(NUMBER),
            "timestamp": TIME,
        },
        "indicator_calculated",
    ),
    "tickstock:patterns:started": _envelopes(_PHASE_STARTED, "pattern_processing_started"),
    "tickstock:patterns:progress": _envelopes(_PHASE_PROGRESS, "pattern_progress"),
    "tickstock:patterns:completed": _envelopes({**_RATED, "patterns_detected": COUNT}, "pattern_processing_completed"),
}
