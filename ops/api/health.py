"""GET /health: from the last look, so that it answers while a server hangs."""

from litestar import get

from ...contracts.fleet.fleet_health import health_of
from ...version import __version__
from .answers import Health, Services
from .service import Shared

_OLD_S = 10.0  # a look that takes longer waits for a server


@get("/health", summary="Whether the fleet and its servers are well", sync_to_thread=False)
def health(service: Shared) -> Health:
    """Say how the fleet is, always with 200."""
    look = service.glance.last
    findings = look.findings if look else []
    away = {finding.code for finding in findings}
    is_old = service.glance.age_s > _OLD_S
    database = "DATABASE_AWAY" in away or service.database.is_away
    redis = "REDIS_AWAY" in away or service.feed.is_away
    word = "error" if database or redis or is_old else health_of(look.fleet, findings) if look else "starting"
    return Health(
        status=word,
        services=Services(redis="unhealthy" if redis else "healthy", database="unhealthy" if database else "healthy"),
        processing_status=service.processing.last.status,
        version=__version__,
        looked_s=round(service.glance.age_s, 1) if look else None,
    )
