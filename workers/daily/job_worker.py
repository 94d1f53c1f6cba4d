"""The loop that does steps of runs: read one, compute, commit in one transaction, ack."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import psycopg
import structlog
from redis.exceptions import RedisError

from ...contracts.errors import RestStopped, ServerAway, StepUnwanted
from ...contracts.runs import Step
from ...contracts.stop import Stop
from ...db import metrics, postgres
from ...db.look.database_clock import database_s
from ...db.postgres import Connection, Database
from ...db.redis import Client
from ...db.streams.jobs_stream import DealtStep, JobsStream
from ...db.tables.run_results import RunTeller, add_messages
from ...db.tables.run_steps import ATTEMPTS, end_step, fail_step, lock_step, note_wait, read_step
from ...db.tables.runs import PinnedRun, read_pinned_run
from ...db.vitals import VITALS
from ...db.world import World
from .asking import Asking
from .patient_loop import PatientLoop
from .phase_steps import prepare
from .run_errors import quota_used_up, step_failed
from .sources import NO_SOURCES, Sources
from .step_work import Write

log = structlog.get_logger()

_CLAIM_EVERY_S = 1.0
_KEEP_EVERY_S = 0.5

T = TypeVar("T")
# Prepares a step of a phase that daily runs do not have. It often calls its last argument, which raises StepUnwanted
# to end the step.
PreparePhase = Callable[[Connection, PinnedRun, Step, Callable[[], None]], Write]


class JobWorker(PatientLoop):
    """One of any number of workers that share the steps of the stream tickstock-jobs."""

    is_main_loop = True

    def __init__(  # noqa: PLR0913  # two servers, and what the process hands in
        self,
        name: str,
        *,
        database: Database,
        client: Client,
        stop: Stop,
        world: World,
        sources: Sources = NO_SOURCES,
        asking: Asking | None = None,
        phases: Mapping[str, PreparePhase] = {},
    ) -> None:
        """asking: runs the questions to the sources. phases: the phases besides those of daily runs."""
        super().__init__(database, stop=stop, world=world)
        self._name = name
        self._sources = sources
        self._asking = asking or Asking(stop, world)
        self._phases = phases
        self._stream = JobsStream(client, name)
        self._teller = RunTeller(client)
        self._claim_at = 0.0
        self._held: DealtStep | None = None  # its result is unknown; it is checked when the servers are back
        self._run: tuple[object, PinnedRun] | None = None  # the run of the last step

    def turn(self) -> None:
        """Do one step, or wait a little for one."""
        self._held = self._held or self._next()
        if VITALS.has_joined:
            VITALS.serves("redis")  # the coordinator reports PostgreSQL, even while there are no steps
        else:
            VITALS.join()
        if self._held is not None:
            self._do(self._held)
            self._stream.ack(self._held)
            self._held = None

    def begin_anew(self) -> None:
        """Do nothing: no state depends on the connection."""

    def leave(self) -> None:
        """Do nothing: another process claims a step that was read but not done."""

    def _next(self) -> DealtStep | None:
        if self._world.monotonic_s() >= self._claim_at:
            self._claim_at = self._world.monotonic_s() + _CLAIM_EVERY_S
            if (claimed := self._stream.claim()) is not None:
                log.info("step of a silent process claimed", step=claimed.key and claimed.key.text)
                return claimed
        return self._stream.read()

    def _do(self, dealt: DealtStep) -> None:
        if dealt.key is None:
            log.warning("invalid entry of tickstock-jobs removed", id=dealt.entry.decode())
            return
        step = read_step(self.database.connection, dealt.key, dealt.token)
        if step is None:
            return  # done, or dealt again: the entry is old
        if dealt.is_taken_over:
            metrics.RUN_STEPS.labels(step.key.phase, "redone").inc()
        try:
            self._attempt(dealt, step)
        except psycopg.Error as e:
            if postgres.is_lost(self.database.connection, e):
                raise
            self._fail(step, e)
        except (RedisError, OSError, ServerAway):
            raise
        except (RestStopped, StepUnwanted):
            return  # the run is cancelled, or this process stops; an active run deals the step again
        except Exception as e:  # noqa: BLE001  # one failing step must not end the process
            self._fail(step, e)
        else:
            self._teller.tell(self.database.connection)

    def _attempt(self, dealt: DealtStep, step: Step) -> None:
        connection, began_s = self.database.connection, self._world.monotonic_s()
        write = self._prepared(dealt, step)
        self._stream.keep(dealt)
        with connection.transaction():
            if lock_step(connection, step.key, step.token) is None:
                return  # another process has done the step, or the run was cancelled
            # Messages get their number at the end, so that numbers follow the order of the commits: see add_run_result.
            result = write(connection)
            end_step(connection, step, result, self._name)
        metrics.RUN_STEPS.labels(step.key.phase, "done").inc()
        metrics.RUN_STEP_DURATION.labels(step.key.phase).observe(self._world.monotonic_s() - began_s)
        log.debug("step done", step=step.key.text, found=result.found, changed=result.changed)

    def _prepared(self, dealt: DealtStep, step: Step) -> Write:
        connection, run = self.database.connection, self._pinned(step)
        if (others := self._phases.get(step.key.phase)) is not None:
            return others(connection, run, step, self._go_on(dealt, step))

        def keep(refusals_s: Sequence[float]) -> bool:
            return self._keep(dealt, step, refusals_s)

        def ask(question: Callable[[], T]) -> T:
            return self._asking.ask(question, keep)

        return prepare(connection, run, step, database_s(connection), sources=self._sources, ask=ask)

    def _go_on(self, dealt: DealtStep, step: Step) -> Callable[[], None]:
        """Return a function for long steps: twice a second it renews the claim of the step, or raises StepUnwanted."""
        due_s = self._world.monotonic_s()

        def go_on() -> None:
            nonlocal due_s
            if self._world.monotonic_s() < due_s:
                return
            due_s = self._world.monotonic_s() + _KEEP_EVERY_S
            if self.stop.is_set() or not self._keep(dealt, step, ()):
                raise StepUnwanted("the step is not wanted any more")

        return go_on

    def _keep(self, dealt: DealtStep, step: Step, refusals_s: Sequence[float]) -> bool:
        """Keep the step during a question, and publish the vendor's waits; False: the step is not wanted any more."""
        VITALS.turn()
        self._stream.keep(dealt)
        connection = self.database.connection
        if refusals_s:
            said = quota_used_up(
                now_s=database_s(connection),
                run_id=str(step.key.run_id),
                phase=step.key.phase,
                seconds=max(refusals_s),
            )
            with connection.transaction():
                note_wait(connection, step, max(refusals_s))
                add_messages(connection, [said])
            self._teller.tell(connection)
        return read_step(connection, step.key, step.token) is not None

    def _pinned(self, step: Step) -> PinnedRun:
        if self._run is None or self._run[0] != step.key.run_id:
            self._run = (step.key.run_id, read_pinned_run(self.database.connection, step.key.run_id))
        return self._run[1]

    def _fail(self, step: Step, error: Exception) -> None:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        log.warning("step failed", step=step.key.text, attempt=step.attempt, symbols=len(step.symbols), why=why)
        metrics.RUN_STEPS.labels(step.key.phase, "failed").inc()
        connection = self.database.connection
        with connection.transaction():
            fail_step(connection, step, why)
            if step.attempt >= ATTEMPTS and len(step.symbols) <= 1:  # a failed batch is first divided
                said = step_failed(
                    now_s=database_s(connection),
                    run_id=str(step.key.run_id),
                    phase=step.key.phase,
                    timeframe=step.key.timeframe,
                    symbol=next(iter(step.symbols), None),
                    why=why,
                )
                add_messages(connection, [said])
