"""Advance the active run by one move, in a transaction that locks its row.

A move depends only on the current rows. So after a kill the next holder of the lease continues from the last commit.
"""

from collections.abc import Callable, Sequence

import structlog

from ...contracts.errors import SetupError, UsageError
from ...contracts.messages.message import Message
from ...contracts.messages.processing_events import PhaseName
from ...contracts.runs import EVERY_UNIVERSE, RunStatus
from ...db.postgres import Connection
from ...db.tables import run_steps, runs
from ...db.tables.run_results import add_messages
from ...db.tables.run_steps import PhaseState
from ...db.tables.runs import AliveRun, RunTotals
from .caching import NO_KEY, UNIVERSES
from .phase_steps import timeframes_of
from .pinned import read_pinned
from .questions import plan_questions
from .run_errors import run_failed
from .run_events import CacheResult, PhaseResult, phase_began, phase_ended, phase_moved, run_began, run_ended
from .sources import NO_SOURCES, Sources

log = structlog.get_logger()

SymbolsOf = Callable[[str], Sequence[str]]  # symbols of a universe, by its name; raises UsageError
_EVERY = ["*"]


class RunMoves:
    """Advances runs. symbols_of: reads a universe. sources: the data sources of the steps.

    symbols_are_written: `symbols` also writes rows, so it runs in the transaction that begins the run.
    waits_for_the_close: a run of today waits until a delayed feed has the market's close.
    """

    symbols_are_written = False
    waits_for_the_close = True

    def __init__(self, connection: Connection, symbols_of: SymbolsOf, sources: Sources = NO_SOURCES) -> None:
        self.connection = connection
        self.sources = sources
        self._symbols_of = symbols_of

    def lock(self) -> AliveRun | None:
        """Lock and return the run to advance, or None."""
        return runs.lock_alive_run(self.connection)

    def say(self, messages: Sequence[Message]) -> None:
        """Add messages of the run, to be published after the commit."""
        add_messages(self.connection, messages)

    def symbols(self, run: AliveRun) -> list[str]:
        """Return the symbols of a run that begins. Raises UsageError, SetupError."""
        if run.parameters.symbols is not None:
            return sorted(set(run.parameters.symbols))
        symbols = _EVERY if run.universe == EVERY_UNIVERSE else list(self._symbols_of(run.universe))
        return runs.symbols_of_runs(self.connection, run.run_date) if symbols == _EVERY else sorted(set(symbols))

    def move(self, *, say_progress: bool) -> AliveRun | None:
        """Make one move, if due; return the run if it is active afterwards. say_progress: also publish the progress."""
        with self.connection.transaction():
            run = self.lock()
            if run is None or run.status != "queued":
                return run and self._moved(run, say_progress=say_progress)
            if self.symbols_are_written:
                return self._begin(run, self._about(run))
        # Here the row of the run is not locked, because a cancel of the run would wait for the lock.
        about = self._about(run)
        with self.connection.transaction():
            locked = self.lock()
            if locked is None or locked.run_id != run.run_id:
                return None
            if locked.status != "queued":
                return self._moved(locked, say_progress=say_progress)
            return self._begin(locked, about)

    def _moved(self, run: AliveRun, *, say_progress: bool) -> AliveRun | None:
        if run.status == "cancelling":
            run_steps.cancel_steps(self.connection, run.run_id)
            self.end(run, "cancelled", None)
            return None
        return self._go_on(run, say_progress=say_progress)

    def _about(self, run: AliveRun) -> list[str] | str:
        """Return the symbols of a run, or the reason as text if they cannot be read."""
        try:
            return self.symbols(run)
        except (UsageError, SetupError) as e:
            return str(e)

    def _begin(self, run: AliveRun, symbols: list[str] | str) -> AliveRun | None:
        if isinstance(symbols, str):
            self.end(run, "failed", symbols)
            return None
        pinned = read_pinned(self.connection)
        for name, why in pinned.wrong.items():
            log.warning("definition left out of the run", name=name, why=why)
        runs.begin_run(self.connection, run.run_id, symbols, pinned)
        said = run_began(
            now_s=run.now_s,
            run_id=str(run.run_id),
            run_date=run.run_date.isoformat(),
            phases=run.phases,
            universe=run.universe,
            trigger=run.trigger,
        )
        log.info("run began", run_id=str(run.run_id), symbols=len(symbols), phases=run.phases)
        if not run.phases:
            self.end(run._replace(symbols=symbols), "completed", None)
            return None
        return self._open(run._replace(symbols=symbols), run.phases[0], said)

    def _open(self, run: AliveRun, phase: PhaseName, said: list[Message]) -> AliveRun:
        symbols = run.symbols or []
        timeframes = timeframes_of(phase, run.parameters.timeframes)
        size = run.parameters.batch
        batches = [symbols[first : first + size] for first in range(0, len(symbols), size)]
        runs.open_phase(self.connection, run.run_id, phase)
        plan = plan_questions(self.connection, run, phase, self.sources, waits=self.waits_for_the_close)
        if plan.note:
            log.info("left out of the run", run_id=str(run.run_id), why=plan.note)
            runs.add_note(self.connection, run.run_id, plan.note)
        weight = max(1, len(symbols))
        run_steps.add_questions(self.connection, run.run_id, phase, plan.questions, weight=weight)
        run_steps.add_steps(
            self.connection,
            run.run_id,
            phase,
            timeframes=timeframes,
            batches=batches,
            stage=plan.stages,
            not_before=plan.not_before,
        )
        has_steps = bool((timeframes and batches) or plan.questions)
        said += phase_began(phase, now_s=run.now_s, run_id=str(run.run_id), symbols=len(symbols), has_steps=has_steps)
        self.say(said)
        return run._replace(status="running", phase=phase)

    def _go_on(self, run: AliveRun, *, say_progress: bool) -> AliveRun | None:
        state = run_steps.phase_state(self.connection, run.run_id, run.phase)
        if state.waiting:
            if say_progress:
                self.say(_progress(run, state))
            return run
        if state.failed and run_steps.halve_failed_steps(self.connection, run.run_id, run.phase):
            return run
        failed = run_steps.failed_symbols(self.connection, run.run_id, run.phase)
        has_steps = bool(state.done or state.failed)
        cache = self._cache_result(run, has_steps=has_steps) if run.phase == "cache_sync" else None
        result = PhaseResult(len(run.symbols or ()), failed, state.found, round(run.phase_s, 3), cache)
        said = phase_ended(run.phase, result, now_s=run.now_s, run_id=str(run.run_id), has_steps=has_steps)
        log.info("phase ended", run_id=str(run.run_id), phase=run.phase, found=state.found, failed_symbols=failed)
        if state.failed and not state.done:
            self.end(run, "failed", f"every step of {run.phase} failed", said)
            return None
        if after := run.phases[run.phases.index(run.phase) + 1 :]:
            return self._open(run, after[0], said)
        self.end(run, "completed", None, said)
        return None

    def _cache_result(self, run: AliveRun, *, has_steps: bool) -> CacheResult:
        answers = run_steps.answers_of(self.connection, run.run_id, "cache_sync")
        return CacheResult(run.parameters.cache_mode, answers.get(UNIVERSES, {}), None if has_steps else NO_KEY)

    def end(self, run: AliveRun, status: RunStatus, error: str | None, said: Sequence[Message] = ()) -> None:
        """End a run, and publish its end after the messages of `said`. A run has failed if all of its symbols have."""
        of_steps = run_steps.run_totals(self.connection, run.run_id)
        failed = run_steps.failed_symbols(self.connection, run.run_id)
        if status == "completed" and failed and not of_steps.symbols:
            status, error = "failed", f"none of its symbols succeeded: {failed:,} failed"
        why = "; ".join(filter(None, (error, of_steps.error))) or None
        if status == "failed":
            phase = run.phase or next(iter(run.phases), "import")
            failed_run = run_failed(now_s=run.now_s, run_id=str(run.run_id), phase=phase, why=why or "failed")
            said = [*said, failed_run]
        totals = RunTotals(of_steps.symbols, failed, of_steps.indicators, of_steps.patterns)
        runs.end_run(self.connection, run.run_id, status, totals, why)
        ended = run_ended(
            now_s=run.now_s,
            run_id=str(run.run_id),
            status=status,
            processed=of_steps.symbols,
            failed=failed,
            seconds=round(run.runs_s, 3),
        )
        log.info("run ended", run_id=str(run.run_id), status=status, processed=of_steps.symbols, failed=failed, why=why)
        self.say([*said, *ended])


def eta_s_of(phase_s: float, share: float, waits_s: float) -> float | None:
    """Estimate the seconds until a phase ends; None: unknown.

    phase_s: seconds since its start. share: the part that is done, 0..1. waits_s: known waits for the vendor.
    """
    if not share:
        return round(waits_s, 1) or None
    return round(waits_s + phase_s * (1 - share) / share, 1)


def _progress(run: AliveRun, state: PhaseState) -> list[Message]:
    symbols = len(run.symbols or ())
    share = state.ended_symbols / max(1, state.all_symbols)
    return phase_moved(
        run.phase,
        now_s=run.now_s,
        run_id=str(run.run_id),
        done=int(symbols * share),
        symbols=symbols,
        current=state.current_symbol,
        eta_s=eta_s_of(run.phase_s, share, state.waits_s),
    )
