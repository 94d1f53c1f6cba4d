"""Make a process that does steps of runs, and coordinates them while it holds the lease."""

import threading
from collections.abc import Sequence
from contextlib import closing

from ...contracts.errors import SetupError
from ...contracts.market_hours import load_calendar
from ...db.postgres import Database
from ...db.schema.migrate import check_schema
from ...db.tables.daily_bars import lacks_of_daily_tables
from ...db.tables.universe import Universe
from ...db.world import REAL
from ...workers.daily.coordinator import Coordinator
from ...workers.daily.job_worker import JobWorker
from ...workers.detect.definitions import seed_definitions
from ..process.shutdown import Stop
from .servers import Place, open_postgres, open_redis, wait_for_server


class Jobs:
    """The two loops of one process. If one fails, the process ends: another one continues."""

    def __init__(self, worker: JobWorker, coordinator: Coordinator, stop: Stop) -> None:
        self._worker = worker
        self._coordinator = coordinator
        self._stop = stop
        self._broken: BaseException | None = None

    def run(self) -> None:
        """Run until the stop event."""
        thread = threading.Thread(target=self._coordinate, name="coordinator", daemon=True)
        thread.start()
        try:
            self._worker.run()
        finally:
            self._stop.set()
            thread.join()
        if self._broken is not None:
            raise self._broken

    def _coordinate(self) -> None:
        try:
            self._coordinator.run()
        except BaseException as e:  # noqa: BLE001  # raised again when the process ends
            self._broken = e
            self._stop.set()


def make_jobs(where: Place, *, name: str, stop: Stop) -> Jobs:
    """Make the process. Raises SetupError if the servers do not fit."""
    load_calendar()
    with closing(open_postgres(where, name="tickstock-jobs")) as connection:
        check_schema(connection)
        seed_definitions(connection)
        if lacks := lacks_of_daily_tables(connection):
            raise SetupError(f"the application's tables do not fit: as their owner, run `{'; '.join(lacks)}`")
    client = open_redis(where, "jobs")
    url = where.servers.database_url

    def open_database(role: str) -> Database:
        return wait_for_server(lambda: Database(url, name=f"{role} {name}"), where.connect_timeout_s)

    def symbols_of(universe: str) -> Sequence[str]:
        return Universe(universe, url).symbols()

    worker = JobWorker(name, database=open_database("tickstock-jobs"), client=client, stop=stop, world=REAL)
    coordinator = Coordinator(
        name,
        database=open_database("tickstock-jobs-coordinator"),
        client=client,
        symbols_of=symbols_of,
        stop=stop,
        world=REAL,
    )
    return Jobs(worker, coordinator, stop)
