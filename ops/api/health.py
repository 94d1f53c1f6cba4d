"""GET /health: from the last reading, so that it answers even while a server does not."""

from typing import Literal

from litestar import get

from ...contracts.fleet.fleet_health import Health as HealthWord
from ...contracts.fleet.fleet_health import health_of
from ...version import __version__
from ..status.observer import Observation
from .answers import Health, Services
from .service import Shared


@get("/health", summary="Whether the fleet and its servers are well", sync_to_thread=False)
def health(service: Shared) -> Health:
    """Report the fleet's health. The status code is always 200."""
    look = service.glance.last
    away = {finding.code for finding in look.findings} if look else set()
    services = Services(
        redis=_word("REDIS_AWAY" in away or service.feed.is_away("redis")),
        database=_word(
            "DATABASE_AWAY" in away or service.database.is_away or service.feed.is_away("postgresql"),
        ),
    )
    return Health(
        status=_status(look, services, hangs=service.glance.hangs),
        services=services,
        processing_status=service.processing.last.status,
        version=__version__,
        looked_s=round(service.glance.age_s, 1) if look else None,
    )


def _word(is_away: bool) -> Literal["healthy", "unhealthy"]:
    return "unhealthy" if is_away else "healthy"


def _status(look: Observation | None, services: Services, *, hangs: bool) -> HealthWord:
    if hangs or "unhealthy" in (services.redis, services.database):
        return "error"
    return "starting" if look is None else health_of(look.fleet, look.findings)
