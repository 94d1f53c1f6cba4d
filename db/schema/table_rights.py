"""The rights that the role of DATABASE_URL needs on each table of another owner; `doctor` checks them.

Sequences of a table's defaults and functions are not listed: they follow from these.
"""

_READ = ("SELECT",)
_ADD = ("SELECT", "INSERT")
_CHANGE = ("SELECT", "INSERT", "UPDATE")
_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")

# bar_detail exists only if the application's ohlcv_1min could not get our columns.
TABLE_RIGHTS: dict[str, tuple[str, ...]] = {
    "always_open": ("SELECT", "INSERT", "DELETE"),
    "bar_detail": _ALL,
    "bridge_position": _CHANGE,
    "cache_entries": _CHANGE,
    "checkpoint": _CHANGE,
    "daily_indicators": ("SELECT", "INSERT", "DELETE"),
    "daily_intraday_patterns": ("SELECT", "INSERT", "DELETE"),
    "daily_patterns": ("SELECT", "INSERT", "DELETE"),
    "dead_letter": _ALL,
    "corporate_action": _ADD,
    "detection_flow": _ALL,
    "finished_replay": ("SELECT", "INSERT", "DELETE"),
    "forgotten_bar": _CHANGE,
    "front_door_loss": _CHANGE,
    "gap": _ALL,
    "gap_missing": ("SELECT", "INSERT", "DELETE"),
    "hourly_patterns": ("SELECT", "INSERT", "DELETE"),
    "id_mark": ("SELECT", "INSERT", "DELETE"),
    "indicator_definitions": _ADD,
    "integration_events": ("SELECT", "INSERT", "DELETE"),
    "intraday_indicators": ("SELECT", "INSERT", "DELETE"),
    "intraday_patterns": _ALL,
    "lease": _ALL,
    "ledger": _ALL,
    "market_closure": _CHANGE,
    "monthly_patterns": ("SELECT", "INSERT", "DELETE"),
    "ohlcv_1min": _ALL,
    "ohlcv_5min": _ALL,
    "ohlcv_15min": _ALL,
    "ohlcv_30min": _ALL,
    "ohlcv_daily": _CHANGE,
    "ohlcv_hourly": _ALL,
    "ohlcv_monthly": _CHANGE,
    "ohlcv_weekly": _CHANGE,
    "outbox": ("SELECT", "INSERT", "DELETE"),
    "pattern_definitions": _ADD,
    "pattern_flow_analysis": _READ,
    "recent_bar": _ALL,
    "recent_higher_bar": _ALL,
    "refused_job": ("SELECT", "INSERT", "DELETE"),
    "replaced": _ALL,
    "replay": ("SELECT", "INSERT", "DELETE"),
    "replay_cover": ("SELECT", "INSERT", "DELETE"),
    "run": _ALL,
    "run_result": _CHANGE,
    "run_step": _ALL,
    "schedule": _CHANGE,
    "schema_migration": _READ,
    "stream": _ADD,
    "streaming_session": _ALL,
    "symbols": _CHANGE,
    "upkeep": _CHANGE,
    "volume_only_minute": _READ,
    "weekly_patterns": ("SELECT", "INSERT", "DELETE"),
    "worker": _ALL,
}
