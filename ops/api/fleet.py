"""GET /api/fleet."""

from typing import Any

from litestar import get

from ...contracts.errors import ServerAway
from .refusals import refusals
from .service import Shared


@get("/api/fleet", responses=refusals(503), tags=["fleet"], sync_to_thread=False)
def fleet(service: Shared) -> dict[str, Any]:
    """Show the last look at the fleet: the object that `tickstock status --json` prints; looked_s: how old it is."""
    look = service.glance.last
    if look is None:
        raise ServerAway("nobody could look at the fleet yet", "postgresql")
    return look.document() | {"looked_s": round(service.glance.age_s, 1)}
