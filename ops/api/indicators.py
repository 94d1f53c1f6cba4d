"""GET /api/indicators."""

from litestar import get

from ...db.tables.lists import indicators_of
from ..jobs.known_names import known_indicators
from .answers import Indicator, Indicators
from .parameters import End, Limit, Name, Symbol, Timeframe, check_timeframe, utc
from .refusals import refusals
from .service import Shared


@get("/api/indicators", responses=refusals(400, 422, 503), tags=["data"], sync_to_thread=True)
def indicators(
    service: Shared,
    symbol: Symbol,
    indicator: Name = None,
    timeframe: Timeframe = None,
    end: End = None,
    limit: Limit = 100,
) -> Indicators:
    """List the latest values of a symbol's indicators."""
    check_timeframe(timeframe)
    with service.database.connection() as connection:
        known_indicators(connection).check([indicator] if indicator else [])
        found = indicators_of(connection, symbol, indicator=indicator, timeframe=timeframe, end=utc(end), limit=limit)
    values = [
        Indicator(time=one.at, timeframe=one.timeframe, indicator=one.indicator, value=one.value, values=one.values)
        for one in found
    ]
    return Indicators(symbol=symbol, indicators=values)
