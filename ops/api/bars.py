"""GET /api/bars."""

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import get
from litestar.params import QueryParameter

from ...contracts.errors import NothingFound
from ...db.tables.lists import bars_of, symbol_exists
from .answers import Bar, Bars
from .parameters import Limit, Symbol, Timeframe, check_timeframe
from .refusals import refusals
from .service import Shared

Start = Annotated[datetime | None, QueryParameter(name="from", description="Bars that start at or after this time.")]
End = Annotated[datetime | None, QueryParameter(name="to", description="Bars that start before this time.")]


@get("/api/bars", responses=refusals(400, 404, 422, 503), tags=["data"], sync_to_thread=True)
def bars(
    service: Shared,
    symbol: Symbol,
    timeframe: Timeframe = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 500,
) -> Bars:
    """List the last bars of a symbol; default timeframe: 1min."""
    check_timeframe(timeframe)
    kind = timeframe or "1min"
    with service.database.connection() as connection:
        found = bars_of(connection, symbol, kind, start=_utc(start), end=_utc(end), limit=limit)
        if not found and not symbol_exists(connection, symbol):
            raise NothingFound(f"there is no symbol {symbol!r}")
    return Bars(symbol=symbol, timeframe=kind, bars=[Bar(time=bar.at, **_numbers(bar._asdict())) for bar in found])


def _utc(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def _numbers(bar: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in bar.items() if name != "at"}
