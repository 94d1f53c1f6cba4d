"""GET /api/fleet, and its numbers over the last hour."""

from typing import Any

from litestar import get

from ...contracts.errors import ServerAway
from ..status.monitor_tables import said_of
from .answers import Hour
from .parameters import After, utc
from .refusals import refusals
from .service import Shared


@get("/api/fleet", responses=refusals(503), tags=["fleet"], sync_to_thread=False)
def fleet(service: Shared) -> dict[str, Any]:
    """Show the fleet as `tickstock status --json` prints it, from the last reading; looked_s: its age in seconds.

    lines: the parts in a line each, in the words of `tickstock status`; missing while a server is away.
    """
    look = service.glance.last
    if look is None:
        raise ServerAway("the fleet has not been read yet", "postgresql")
    lines = {"lines": said_of(look.fleet)} if look.fleet else {}
    return look.document() | lines | {"looked_s": round(service.glance.age_s, 1)}


@get("/api/fleet/hour", responses=refusals(400, 422), tags=["fleet"], sync_to_thread=False)
def hour(service: Shared, after: After = None) -> Hour:
    """List readings of the fleet's rates and lag since this process started, at most an hour."""
    return Hour(moments=service.glance.hour.after(utc(after)))
