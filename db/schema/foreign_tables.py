"""Every table and column that may belong to the application: which we need, and the substitutes for the others.

`tickstock migrate` adds missing ones if its role may; migrate, doctor and each start report the rest.
"""

from typing import NamedTuple

from ...contracts.errors import SetupError
from ..postgres import Connection
from ..queries import query


class ForeignColumn(NamedTuple):
    """A column in our statements.

    type: the type with which we add it. without: what happens if it is missing; None: it must not be missing.
    """

    table: str
    name: str
    type: str
    without: str | None = None


class Lack(NamedTuple):
    """A missing column. mend: the statement that adds it."""

    column: ForeignColumn
    mend: str

    def __str__(self) -> str:
        what = f"{self.column.table} has no column {self.column.name}"
        return f"{what}: {self.column.without}" if self.column.without else what


_BARS = (
    {"symbol": "varchar(20)", "timestamp": "timestamptz"}
    | dict.fromkeys(("open", "high", "low", "close"), "numeric(18,6)")
    | {"volume": "numeric(20,6)"}
)
_DETAIL = {"vwap": "double precision", "trade_count": "integer", "revision": "smallint", "provenance": "text"}
_NEEDED: dict[str, dict[str, str]] = {
    "symbols": {"symbol": "varchar(20)"},
    **{f"ohlcv_{timeframe}": _BARS for timeframe in ("1min", "5min", "15min", "30min", "hourly")},
    "pattern_definitions": {"name": "varchar(100)", "short_description": "varchar(255)", "enabled": "boolean"},
    "indicator_definitions": {"name": "varchar(100)", "short_description": "varchar(255)", "enabled": "boolean"},
    "intraday_patterns": {
        "symbol": "varchar(20)", "pattern_type": "varchar(50)", "confidence": "numeric", "pattern_data": "jsonb",
        "detection_timestamp": "timestamptz", "expiration_timestamp": "timestamptz", "levels": "numeric[]",
        "metadata": "jsonb", "timeframe": "text",
    },
    "intraday_indicators": {
        "symbol": "varchar(20)", "indicator_type": "varchar(50)", "value_data": "jsonb",
        "calculation_timestamp": "timestamptz", "expiration_timestamp": "timestamptz", "metadata": "jsonb",
        "timeframe": "text",
    },
    "integration_events": {
        "flow_id": "uuid", "timestamp": "timestamptz", "event_type": "varchar(50)", "source_system": "varchar(50)",
        "checkpoint": "varchar(100)", "symbol": "varchar(20)", "details": "jsonb",
    },
    "cache_entries": {
        "type": "varchar(100)", "name": "varchar(100)", "key": "varchar(100)", "value": "jsonb",
        "environment": "varchar(50)",
    },
}  # fmt: skip
# A run makes the weekly and monthly bars; a view or a continuous aggregate in their place cannot take them.
_WRITTEN = (*_NEEDED, "ohlcv_daily", "ohlcv_weekly", "ohlcv_monthly")
# If these tables exist, detections are copied there (0016_detection_copies.sql).
_COPIES = {
    "pattern_detections": {
        "pattern_id": "integer", "symbol": "varchar(20)", "detected_at": "timestamp", "confidence": "numeric(4,3)",
        "price_at_detection": "numeric(18,6)", "volume_at_detection": "bigint", "pattern_data": "jsonb",
    },
    "hourly_patterns": {
        "symbol": "varchar(20)", "pattern_type": "varchar(50)", "detection_timestamp": "timestamptz",
    },
}  # fmt: skip
_DEFAULTS = "the defaults of this program apply"
_OPTIONAL = (
    *(
        ForeignColumn("ohlcv_1min", name, type_, "it is in the side table bar_detail")
        for name, type_ in _DETAIL.items()
    ),
    ForeignColumn("pattern_definitions", "parameters", "jsonb", f"{_DEFAULTS} for every parameter"),
    ForeignColumn("pattern_definitions", "confidence_threshold", "numeric", f"{_DEFAULTS} for every threshold"),
    ForeignColumn("indicator_definitions", "parameters", "jsonb", f"{_DEFAULTS} for every alert"),
    ForeignColumn("indicator_definitions", "period", "integer", f"{_DEFAULTS} for every period"),
    *(
        ForeignColumn(f"{kind}_definitions", "applicable_timeframes", "text[]", "every row is for all timeframes")
        for kind in ("pattern", "indicator")
    ),
    ForeignColumn("intraday_indicators", "value", "numeric", "value_data holds every output, the value first"),
    *(
        ForeignColumn(table, name, type_, "no detection is copied there")
        for table, columns in _COPIES.items()
        for name, type_ in columns.items()
    ),
)

FOREIGN_COLUMNS: tuple[ForeignColumn, ...] = (
    *(ForeignColumn(table, name, type_) for table, columns in _NEEDED.items() for name, type_ in columns.items()),
    *_OPTIONAL,
)


def lacking_columns(connection: Connection) -> list[Lack]:
    """Return the missing columns of existing tables, required columns first."""
    known = {(column.table, column.name): column for column in FOREIGN_COLUMNS}
    values = {"tables": [table for table, _ in known], "columns": [name for _, name in known]}
    lacks = []
    for table, name in connection.execute(query("lacking_columns"), values):
        column = known[table, name]
        lacks.append(Lack(column, f'ALTER TABLE {table} ADD COLUMN "{name}" {column.type}'))
    return sorted(lacks, key=lambda lack: lack.column.without is not None)


def expect_columns(connection: Connection) -> None:
    """Raise SetupError if one of the tables lacks a required column, or is a view instead of a table."""
    views = [name for (name,) in connection.execute(query("views_in_place_of"), {"tables": list(_WRITTEN)})]
    if views:
        raise SetupError(
            "TickStockPL writes rows into these tables, but in this database they are views or continuous aggregates: "
            f"{', '.join(views)}. Rename them"
        )
    needed = [lack for lack in lacking_columns(connection) if lack.column.without is None]
    if needed:
        says = "; ".join(map(str, needed))
        do = "; ".join(lack.mend for lack in needed)
        raise SetupError(
            f"the application's tables lack what TickStockPL needs: {says}. Run as the owner of these tables: `{do}`"
        )
