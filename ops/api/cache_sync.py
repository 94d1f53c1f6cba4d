"""/api/processing/cache-sync: runs with only the phase cache_sync."""

from uuid import UUID

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody

from ...contracts.errors import NothingFound, UsageError
from ...contracts.runs import CACHE_MODES, RunParameters
from ...db.tables.lists import CacheSync, cache_sync_stats, cache_syncs
from .answers import CacheSyncHistory, CacheSyncStarted, CacheSyncStats, CacheSyncStatus, CacheSyncTrigger
from .parameters import Days, FewerLimit, IdempotencyKey
from .processing import start
from .refusals import WRITE, refusals
from .service import Service, Shared


class CacheSyncCalls(Controller):
    """Reference data of symbols, and universes, fetched and computed again."""

    path = "/api/processing/cache-sync"
    tags = ("cache-sync",)

    @post("/trigger", status_code=202, responses=refusals(*WRITE, 409), sync_to_thread=True)
    def trigger(
        self, service: Shared, data: JSONBody[CacheSyncTrigger | None] = None, idempotency_key: IdempotencyKey = None
    ) -> CacheSyncStarted:
        """Start a run with only the phase cache_sync."""
        mode = (data or CacheSyncTrigger()).mode
        if mode not in CACHE_MODES:
            raise UsageError(f"there is no mode {mode!r}; there are: {', '.join(CACHE_MODES)}")
        started = start(service, ("cache_sync",), RunParameters(cache_mode=mode), None, None, idempotency_key)
        return CacheSyncStarted(job_id=started.run_id, mode=mode)

    @get("/status/{job_id:uuid}", responses=refusals(404, 503), sync_to_thread=True)
    def status(self, service: Shared, job_id: FromPath[UUID]) -> CacheSyncStatus:
        """Read the state of a run of cache_sync."""
        with service.database.connection() as connection:
            found = cache_syncs(connection, run_id=job_id, limit=1)
        if not found:
            raise NothingFound(f"there is no cache sync {job_id}")
        return _status(found[0], service)

    @get("/history", responses=refusals(400, 422, 503), sync_to_thread=True)
    def history(self, service: Shared, days: Days = 7, limit: FewerLimit = 50) -> CacheSyncHistory:
        """List the runs of cache_sync in the last days, newest first."""
        with service.database.connection() as connection:
            found = cache_syncs(connection, days=days, limit=limit)
        return CacheSyncHistory(jobs=[_status(one, service) for one in found])

    @get("/stats", responses=refusals(400, 422, 503), sync_to_thread=True)
    def stats(self, service: Shared, days: Days = 30) -> CacheSyncStats:
        """Count the runs of cache_sync in the last days by how they ended."""
        with service.database.connection() as connection:
            found = cache_sync_stats(connection, days)
        return CacheSyncStats(
            days=days,
            total=found.total,
            completed=found.completed,
            failed=found.failed,
            cancelled=found.cancelled,
            running=found.alive,
            average_duration_seconds=found.average_s,
            last_completed=found.last_at,
        )


def _status(run: CacheSync, service: Service) -> CacheSyncStatus:
    began = run.started_at or run.created_at
    return CacheSyncStatus(
        job_id=run.run_id,
        mode=run.mode,
        status=run.status,
        created_at=run.created_at,
        start_time=run.started_at,
        end_time=run.ended_at,
        duration_seconds=(run.ended_at - began).total_seconds() if run.ended_at else None,
        triggered_by=run.requested_by,
        error_details=run.error,
        progress=100.0 if run.status == "completed" else _progress(run.run_id, service),
    )


def _progress(run_id: UUID, service: Service) -> float:
    alive = service.processing.last
    return alive.progress if alive.run_id == run_id else 0.0
