"""The schedule of daily runs: the one row of the table `schedule`."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from ...contracts.daily.schedule import TIMEZONE, Schedule, next_moment, read_trigger_time
from ...contracts.daily.trading_days import SessionOn, session_if_open, session_on
from ...contracts.errors import SetupError
from ...contracts.messages import processing_events
from ...contracts.messages.message import iso
from ...contracts.messages.processing_messages import schedule_updated
from ...contracts.runs import EVERY_UNIVERSE, WantedRun
from ..postgres import Connection
from ..queries import query
from ..sessions import market_closures
from .run_results import add_messages
from .universe import named_universe


def read_schedule(connection: Connection) -> Schedule:
    """Return the schedule. Its next_run is computed with the database's clock."""
    return schedule_and_now(connection)[0]


def schedule_and_now(connection: Connection) -> tuple[Schedule, datetime]:
    """Return the schedule, and the time of the database's clock (UTC). Raises SetupError if the row is missing."""
    row = connection.execute(query("read_schedule")).fetchone()
    if row is None:
        raise SetupError("the table schedule has lost its row: INSERT INTO schedule DEFAULT VALUES")
    enabled, trigger_time, universes, market_check, after_close, since, now = row
    at = now.astimezone(UTC)
    schedule = Schedule(
        enabled, trigger_time, TIMEZONE, None, universes, market_check, after_close, since.astimezone(UTC)
    )
    return schedule._replace(next_run=next_moment(at, schedule, trading_days(connection, schedule))), at


def trading_days(connection: Connection, schedule: Schedule) -> SessionOn:
    """Return a function: day -> its session, or None. Without market_check every day has a session."""
    closures = market_closures(connection)
    if schedule.market_check:
        return lambda day: session_on(day, closures)
    return lambda day: session_if_open(day, closures)


def change_schedule(
    connection: Connection,
    *,
    enabled: bool | None = None,
    trigger_time: str | None = None,
    universes: Sequence[str] | None = None,
    market_check: bool | None = None,
    after_close: bool | None = None,
) -> Schedule:
    """Change the given fields, publish the schedule if it changed, and return it.

    universes: names, NAME:KEY, or `all`. A trigger_time turns after_close off. Raises UsageError, which lists the known
    values, and changes nothing then.
    """
    wanted = {
        "enabled": enabled,
        "trigger_time": None if trigger_time is None else read_trigger_time(trigger_time),
        "universes": None if universes is None else _known(connection, universes),
        "market_check": market_check,
        "after_close": False if after_close is None and trigger_time is not None else after_close,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    with connection.transaction():
        connection.execute(query("lock_schedule"))
        before = read_schedule(connection)
        former = {name: getattr(before, name) for name in wanted}
        changed = former | given
        if changed == former:
            return before
        connection.execute(query("change_schedule"), changed)
        schedule, now = schedule_and_now(connection)
        connection.execute(query("tell_runs_changed"))
        add_messages(connection, schedule_updated(now_s=now.timestamp(), schedule=_said(schedule)))
    return schedule


def add_due_run(connection: Connection, run_id: UUID, wanted: WantedRun, due_at: datetime) -> bool:
    """Add the automatic run of a day; return False if the day has one already, or if another run is active."""
    values = wanted._asdict() | {
        "run_id": run_id,
        "phases": list(wanted.phases),
        "parameters": Jsonb(msgspec.to_builtins(wanted.parameters)),
        "due_at": due_at,
    }
    added = connection.execute(query("add_due_run"), values).fetchone() is not None
    if added:
        connection.execute(query("tell_runs_changed"))
    return added


def last_automatic_day(connection: Connection) -> date | None:
    """Return the newest day whose automatic run was completed."""
    row = connection.execute(query("last_automatic_run")).fetchone()
    return None if row is None else row[0]


def _known(connection: Connection, names: Sequence[str]) -> list[str]:
    for name in names:
        if name != EVERY_UNIVERSE:
            named_universe(connection, name)
    return [] if EVERY_UNIVERSE in names else list(dict.fromkeys(names))


def _said(schedule: Schedule) -> processing_events.Schedule:
    return processing_events.Schedule(
        enabled=schedule.enabled,
        trigger_time=schedule.trigger_time,
        timezone=schedule.timezone,
        next_run=None if schedule.next_run is None else iso(schedule.next_run.timestamp()),
        universes=schedule.universes,
        market_check=schedule.market_check,
    )
