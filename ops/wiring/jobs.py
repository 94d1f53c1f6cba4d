"""Make a process `tickstock-jobs`: it does steps of runs, and is the coordinator while it holds the lease."""

import threading
from collections.abc import Sequence
from contextlib import closing

import structlog

from ...contracts.errors import LeaseTaken, SetupError
from ...contracts.market_hours import load_calendar
from ...contracts.names import JOBS_BACKTEST, JOBS_CANCEL, JOBS_CONTROL, JOBS_DATA_LOAD
from ...db.lease import LEASE_TTL_S
from ...db.postgres import Connection, Database
from ...db.queries import query
from ...db.schema.migrate import check_schema
from ...db.tables.daily_bars import lacks_of_daily_tables
from ...db.tables.universe import Universe
from ...db.vitals import VITALS
from ...db.world import REAL
from ...workers.backtest.jobs.backtests import Backtests
from ...workers.backtest.jobs.steps import SIGNALS, TRADES, prepare_signals, prepare_trades
from ...workers.backtest.jobs.taking import TakeBacktest, TakeCancel
from ...workers.daily.asking import Asking
from ...workers.daily.coordinator import Coordinator
from ...workers.daily.job_worker import JobWorker
from ...workers.daily.loads.listener import JobsListener, Take
from ...workers.daily.loads.loads import Loads
from ...workers.daily.loads.taking import TakeControl, TakeLoad
from ...workers.daily.patient_loop import PatientLoop
from ...workers.detect.definitions import seed_definitions
from ..process.shutdown import Stop
from .day_sources import NO_OPTIONS, SourceOptions, make_sources
from .servers import Place, open_postgres, open_redis, wait_for_server

log = structlog.get_logger()


class Jobs:
    """The loops of one process. If one fails, the process ends: another one continues."""

    def __init__(self, worker: JobWorker, beside: Sequence[PatientLoop], stop: Stop) -> None:
        """beside: the loops that run in their own threads."""
        self._worker = worker
        self._beside = beside
        self._stop = stop
        self._broken: BaseException | None = None

    def run(self) -> None:
        """Run until the stop event."""
        threads = [
            threading.Thread(target=self._run_beside, args=[loop], name=type(loop).__name__, daemon=True)
            for loop in self._beside
        ]
        for thread in threads:
            thread.start()
        try:
            self._worker.run()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self._broken is not None:
            raise self._broken

    def _run_beside(self, loop: PatientLoop) -> None:
        try:
            loop.run()
        except BaseException as e:  # noqa: BLE001  # raised again when the process ends
            self._broken = e
            self._stop.set()


def make_jobs(where: Place, *, name: str, stop: Stop, options: SourceOptions = NO_OPTIONS) -> Jobs:
    """Make the process.

    Raises SetupError if the servers do not fit, UsageError for a wrong option, LeaseTaken if another process has the
    name.
    """
    load_calendar()
    asking = Asking(stop, REAL)
    sources = make_sources(options, wait=asking.wait, refused_for=asking.refused_for)
    with closing(open_postgres(where, name="tickstock-jobs")) as connection:
        check_schema(connection)
        seed_definitions(connection)
        if lacks := lacks_of_daily_tables(connection):
            do = "; ".join(lacks)
            raise SetupError(f"the application's tables lack columns. Run as the owner of these tables: `{do}`")
    client = open_redis(where, "jobs")
    url = where.servers.database_url

    def open_database(role: str) -> Database:
        # Both connections report waits as a main loop's does: the coordinator's is used even while there are no steps.
        return wait_for_server(lambda: Database(url, name=f"{role} {name}", main_loop=True), where.connect_timeout_s)

    def symbols_of(universe: str) -> Sequence[str]:
        return Universe(universe, url).symbols()

    database = open_database("tickstock-jobs")
    _take_name(database.connection, name, stop)
    worker = JobWorker(
        name,
        database=database,
        client=client,
        stop=stop,
        world=REAL,
        sources=sources,
        asking=asking,
        phases={SIGNALS: prepare_signals, TRADES: prepare_trades},
    )
    coordinator = Coordinator(
        name,
        database=open_database("tickstock-jobs-coordinator"),
        client=client,
        symbols_of=symbols_of,
        stop=stop,
        world=REAL,
        sources=sources,
        jobs=[Loads(client, sources, REAL), Backtests(REAL)],
    )
    listener = JobsListener(
        database=open_database("tickstock-jobs-listener"), client=client, takes=_takes(), stop=stop, world=REAL
    )
    return Jobs(worker, [coordinator, listener], stop)


def _take_name(connection: Connection, name: str, stop: Stop) -> None:
    """Take the name of this process; wait as long as a killed process may still hold it. Raises LeaseTaken.

    Consumers of one name would take each other's steps for their own. The name is free when the connection ends.
    """
    deadline_s, is_logged = REAL.monotonic_s() + LEASE_TTL_S + 1.0, False
    while not stop.is_set():
        VITALS.turn()
        if connection.execute(query("take_jobs_name"), {"name": name}).fetchone() == (True,):
            return
        if REAL.monotonic_s() > deadline_s:
            raise LeaseTaken(f"a process tickstock-jobs named {name} runs already: start this one with another --name")
        if not is_logged:
            log.info("waiting for the name", name=name, why="another process has it", longest_s=LEASE_TTL_S + 1.0)
            is_logged = True
        REAL.wait(stop, 0.1)


def _takes() -> dict[str, Take]:
    return {
        JOBS_DATA_LOAD: TakeLoad(REAL),
        JOBS_CONTROL: TakeControl(REAL),
        JOBS_BACKTEST: TakeBacktest(REAL),
        JOBS_CANCEL: TakeCancel(REAL),
    }
