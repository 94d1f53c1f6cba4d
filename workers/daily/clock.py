"""The clock of daily runs: it adds a run when the schedule says that one is due.

Any number of processes may run it: a constraint of the table allows one automatic run a day. The time is that of
PostgreSQL.
"""

from datetime import date, datetime, timedelta

import structlog

from ...contracts.daily.schedule import Due, Schedule, due
from ...contracts.daily.trading_days import SessionOn
from ...contracts.errors import UsageError
from ...contracts.runs import ALL_PHASES, EVERY_UNIVERSE, RunParameters, WantedRun
from ...db.postgres import Connection
from ...db.tables.schedule import add_due_run, last_automatic_day, schedule_and_now, trading_days
from ...db.tables.universe import named_universe
from ...db.world import World

log = structlog.get_logger()

_LOOK_EVERY_S = 1.0
# A vendor's bars of a day may change until the next day, so each run processes the day before once more. After missed
# runs it also processes their days, up to a number of days for which requests by whole days stay cheap.
_LEAST_DAYS, _MOST_DAYS = 2, 20


class Clock:
    """Each process that may become the coordinator has one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._look_at = 0.0

    def look(self, connection: Connection) -> None:
        """Add the run that is due, if one is; at most once a second."""
        if self._world.monotonic_s() < self._look_at:
            return
        self._look_at = self._world.monotonic_s() + _LOOK_EVERY_S
        schedule, now = schedule_and_now(connection)
        add_run_if_due(connection, schedule, now, self._world)


def add_run_if_due(connection: Connection, schedule: Schedule, now: datetime, world: World) -> bool:
    """Add the run that is due by now; return whether one was added.

    None is added while another run is queued or running: a later call adds it, until the market opens.
    """
    session_on = trading_days(connection, schedule)
    found = due(now, schedule, session_on)
    if found is None:
        return False
    wanted = _wanted(connection, schedule, found, session_on)
    if not add_due_run(connection, world.uuid(), wanted, found.at):
        return False
    late_s = round((now - found.at).total_seconds())
    log.info("daily run is due", day=found.day.isoformat(), universe=wanted.universe, late_s=late_s)
    return True


def _wanted(connection: Connection, schedule: Schedule, found: Due, session_on: SessionOn) -> WantedRun:
    universe, symbols = _symbols(connection, schedule)
    parameters = RunParameters(
        symbols=symbols,
        lookback_days=_lookback(found.day, last_automatic_day(connection), session_on),
        skip_market_check=not schedule.market_check,
    )
    return WantedRun(found.day, "automatic", universe, ALL_PHASES, parameters, "schedule")


def _lookback(day: date, last: date | None, session_on: SessionOn) -> int:
    """Return the number of trading days for a run: those since the last completed run, at least 2, at most 20."""
    days = 1
    while last is not None and days < _MOST_DAYS and (day := _before(day, session_on)) > last:
        days += 1
    return max(days, _LEAST_DAYS)


def _before(day: date, session_on: SessionOn) -> date:
    day -= timedelta(days=1)
    while session_on(day) is None:
        day -= timedelta(days=1)
    return day


def _symbols(connection: Connection, schedule: Schedule) -> tuple[str, tuple[str, ...] | None]:
    """Return a run's universe and its symbols; None: the symbols that the universe has when the run begins."""
    if not schedule.universes:
        return EVERY_UNIVERSE, None
    symbols: dict[str, None] = {}
    for name in schedule.universes:
        try:
            symbols |= dict.fromkeys(named_universe(connection, name).symbols)
        except UsageError as e:
            log.warning("universe of the schedule does not exist", universe=name, why=str(e))
    if not symbols:
        # No universe has this name: the run fails when it begins, with an error that names it.
        return f"{','.join(schedule.universes)}:", None
    return ",".join(schedule.universes), tuple(symbols)
