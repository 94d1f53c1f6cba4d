"""`tickstock bars`."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from ....contracts.errors import UsageError
from ....db.rows import select_bars
from ....db.schema.migrate import check_schema
from ....producer.arrow import need_arrow
from ...output.bars_text import short, shortest
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, OutputFile, server_options
from ..parts.rows_text import write_rows
from ..parts.selection import MOMENT, Selection, as_moment, selection_options, timeframe_option
from ..parts.setting import typed

_PROVENANCE, _PARTIAL = "provenance", "partial"


@click.command(context_settings=CONTEXT, short_help="Print the bars.")
@selection_options
@timeframe_option("1min")
@typed(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    help="How to write the bars; json: one object in each line.",
)
@typed("--output", type=OutputFile(), help="File to write; parquet needs one.")
@typed(
    "--by-day",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for Parquet, with a folder for each day in New York: DIR/day=2026-03-02/bars-0.parquet.",
)
@server_options
def bars(
    where: AbstractContextManager[Place],
    chosen: Selection,
    timeframe: str,
    form: str,
    output: Path | None,
    folder: Path | None,
) -> None:
    """Print the bars of a timeframe, sorted by symbol and time. A timestamp is the start of the bar, UTC.

    1-minute bars also have the count of trades, the volume-weighted mean price (vwap) and the provenance: live,
    partial (a live feed missed a part of the minute), replay or repair. In a table a star after the count means
    partial. In CSV and JSON numbers are exact. In CSV the command puts an apostrophe before a symbol that a spreadsheet
    would compute: '=1+1.

    With --by-day each written day replaces the same day of an earlier run; other days stay.

    Exit 1 if there is no such bar.
    """
    if form == "parquet" and (output is None) == (folder is None):
        raise UsageError("--format parquet needs --output FILE, or --by-day DIR")
    if form != "parquet" and folder is not None:
        raise UsageError("--by-day needs --format parquet")
    with where as servers, open_postgres(servers, name="tickstock-bars") as connection:
        check_schema(connection)
        # A server-side cursor: a year of bars does not fit into memory.
        with connection.transaction(), connection.cursor(name="bars") as cursor:
            cursor.itersize = 10_000
            columns = select_bars(cursor, chosen.values(), timeframe)
            if folder is not None:
                _write_days(chosen.chosen(cursor), columns, folder)
            else:
                _write(chosen.chosen(cursor), columns, form, output)
    chosen.check_found("bars" if timeframe == "1min" else f"{timeframe} bars")


def _write_days(rows: Iterator[tuple[Any, ...]], columns: Sequence[str], folder: Path) -> None:
    need_arrow()
    from ...output.bars_parquet import write_days  # noqa: PLC0415  # its import takes 0.2 s

    click.echo(f"{write_days(rows, folder, columns):,} days: {folder}", err=True)


def _write(rows: Iterator[tuple[Any, ...]], columns: Sequence[str], form: str, output: Path | None) -> None:
    if form == "parquet" and output is not None:
        need_arrow()
        from ...output.bars_parquet import write_parquet  # noqa: PLC0415  # its import takes 0.2 s

        write_parquet(rows, output, columns)
        return
    spelled = {"table": short, "csv": shortest, "json": _as_float}[form]
    texts = ((symbol, as_moment(at, MOMENT[form]), *map(spelled, numbers)) for symbol, at, *numbers in rows)
    if form == "table" and columns[-1] == _PROVENANCE:
        _write_table(texts, columns, output)
        return
    write_rows(columns, texts, form, output)


def _write_table(texts: Iterator[tuple[Any, ...]], columns: Sequence[str], output: Path | None) -> None:
    """Write a table. It has no room for the provenance: the counts of partial bars have a star."""
    partial = 0

    def starred() -> Iterator[tuple[Any, ...]]:
        nonlocal partial
        for *row, count, vwap, provenance in texts:
            is_partial = provenance == _PARTIAL
            partial += is_partial
            yield (*row, f"{count}*" if is_partial else count, vwap)

    write_rows(columns[:-1], starred(), "table", output)
    if partial:
        click.echo(f"* {partial:,} bars are partial: a live feed missed a part of their minutes", err=True)


def _as_float(number: Any) -> Any:
    return float(number) if isinstance(number, Decimal) else number
