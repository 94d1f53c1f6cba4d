"""The questions of a phase: steps that ask a vendor about all symbols at once. They come before batches of symbols."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ...contracts.daily.trading_days import Session
from ...contracts.market_hours import Closures
from ...db.postgres import Connection
from ...db.sessions import market_closures
from ...db.tables import daily_bars, runs
from ...db.tables.run_steps import Question
from ...db.tables.runs import AliveRun
from .caching import NO_KEY, questions_of
from .import_days import AGAIN, SPLITS, asks_by_symbol, days_to_ask, final_from, waits_until
from .market_days import sessions_of_run
from .sources import Sources

_ON_BARS = ("indicators", "patterns")  # phases that examine bars


class Plan(NamedTuple):
    """The questions of a phase. A stage of steps begins when the stage before it has ended.

    stages: number of stages of the questions; the batches come after them. not_before: earliest start of the batches.
    note: what this run leaves out, and why.
    """

    questions: Sequence[Question] = ()
    stages: int = 0
    not_before: datetime | None = None
    note: str | None = None


def plan_questions(connection: Connection, run: AliveRun, phase: str, sources: Sources, *, waits: bool) -> Plan:
    """Plan a phase, and store in the run which earlier days it processes once more.

    waits: whether a run of today waits until a delayed feed has the market's close.
    """
    if phase == "import" and sources.days:
        return _plan_import(connection, run, sources, waits=waits)
    if phase in _ON_BARS:
        return Plan(note=_of_open_session(connection, run, phase))
    if phase == "cache_sync":
        return (
            Plan(questions_of(run.parameters.cache_mode)) if sources.reference else Plan(note=f"cache_sync: {NO_KEY}")
        )
    return Plan()


def _of_open_session(connection: Connection, run: AliveRun, phase: str) -> str | None:
    """Say that the last session of a run has not ended, so that the phase leaves it out; None: it has ended."""
    session = _sessions(run, market_closures(connection))[-1]
    if session.closes.timestamp() <= run.now_s:
        return None
    return f"{phase}: not of {session.day}, its session has not ended"


def _sessions(run: AliveRun, closures: Closures) -> list[Session]:
    wanted = run.parameters
    return sessions_of_run(
        run.run_date, wanted.lookback_days, skip_market_check=wanted.skip_market_check, closures=closures
    )


def _plan_import(connection: Connection, run: AliveRun, sources: Sources, *, waits: bool) -> Plan:
    closures = market_closures(connection)
    at, sessions = datetime.fromtimestamp(run.now_s, UTC), _sessions(run, closures)
    symbols, days = run.symbols or [], [session.day for session in sessions]
    known = daily_bars.vendor_days(connection, symbols, days[0] - AGAIN, days[-1])
    again = [
        one.day
        for one in known
        if (one.final < one.symbols or not one.symbols) and one.day < days[0] and at >= final_from(one.day, closures)
    ]
    runs.look_again(connection, run.run_id, again)
    wait = waits_until(sessions[-1], at, sources.delay_s) if waits else None
    asked = [*again, *days_to_ask(days, {one.day: one.final for one in known}, len(symbols))]
    questions = [Question(SPLITS, 0)] if sources.reference and symbols else []
    if "aggregates" in sources.days and asks_by_symbol(asked, len(symbols)):
        return Plan(questions, 1, wait)
    questions += [Question(str(day), 0, wait if day == sessions[-1].day else None) for day in asked]
    return Plan(questions if symbols else [], 1)
