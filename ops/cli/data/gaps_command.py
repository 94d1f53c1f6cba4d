"""`tickstock gaps`: lists and repairs the gaps of live feeds."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path

import click
import msgspec
from click.core import ParameterSource
from rich.table import Table
from rich.text import Text

from ....db.schema.migrate import check_schema
from ....db.tables.universe import Universe
from ....producer.massive.rest import MassiveRest
from ...jobs.gaps import KnownGap, Repaired, as_object, iso_minute, read_gaps, repair_now
from ...process.console import make_console
from ...process.shutdown import Stop
from ...wiring.servers import Place, open_both, open_postgres
from ..parts.fleet_settings import feed_option, universe_option, vendor_options
from ..parts.options import CONTEXT, api_key, server_options
from ..parts.setting import typed

_LEAST_WIDTH = 160
_FEW = 3
_FAILED_SHOWN = 20


@click.group(
    context_settings=CONTEXT, short_help="List the gaps of the feeds, and repair them.", invoke_without_command=True
)
@typed("--state", type=click.Choice(["open", "repaired", "missing"]), help="Only gaps in this state.")
@typed("--limit", type=click.IntRange(1, 1_000_000), default=50, help="Most gaps to list, the latest first.")
@typed("--json", "as_json", is_flag=True, help="Print one JSON object in each line, with every minute still missing.")
@server_options
@click.pass_context
def gaps(
    ctx: click.Context, where: AbstractContextManager[Place], state: str | None, limit: int, as_json: bool
) -> None:
    """List the gaps of live feeds: when, why, how many minutes were repaired, and which the vendor does not have.

    The bars of a live feed in a gap are `partial` until they are repaired. The vendor has no bar for a minute without
    trades, so such a minute stays missing.
    """
    if ctx.invoked_subcommand:
        given = [p.opts[0] for p in ctx.command.params if p.name and _is_given(ctx, p.name)]
        if given:
            raise click.UsageError(
                f"{given[0]} is before `{ctx.invoked_subcommand}`: put it after, if `{ctx.invoked_subcommand}` has it"
            )
        return
    with where as place, open_postgres(place, name="tickstock-gaps") as connection:
        check_schema(connection)
        found = read_gaps(connection, state=state, limit=limit)
    if as_json:
        for gap in found:
            click.echo(msgspec.json.encode(as_object(gap)).decode())
    elif found:
        _print_table(found)
    else:
        click.echo("no gaps")


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _print_table(found: list[KnownGap]) -> None:
    table = Table("id", "state", "feed", "first minute", "last minute", "symbols", "why", "repaired", "missing", "note")
    for column in (7, 8):
        table.columns[column].justify = "right"
    for gap in found:
        counts = (f"{gap.minutes_repaired:,}", f"{gap.minutes_missing:,}")
        times = (iso_minute(gap.first_minute), iso_minute(gap.last_minute))
        texts = (str(gap.id), gap.state, gap.feed, *times, _symbols(gap), gap.why, *counts, _note(gap))
        table.add_row(*map(Text, texts))  # text, not markup: a reason may hold anything
    console = make_console()
    (console if console.is_terminal else make_console(width=_LEAST_WIDTH)).print(table)


def _symbols(gap: KnownGap) -> str:
    if gap.symbols is None:
        return "all" if gap.partition is None else f"all of partition {gap.partition}"
    return " ".join(gap.symbols[:_FEW]) + (f" and {len(gap.symbols) - _FEW} more" if len(gap.symbols) > _FEW else "")


def _note(gap: KnownGap) -> str:
    lost = f"{gap.lost_ticks:,} ticks lost" if gap.lost_ticks else ""
    missing = ", ".join(f"{one.symbol} {iso_minute(one.first_minute)}" for one in gap.missing[:_FEW])
    more = len(gap.missing) - _FEW
    return "; ".join(filter(None, (gap.error, lost, missing + (f" and {more} more" if more > 0 else ""))))


@gaps.command(context_settings=CONTEXT, short_help="Repair open and missing gaps now.")
@feed_option
@universe_option("those with bars in the week before")
@vendor_options
@server_options
def repair(
    where: AbstractContextManager[Place],
    feed: str,
    universe: str | None,
    rest_url: str,
    rest_per_minute: float,
    api_key_file: Path | None,
) -> None:
    """Fetch open and missing minutes by REST, and wait until workers have committed them. Exit 1 if a gap stays open.

    Producers repair gaps by themselves; this command is for gaps that they did not repair. Workers must be running.
    """
    stop = Stop(deadline_s=15.0)  # time to send and commit the end of the repair
    rest = MassiveRest(rest_url, api_key(api_key_file), per_minute=rest_per_minute, wait=stop.wait)
    with where as place:
        _, partitions = open_both(place, partitions=None)
        url = place.servers.database_url
        symbols = Universe(universe, url).symbols() if universe else None
        with open_postgres(place, name="tickstock-gaps") as connection:
            done = repair_now(
                connection,
                place.servers.redis_url,
                rest,
                partitions=partitions,
                feed=feed,
                symbols=symbols,
                wait=stop.wait,
            )
    if done is None:
        click.echo("stopped before the end", err=True)
        sys.exit(1)
    _report(done)


def _report(done: Repaired) -> None:
    click.echo(f"{done.gaps:,} gaps: {done.minutes:,} minutes repaired, {done.missing:,} missing at the vendor too")
    for gap, why in done.failed[:_FAILED_SHOWN]:
        click.echo(f"gap {gap.id} stays open: {why}", err=True)
    if done.failed:
        sys.exit(1)
