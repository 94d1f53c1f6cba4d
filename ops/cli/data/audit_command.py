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
from ..parts.fleet_settings import trade_rules_option
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed
from ..parts.worker_settings import max_future_option


@click.command(context_settings=CONTEXT, short_help="Check the ledger, and recount the bars.")
@typed(
    "--file",
    "files",
    multiple=True,
    type=click.Path(),
    help="Recount from this flat file. Can be given more than once.",
)
@max_future_option
@trade_rules_option
@server_options
def audit(
    where: AbstractContextManager[Place], files: tuple[str, ...], max_future_s: float, trade_rules: TRADE_RULES | None
) -> None:
    """Check that each row of the ledger adds up, and that each bar equals the bar that its trades make when recounted.

    Without --file the trades come from the partition streams, for the minutes that the streams still hold completely.
    With --file they are all trades of the file; --trade-rules must be those of its replay, and the table must have no
    other bar of the symbols in the time of the file. --max-future-s must be that of the workers.
    The bars of each replay must have as many ticks as the ledger counts as applied; ticks that another replay replaced
    count as superseded. Exit 1 if a row of the ledger does not add up, ticks of a replay are missing in its bars, or a
    bar differs.
    """
    with where as place, open_postgres(place, name="tickstock-audit") as connection:
        check_schema(connection)
        print_ledger(read_ledger(connection))
        unbalanced, differing = unbalanced_rows(connection), differing_feeds(connection)
        say = now_and_then(lambda line: click.echo(line, err=True))
        if files:
            result = audit_files(connection, files, say, rules=trade_rules)
        else:
            result = audit_streams(connection, open_redis_to_look(place), max_future_s=max_future_s, say=say)
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
