"""`tickstock bars`."""

import csv
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ...contracts.errors import UsageError
from ...db.migrate import check_schema
from ...db.queries import query
from ..bars_text import shortest
from ..wiring import Place, open_postgres
from .options import CONTEXT, option, server_options

_COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume", "trade_count", "vwap")


class TimeType(click.ParamType[datetime]):
    """A moment: ISO-8601; without a zone it is UTC."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment with its zone."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no ISO-8601 time such as 2013-10-07T14:30:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command(context_settings=CONTEXT)
@option("--symbol", help="Only this symbol.")
@option("--from", "start", type=TimeType(), help="Only bars that start at or after this time (UTC).")
@option("--to", "end", type=TimeType(), help="Only bars that start before this time (UTC).")
@option("--format", "form", type=click.Choice(["table", "csv", "parquet"]), default="table", help="How to write them.")
@option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; parquet needs one.")
@server_options
def bars(
    where: AbstractContextManager[Place],
    symbol: str | None,
    start: datetime | None,
    end: datetime | None,
    form: str,
    output: Path | None,
) -> None:
    """Print the 1-minute bars, by symbol and time. A timestamp is the start of the minute, UTC."""
    if form == "parquet" and output is None:
        raise UsageError("--format parquet needs --output FILE")
    with where as servers, open_postgres(servers, name="tickstock-bars") as connection:
        check_schema(connection)
        (has_detail,) = connection.execute(query("has_bar_detail")).fetchone() or (False,)
        values = {"symbol": symbol, "from": start, "to": end}
        # A cursor on the server: a year of bars does not fit into memory.
        with connection.transaction(), connection.cursor(name="bars") as cursor:
            cursor.itersize = 10_000
            cursor.execute(query("bars_with_detail" if has_detail else "bars"), values)
            _write(iter(cursor), form, output)


def _write(rows: Iterator[tuple[Any, ...]], form: str, output: Path | None) -> None:
    if form == "parquet" and output is not None:
        from ..bars_parquet import write_parquet  # noqa: PLC0415  # 0.2 s to import, for this one format

        write_parquet(rows, output)
        return
    with output.open("w", newline="") if output else click.open_file("-", "w") as file:
        (_write_csv if form == "csv" else _write_table)(rows, file)


def _write_csv(rows: Iterator[tuple[Any, ...]], file: Any) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for symbol, at, *numbers in rows:
        writer.writerow((symbol, at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), *map(shortest, numbers)))


def _write_table(rows: Iterator[tuple[Any, ...]], file: Any) -> None:
    table = Table(*_COLUMNS)
    for symbol, at, *numbers in rows:
        table.add_row(symbol, at.astimezone(UTC).strftime("%Y-%m-%d %H:%M"), *map(shortest, numbers))
    Console(file=file, width=None if file is sys.stdout else 120).print(table)
