"""GET /api/gaps."""

from typing import Annotated, Literal

from litestar import get
from litestar.params import QueryParameter

from ...jobs.gaps import as_object, read_gaps
from ..answers import Gaps
from ..parameters import FewerLimit, OneSymbol
from ..refusals import refusals
from ..service import Shared

State = Annotated[
    Literal["open", "repaired", "missing"] | None,
    QueryParameter(name="state", description="Only gaps in this state: open, repaired, missing."),
]


@get("/api/gaps", responses=refusals(400, 422, 503), tags=["data"], sync_to_thread=True)
def gaps(service: Shared, wanted: State = None, symbol: OneSymbol = None, limit: FewerLimit = 50) -> Gaps:
    """List the gaps of live feeds, repaired or not."""
    with service.database.connection() as connection:
        return Gaps(gaps=[as_object(gap) for gap in read_gaps(connection, state=wanted, limit=limit, symbol=symbol)])
