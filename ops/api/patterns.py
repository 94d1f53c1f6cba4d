"""GET /api/patterns."""

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from ...contracts.errors import UsageError
from ...db.tables.lists import WantedPatterns, patterns_of
from ..jobs.known_names import known_patterns
from .answers import Pattern, Patterns
from .parameters import End, Limit, Name, OneSymbol, Start, Timeframe, check_timeframe, utc
from .refusals import refusals
from .service import Shared

Confidence = Annotated[float, QueryParameter(ge=0, le=1, description="The least confidence.")]
Superseded = Annotated[
    bool, QueryParameter(description="Also list patterns that a late tick removed from their bar; only with a symbol.")
]
Published = Annotated[bool, QueryParameter(description="Only list published patterns: no repeat, no part of another.")]


@get("/api/patterns", responses=refusals(400, 422, 503), tags=["data"], sync_to_thread=True)
def patterns(  # noqa: PLR0913  # one for each parameter of the call
    service: Shared,
    symbol: OneSymbol = None,
    pattern: Name = None,
    timeframe: Timeframe = None,
    min_confidence: Confidence = 0.0,
    start: Start = None,
    end: End = None,
    superseded: Superseded = False,
    published: Published = False,
    limit: Limit = 100,
) -> Patterns:
    """List the latest patterns, without superseded ones."""
    check_timeframe(timeframe)
    if superseded and symbol is None:
        raise UsageError("superseded=true needs a symbol")
    wanted = WantedPatterns(
        symbol, pattern, timeframe, min_confidence, utc(start), utc(end), superseded=superseded, published=published
    )
    with service.database.connection() as connection:
        known_patterns(connection).check([pattern] if pattern else [])
        found = patterns_of(connection, wanted, limit=limit)
    return Patterns(patterns=[_answer(one._asdict()) for one in found])


def _answer(found: dict[str, object]) -> Pattern:
    return Pattern(time=found.pop("at"), **found)  # type: ignore[arg-type]  # the columns of a ListedPattern
