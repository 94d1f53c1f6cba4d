"""GET /api/bars."""

from typing import Any

from litestar import get

from ...contracts.errors import NothingFound
from ...db.tables.lists import bars_of, symbol_exists
from .answers import Bar, Bars
from .parameters import End, Limit, Start, Symbol, Timeframe, check_timeframe, utc
from .refusals import refusals
from .service import Shared


@get("/api/bars", responses=refusals(400, 404, 422, 503), tags=["data"], sync_to_thread=True)
def bars(
    service: Shared,
    symbol: Symbol,
    timeframe: Timeframe = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 500,
) -> Bars:
    """List the last bars of a symbol that start between two times; 1-minute bars if no timeframe is given."""
    check_timeframe(timeframe)
    kind = timeframe or "1min"
    with service.database.connection() as connection:
        found = bars_of(connection, symbol, kind, start=utc(start), end=utc(end), limit=limit)
        if not found and not symbol_exists(connection, symbol):
            raise NothingFound(f"there is no symbol {symbol!r}")
    return Bars(symbol=symbol, timeframe=kind, bars=[Bar(time=bar.at, **_numbers(bar._asdict())) for bar in found])


def _numbers(bar: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in bar.items() if name != "at"}
