"""`tickstock indicators`."""

import json
from contextlib import AbstractContextManager
from operator import itemgetter
from pathlib import Path
from typing import Any

import click

from ....db.rows import INDICATOR, select_indicators
from ....db.schema.migrate import check_schema
from ...jobs.known_names import known_indicators
from ...output.bars_text import short
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, OutputFile, server_options
from ..parts.rows_text import write_rows
from ..parts.selection import MOMENT, NamesType, Selection, as_moment, selection_options, timeframe_option
from ..parts.setting import typed

_SERIES = itemgetter(0, 2, 3)  # symbol, timeframe, indicator


@click.command(context_settings=CONTEXT, short_help="Print the values of the indicators.")
@click.argument("named", metavar="[SYMBOL]...", nargs=-1)
@selection_options
@timeframe_option(None)
@typed("--indicator", "names", type=NamesType(), show_default="all", help="Only these indicators.")
@typed(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    help="json: one object in each line.",
)
@typed("--output", type=OutputFile(), help="File to write.")
@server_options
def indicators(
    where: AbstractContextManager[Place],
    named: tuple[str, ...],
    chosen: Selection,
    timeframe: str | None,
    names: tuple[str, ...] | None,
    form: str,
    output: Path | None,
) -> None:
    """Print the values of the indicators on the bars: tickstock indicators AAPL --indicator SMA_5 --last 10.

    The order is by symbol, timeframe, indicator and time; --last counts the values of each indicator and timeframe.
    `bar` is the start of the bar, UTC. If an indicator has several outputs (MACD, bands), `value` is the first, and
    `values` has all of them by name. `tickstock definitions ls` lists the indicators that are on. Exit 1 if there is no
    such value.
    """
    chosen.symbols = tuple(dict.fromkeys((*chosen.symbols, *named)))
    with where as servers, open_postgres(servers, name="tickstock-indicators") as connection:
        check_schema(connection)
        known_indicators(connection).check(names or ())
        with connection.transaction(), connection.cursor(name="indicators") as cursor:
            cursor.itersize = 10_000
            select_indicators(cursor, chosen.values(), timeframe=timeframe, indicators=list(names) if names else None)
            rows = (_spelled(row, form) for row in chosen.chosen(cursor, each=_SERIES))
            write_rows(INDICATOR, rows, form, output)
    chosen.check_found("indicators" if not names else f"{', '.join(names)} values")


def _spelled(row: tuple[Any, ...], form: str) -> tuple[Any, ...]:
    symbol, bar, timeframe, indicator, value, values = row
    if form == "table":
        # A single output is the value in the column before.
        many = values if isinstance(values, dict) and len(values) > 1 else {}
        value, values = short(value), "  ".join(f"{name} {_rounded(number)}" for name, number in many.items())
    elif form == "csv":
        values = json.dumps(values)
    return symbol, as_moment(bar, MOMENT[form]), timeframe, indicator, value, values


def _rounded(number: object) -> str:
    return f"{number:.6g}" if isinstance(number, int | float) else str(number)
