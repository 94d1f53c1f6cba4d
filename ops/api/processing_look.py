"""The active run: read for each call. While PostgreSQL does not answer, the last state is returned."""

import asyncio
import time
from concurrent.futures import Executor
from datetime import UTC, datetime
from uuid import UUID

from ...contracts.errors import ServerAway
from ...db.pool import SHORT_S, Pool
from ...db.postgres import Connection
from ...db.tables.runs import latest_daily_run_id, read_processing
from ...workers.daily.coordinator import UNIT
from .answers import ProcessingStatus

_PAUSE_S = 0.5  # pause before the next try, if PostgreSQL did not answer
_PATIENCE_S = 0.15  # a caller's longest wait for PostgreSQL; after it the caller gets the last state


class ProcessingLook:
    """Reads the active run. Any thread may call it."""

    def __init__(self, database: Pool, threads: Executor) -> None:
        """threads: for this object alone, because those of the other calls may all wait for PostgreSQL."""
        self._database = database
        self._threads = threads
        self._last = _idle(None)
        self._look_again_s = 0.0  # monotonic

    @property
    def last(self) -> ProcessingStatus:
        """Return the last state that was read."""
        return self._last

    async def soon(self) -> ProcessingStatus:
        """Read the state; if that takes longer than a moment, return the last one."""
        looking = asyncio.get_running_loop().run_in_executor(self._threads, self.look)
        await asyncio.wait([looking], timeout=_PATIENCE_S)
        return looking.result() if looking.done() else self._last

    def look(self) -> ProcessingStatus:
        """Read the state; if PostgreSQL does not answer, return the last one, with an old `as_of`."""
        if time.monotonic() >= self._look_again_s:
            try:
                with self._database.connection(SHORT_S) as connection:
                    self._last = _read(connection)
            except ServerAway:
                self._look_again_s = time.monotonic() + _PAUSE_S
        return self._last


def _read(connection: Connection) -> ProcessingStatus:
    run = read_processing(connection, UNIT)
    if run is None:
        return _idle(latest_daily_run_id(connection))
    return ProcessingStatus(
        is_running=run.is_coordinated,
        status=run.status,  # type: ignore[arg-type]  # of a run that is alive
        run_id=run.run_id,
        current_phase=run.phase,
        progress=round(run.share * 100, 1),
        symbols_processed=round(run.phase_share * run.symbols),
        symbols_total=run.symbols,
        start_time=run.began_at,
        estimated_completion=run.ends_at,
        as_of=run.at,
    )


def _idle(latest: UUID | None) -> ProcessingStatus:
    # The application reads here the id of the run whose failed imports it retries, also after that run has ended.
    return ProcessingStatus(is_running=False, status="idle", run_id=latest, as_of=datetime.now(UTC))
