"""`tickstock run schedule`: when daily runs start by themselves."""

from contextlib import AbstractContextManager

import click
import msgspec

from ....contracts.daily.schedule import Schedule
from ....contracts.market_hours import NEW_YORK
from ....db.schema.migrate import check_schema
from ....db.tables.schedule import change_schedule, read_schedule
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed

_NAME = "tickstock-run"


@click.group(context_settings=CONTEXT, short_help="When daily runs start by themselves.")
def schedule() -> None:
    """One run each trading day, at a time in New York. A missed run starts late, until the market opens again."""


@schedule.command(context_settings=CONTEXT)
@typed("--json", "as_json", is_flag=True, help="Print one JSON object.")
@server_options
def show(where: AbstractContextManager[Place], as_json: bool) -> None:
    """Show the schedule and the time of the next run."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        found = read_schedule(connection)
    click.echo(msgspec.json.encode(found._asdict()).decode() if as_json else _text(found))


@schedule.command("set", context_settings=CONTEXT)
@typed("--enable/--disable", "enabled", default=None, help="Whether runs start by themselves.")
@typed(
    "--time",
    "trigger_time",
    metavar="HH:MM",
    help="Start time in New York: from 16:00 on, or before 9:30 of the next day.",
)
@typed(
    "--after-close/--at-time", default=None, help="Start ten minutes after each close, also on half days; or at --time."
)
@typed("--universe", "universes", multiple=True, help="Universe: NAME:KEY or a name; all: every symbol that has bars.")
@typed("--market-check/--no-market-check", default=None, help="Start only on trading days; or every day.")
@server_options
def set_(
    where: AbstractContextManager[Place],
    enabled: bool | None,
    trigger_time: str | None,
    after_close: bool | None,
    universes: tuple[str, ...],
    market_check: bool | None,
) -> None:
    """Change the given parts of the schedule, and show it."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        changed = change_schedule(
            connection,
            enabled=enabled,
            trigger_time=trigger_time,
            universes=universes or None,
            market_check=market_check,
            after_close=after_close,
        )
    click.echo(_text(changed))


def _text(found: Schedule) -> str:
    if found.next_run is None:
        return "no run starts by itself: `tickstock run schedule set --enable` turns the schedule on"
    at = "ten minutes after the close" if found.after_close else f"at {found.trigger_time}"
    days = "on trading days" if found.market_check else "every day"
    of = ", ".join(found.universes) or "every symbol that has bars"
    return f"{days} {at}, New York: {of}\nnext run: {found.next_run.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M %Z}"
