"""`tickstock audit`."""

import sys
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import click

from ....contracts.spellings.trade_conditions import TRADE_RULES
from ....db.schema.migrate import check_schema
from ...audit.audit import AuditResult, Difference, audit_files, audit_streams, differing_feeds, unbalanced_rows
from ...audit.ledger import read_ledger
from ...audit.ledger_table import print_ledger
from ...process.progress import now_and_then
from ...wiring.servers import Place, open_postgres, open_redis_to_look
from ..parts.options import CONTEXT, Number, option, server_options, trade_rules_option


@click.command(context_settings=CONTEXT, short_help="Prove the bars, by counting them anew.")
@click.option("--file", "files", multiple=True, type=click.Path(), help="Recount from this flat file; repeatable.")
@option(
    "--max-future",
    type=Number(0, 86_400),
    default=900.0,
    help="The workers' --max-future, where they were given one.",
)
@trade_rules_option
@server_options
def audit(
    where: AbstractContextManager[Place], files: tuple[str, ...], max_future: float, trade_rules: TRADE_RULES | None
) -> None:
    """Prove the bars: the ledger must add up, and each bar must be what its trades, recounted, make of it.

    Without --file the trades are those that the partition streams still hold, for the minutes that they hold
    completely; with --file all of the file's, by the --trade-rules that it was replayed with, and the table must have
    no other bar of its symbols in its time.
    Each replay's bars must have as many ticks as the ledger calls applied: what another replay threw out is superseded.
    Exit 1 if a row of the ledger does not balance, a replay's ticks are not in its bars, or a bar differs.
    """
    with where as place, open_postgres(place, name="tickstock-audit") as connection:
        check_schema(connection)
        print_ledger(read_ledger(connection))
        unbalanced, differing = unbalanced_rows(connection), differing_feeds(connection)
        say = now_and_then(lambda line: click.echo(line, err=True))
        if files:
            result = audit_files(connection, files, say, rules=trade_rules)
        else:
            result = audit_streams(connection, open_redis_to_look(place), max_future_s=max_future, say=say)
    for row in unbalanced:
        click.echo(f"partition {row.partition}, {row.producer}: {row.gap:+,} ticks, {row.uncounted:+,} numbers")
    click.echo("the ledger balances in every row" if not unbalanced else "the ledger does NOT balance")
    for feed in differing:
        click.echo(f"{feed.feed}: {feed.applied:,} ticks are applied, but its bars have {feed.in_bars:,}")
    _say(result, "from the file" if files else "from the streams")
    if unbalanced or differing or result.differ:
        sys.exit(1)


def _say(result: AuditResult, source: str) -> None:
    click.echo(f"{result.agree + result.differ:,} bars recounted {source}: {result.agree:,} agree", nl=False)
    click.echo(f", {result.differ:,} differ")
    if not result.agree + result.differ and source == "from the streams":
        click.echo("the streams hold no closed minute completely: recount from a file with --file")
    for count, what in (
        (result.open, "are open still"),
        (result.elsewhere, "are not held completely by the streams, and were left out: recount them with --file"),
        (result.refused, "were refused by the database: `tickstock dlq ls --reason unstorable`"),
    ):
        if count:
            click.echo(f"{count:,} bars {what}")
    if result.first:
        click.echo(f"first difference: {_spelled(result.first)}")


def _spelled(difference: Difference) -> str:
    start = datetime.fromtimestamp(difference.minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    table, recounted = ("no such bar" if value is None else value for value in (difference.table, difference.recounted))
    return f"{difference.symbol} {start} {difference.field}: the table has {table}, recounted {recounted}"
