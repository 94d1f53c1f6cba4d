"""The active run: read for each call. While PostgreSQL does not answer, the last state is returned."""

import time
from datetime import UTC, datetime

from ...contracts.errors import ServerAway
from ...db.pool import SHORT_S, Pool
from ...db.tables.runs import Processing, read_processing
from ...workers.daily.coordinator import UNIT
from .answers import ProcessingStatus

_PAUSE_S = 0.5  # until the next try, if PostgreSQL did not answer


class ProcessingLook:
    """Reads the active run. Any thread may call it."""

    def __init__(self, database: Pool) -> None:
        self._database = database
        self._last = _status_of(None)
        self._look_again_s = 0.0  # monotonic

    @property
    def last(self) -> ProcessingStatus:
        """Return the last state that was read."""
        return self._last

    def look(self) -> ProcessingStatus:
        """Read the state; if PostgreSQL does not answer, return the last one, with an old `as_of`."""
        if time.monotonic() >= self._look_again_s:
            try:
                with self._database.connection(SHORT_S) as connection:
                    self._last = _status_of(read_processing(connection, UNIT))
            except ServerAway:
                self._look_again_s = time.monotonic() + _PAUSE_S
        return self._last


def _status_of(run: Processing | None) -> ProcessingStatus:
    if run is None:
        return ProcessingStatus(is_running=False, status="idle", as_of=datetime.now(UTC))
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
