"""GET /api/fleet."""

from typing import Any

from litestar import get

from ...contracts.errors import ServerAway
from .refusals import refusals
from .service import Shared


@get("/api/fleet", responses=refusals(503), tags=["fleet"], sync_to_thread=False)
def fleet(service: Shared) -> dict[str, Any]:
    """Show the fleet as `tickstock status --json` prints it, from the last reading; looked_s: its age in seconds."""
    look = service.glance.last
    if look is None:
        raise ServerAway("the fleet has not been read yet", "postgresql")
    return look.document() | {"looked_s": round(service.glance.age_s, 1)}
