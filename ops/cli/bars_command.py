"""`tickstock bars`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from ...contracts.errors import UsageError
from ...db.migrate import check_schema
from ...db.queries import query
from ...producer.arrow import need_arrow
from ..bars_text import short, shortest
from ..wiring import Place, open_postgres
from .options import CONTEXT, OutputFile, option, server_options
from .rows_text import write_rows
from .selection import MOMENT, Selection, as_moment, selection_options

_COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume", "trade_count", "vwap")


@click.command(context_settings=CONTEXT, short_help="Print the 1-minute bars.")
@selection_options
@option("--format", "form", type=click.Choice(["table", "csv", "parquet"]), default="table", help="How to write them.")
@option("--output", type=OutputFile(), help="File to write; parquet needs one.")
@server_options
def bars(where: AbstractContextManager[Place], chosen: Selection, form: str, output: Path | None) -> None:
    """Print the 1-minute bars, by symbol and time. A timestamp is the start of the minute, UTC.

    In CSV a symbol that a spreadsheet would compute has an apostrophe before it: '=1+1.

    Exit 1 if there is none of what was asked for.
    """
    if form == "parquet" and output is None:
        raise UsageError("--format parquet needs --output FILE")
    with where as servers, open_postgres(servers, name="tickstock-bars") as connection:
        check_schema(connection)
        (has_detail,) = connection.execute(query("has_bar_detail")).fetchone() or (False,)
        # A cursor on the server: a year of bars does not fit into memory.
        with connection.transaction(), connection.cursor(name="bars") as cursor:
            cursor.itersize = 10_000
            cursor.execute(query("bars_with_detail" if has_detail else "bars"), chosen.values())
            _write(chosen.noted(cursor), form, output)
    chosen.check_found("bars")


def _write(rows: Iterator[tuple[Any, ...]], form: str, output: Path | None) -> None:
    if form == "parquet" and output is not None:
        need_arrow()
        from ..bars_parquet import write_parquet  # noqa: PLC0415  # 0.2 s to import, for this one format

        write_parquet(rows, output)
        return
    spelled = short if form == "table" else shortest
    texts = ((symbol, as_moment(at, MOMENT[form]), *map(spelled, numbers)) for symbol, at, *numbers in rows)
    write_rows(_COLUMNS, texts, form, output)
