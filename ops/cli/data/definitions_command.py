"""`tickstock definitions`: which patterns and indicators are on."""

from contextlib import AbstractContextManager

import click

from ....contracts.timeframe import INTRADAY, TIMEFRAME_OF
from ....db.queries import query
from ....db.schema.migrate import check_schema
from ....workers.detect.definition import IndicatorDefinition, PatternDefinition
from ....workers.detect.definitions import read_definitions, run_live
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, server_options
from ..parts.rows_text import write_rows
from ..parts.setting import typed

_COLUMNS = ("kind", "name", "session", "timeframes", "threshold", "note")


@click.group(context_settings=CONTEXT, short_help="List the patterns and indicators that are on; switch them on.")
def definitions() -> None:
    """Rows of pattern_definitions and indicator_definitions: what workers detect. Workers read them each minute."""


@definitions.command(context_settings=CONTEXT)
@typed(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    help="json: one object in each line.",
)
@server_options
def ls(where: AbstractContextManager[Place], form: str) -> None:
    """List the rows that are on, and the rows with an error."""
    with where as servers, open_postgres(servers, name="tickstock-definitions") as connection:
        check_schema(connection)
        read = read_definitions(connection)
    notes = {(row.table, row.name): row.why for row in read.idle}
    rows = [
        *(_row("pattern", p.kind.name, p, f"{p.threshold:g}", notes) for p in read.patterns),
        *(_row("indicator", i.indicator.name, i, "", notes) for i in read.indicators),
        *((wrong.table.removesuffix("_definitions"), wrong.name, "", "", "", wrong.why) for wrong in read.wrong),
    ]
    write_rows(_COLUMNS, iter(rows), form, None)


def _row(
    kind: str,
    name: str,
    definition: PatternDefinition | IndicatorDefinition,
    threshold: str,
    notes: dict[tuple[str, str], str],
) -> tuple[str, str, str, str, str, str]:
    timeframes = " ".join(TIMEFRAME_OF[minutes] for minutes in sorted(definition.timeframes))
    return kind, name, definition.session, timeframes, threshold, notes.get((f"{kind}_definitions", name), "")


@definitions.command(context_settings=CONTEXT, short_help="Switch the default patterns and indicators on.")
@server_options
def live(where: AbstractContextManager[Place]) -> None:
    """Switch the default patterns and indicators on, for every timeframe that workers detect on.

    A row that has only daily, as the rows of the application do, keeps it and gets the intraday timeframes. Thresholds
    and parameters do not change.
    """
    with where as servers, open_postgres(servers, name="tickstock-definitions") as connection:
        check_schema(connection)
        changed = run_live(connection)
        connection.execute(query("tell_definitions_changed"))
    timeframes = ", ".join(INTRADAY)
    click.echo(f"switched on for {timeframes}: {', '.join(changed)}" if changed else f"all are on for {timeframes}")
