"""GET /api/patterns."""

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from ...db.tables.lists import patterns_of
from ..jobs.known_names import known_patterns
from .answers import Pattern, Patterns
from .parameters import Limit, Name, OneSymbol, Timeframe, check_timeframe
from .refusals import refusals
from .service import Shared

Confidence = Annotated[float, QueryParameter(ge=0, le=1, description="Only with at least this confidence.")]


@get("/api/patterns", responses=refusals(400, 422, 503), tags=["data"], sync_to_thread=True)
def patterns(
    service: Shared,
    symbol: OneSymbol = None,
    pattern: Name = None,
    timeframe: Timeframe = None,
    min_confidence: Confidence = 0.0,
    limit: Limit = 100,
) -> Patterns:
    """List the latest patterns, without superseded ones."""
    check_timeframe(timeframe)
    with service.database.connection() as connection:
        known_patterns(connection).check([pattern] if pattern else [])
        found = patterns_of(
            connection, symbol=symbol, pattern=pattern, timeframe=timeframe, confidence=min_confidence, limit=limit
        )
    return Patterns(patterns=[_answer(one._asdict()) for one in found])


def _answer(found: dict[str, object]) -> Pattern:
    return Pattern(time=found.pop("at"), **found)  # type: ignore[arg-type]  # the columns of a ListedPattern
