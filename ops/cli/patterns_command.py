"""`tickstock patterns`."""

from contextlib import AbstractContextManager
from pathlib import Path

import click

from ...contracts.timeframe import TIMEFRAME_OF
from ...db.migrate import check_schema
from ...db.queries import query
from ..wiring import Place, open_postgres
from .options import CONTEXT, OutputFile, option, server_options
from .rows_text import write_rows
from .selection import MOMENT, NamesType, Selection, as_moment, selection_options

_COLUMNS = ("symbol", "bar", "timeframe", "pattern", "confidence", "flow_id")


@click.command(context_settings=CONTEXT, short_help="Print the patterns that were found.")
@selection_options
@option("--pattern", "names", type=NamesType(), show_default="all", help="Only these patterns, by their names.")
@option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", help="json: an object a line."
)
@option("--output", type=OutputFile(), help="File to write.")
@server_options
def patterns(
    where: AbstractContextManager[Place],
    chosen: Selection,
    names: tuple[str, ...] | None,
    form: str,
    output: Path | None,
) -> None:
    """Print the patterns that stand on the bars, of any feed, told on the channels or not, by symbol and time.

    `bar` is the start of the bar that a pattern was found on, UTC; `tickstock flow` shows one by its flow_id, and those
    too that a late tick took away. In CSV a text that a spreadsheet would compute has an apostrophe before it: '=1+1.
    Exit 1 if there is none of what was asked for.
    """
    values = chosen.values() | {"patterns": list(names) if names else None}
    with where as servers, open_postgres(servers, name="tickstock-patterns") as connection:
        check_schema(connection)
        with connection.transaction(), connection.cursor(name="patterns") as cursor:
            cursor.itersize = 10_000
            cursor.execute(query("patterns_found"), values)
            rows = (
                (symbol, as_moment(bar, MOMENT[form]), TIMEFRAME_OF[minutes], pattern, confidence, str(flow_id))
                for symbol, bar, minutes, pattern, confidence, flow_id in chosen.noted(cursor)
            )
            write_rows(_COLUMNS, rows, form, output)
    chosen.check_found("patterns" if not names else f"{', '.join(names)} patterns")
