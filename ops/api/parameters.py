"""Parameters that several calls share."""

from datetime import UTC, datetime
from typing import Annotated

from litestar.params import HeaderParameter, QueryParameter

from ...contracts.errors import UsageError
from ...contracts.timeframe import INTRADAY, LONGER

_PLAIN = r"^[^\x00-\x1f\x7f]+$"
TIMEFRAMES = (*INTRADAY, *LONGER)

Symbol = Annotated[
    str, QueryParameter(min_length=1, max_length=20, pattern=_PLAIN, description="The symbol, for example AAPL.")
]
OneSymbol = Annotated[
    str | None, QueryParameter(min_length=1, max_length=20, pattern=_PLAIN, description="Only for this symbol.")
]
Timeframe = Annotated[
    str | None, QueryParameter(max_length=20, description=f"Only of this timeframe: {', '.join(TIMEFRAMES)}.")
]
Name = Annotated[
    str | None, QueryParameter(min_length=1, max_length=100, pattern=_PLAIN, description="Only with this name.")
]
Start = Annotated[datetime | None, QueryParameter(name="from", description="At or after this time.")]
End = Annotated[datetime | None, QueryParameter(name="to", description="Before this time.")]
After = Annotated[datetime | None, QueryParameter(description="After this time.")]
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="At most this many.")]
FewerLimit = Annotated[int, QueryParameter(ge=1, le=200, description="At most this many.")]
Days = Annotated[int, QueryParameter(ge=1, le=3650, description="How far back, in days.")]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="A second call with the same key returns the same answer and starts no second run.",
    ),
]


def check_timeframe(name: str | None) -> None:
    """Raise UsageError, which lists the known timeframes, if the name is not one of them."""
    if name is not None and name not in TIMEFRAMES:
        raise UsageError(f"there is no timeframe {name!r}; there are: {', '.join(TIMEFRAMES)}")


def utc(at: datetime | None) -> datetime | None:
    """Return the time with its zone, or in UTC if it has no zone."""
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
