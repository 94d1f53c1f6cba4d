"""The coordinator's loop: the one process with the lease advances the active run and deals its steps."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from ...contracts.errors import LeaseTaken
from ...contracts.lease import Lease
from ...contracts.names import JOBS
from ...contracts.runs import StepKey
from ...contracts.stop import Stop
from ...db import lease as leases
from ...db import metrics, redis
from ...db.lease import RENEW_EVERY_S
from ...db.postgres import Connection, Database
from ...db.queries import query
from ...db.redis import Client
from ...db.streams.jobs_stream import JobsStream
from ...db.tables import run_steps
from ...db.tables.run_results import RunTeller
from ...db.tables.runs import AliveRun
from ...db.vitals import VITALS
from ...db.world import World
from .clock import Clock
from .patient_loop import PatientLoop
from .run_moves import RunMoves, SymbolsOf
from .sources import NO_SOURCES, Sources

log = structlog.get_logger()

UNIT = "jobs"  # of the lease
_TURN_S = 0.2
_PROGRESS_EVERY_S = 1.0
_PRUNE_EVERY_S = 60.0
_RETENTION_S = 3_600.0  # of messages that were copied to the stream


class MovedJobs(Protocol):
    """Jobs of one kind, which the holder of the lease advances."""

    def move(self, connection: Connection) -> list[tuple[StepKey, int]]:
        """Advance the jobs; return the steps to deal."""

    def begin_anew(self) -> None:
        """Forget what this process has published: another coordinator may have published since."""


class Coordinator(PatientLoop):
    """Each process has one. The holder of the lease is active, the others are standby."""

    def __init__(  # noqa: PLR0913  # two servers, and what the process hands in
        self,
        name: str,
        *,
        database: Database,
        client: Client,
        symbols_of: SymbolsOf,
        stop: Stop,
        world: World,
        sources: Sources = NO_SOURCES,
        jobs: Sequence[MovedJobs] = (),
    ) -> None:
        """jobs: the kinds of jobs to advance besides the daily run."""
        super().__init__(database, stop=stop, world=world)
        self._name = name
        self._client = client
        self._symbols_of = symbols_of
        self._sources = sources
        self._stream = JobsStream(client, name)
        self._teller = RunTeller(client)
        self._clock = Clock(world)
        self._jobs = jobs
        self._lease: Lease | None = None
        self._listens = False
        self._renew_at = self._progress_at = self._prune_at = 0.0

    def turn(self) -> None:
        """As the holder of the lease: add due runs, advance the run, deal its steps, publish. Then wait up to 0.2 s."""
        connection = self.database.connection
        if not self._listens:
            connection.execute(query("listen_leases"))
            connection.execute(query("listen_runs"))
            self._listens = True
        if self._holds_lease():
            self._clock.look(connection)
            run = self._move()
            steps = run_steps.waiting_steps(connection, run.run_id) if run and run.status == "running" else []
            if due := [*steps, *(step for jobs in self._jobs for step in jobs.move(connection))]:
                self._stream.deal(due)
            self._teller.tell(connection)
            self._prune()
        VITALS.serves("postgresql")
        list(connection.notifies(timeout=_TURN_S, stop_after=1))

    def begin_anew(self) -> None:
        """Send LISTEN again, and check at once whether this process still holds the lease."""
        self._listens = False
        self._renew_at = 0.0

    def leave(self) -> None:
        """Release the lease: another process continues immediately."""
        if self._lease:
            leases.release(self.database.connection, self._name, [self._lease])

    def _move(self) -> AliveRun | None:
        now_s = self._world.monotonic_s()
        is_due = now_s >= self._progress_at
        if is_due:
            self._progress_at = now_s + _PROGRESS_EVERY_S
        return RunMoves(self.database.connection, self._symbols_of, self._sources).move(say_progress=is_due)

    def _holds_lease(self) -> bool:
        """Take or renew the lease; return whether this process holds it.

        Two holders would do no harm: each move locks the run's row.
        """
        now_s, connection = self._world.monotonic_s(), self.database.connection
        if self._lease is not None and now_s >= self._renew_at:
            self._renew_at = now_s + RENEW_EVERY_S
            if not leases.renew(connection, self._name, [self._lease]):
                log.info("coordinator is standby", name=self._name)
                self._lease = None
                metrics.COORDINATOR.set(0)
        if self._lease is None:
            try:
                self._lease = leases.take(connection, UNIT, self._name)
            except LeaseTaken:
                return False
            self._renew_at = now_s + RENEW_EVERY_S
            metrics.COORDINATOR.set(1)
            log.info("coordinator is active", name=self._name, epoch=self._lease.epoch)
            redis.make_group(self._client, JOBS, JOBS)
            for jobs in self._jobs:
                jobs.begin_anew()
            self._teller.open(connection)
        return True

    def _prune(self) -> None:
        if self._world.monotonic_s() >= self._prune_at:
            self._prune_at = self._world.monotonic_s() + _PRUNE_EVERY_S
            self._teller.prune(self.database.connection, _RETENTION_S)
