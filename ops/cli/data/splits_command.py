"""`tickstock splits`: lists and imports share splits."""

from contextlib import AbstractContextManager
from typing import BinaryIO

import click
import msgspec
from rich.table import Table

from ....contracts.errors import UsageError
from ....contracts.spellings.split_file import spelled_ratio, splits_of_text
from ....db.schema.migrate import check_schema
from ....db.tables.splits import add_splits, list_splits
from ...process.console import make_console
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed


@click.group(context_settings=CONTEXT, short_help="List and import splits.")
def splits() -> None:
    """List and import splits. No indicator or pattern looks back over an ex-date. Prices are not adjusted.

    Without a row here, a change of more than 30 % down or 43 % up over a night counts as a split.
    """


@splits.command(context_settings=CONTEXT)
@click.argument("symbol", required=False)
@typed("--json", "as_json", is_flag=True, help="Print one JSON object in each line.")
@server_options
def ls(where: AbstractContextManager[Place], symbol: str | None, as_json: bool) -> None:
    """List the splits of one symbol, or of all."""
    with where as place, open_postgres(place, name="tickstock-splits") as connection:
        check_schema(connection)
        found = list_splits(connection, symbol)
    rows = [(split.symbol, str(split.ex_date), spelled_ratio(split.ratio)) for split in found]
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(dict(zip(("symbol", "ex_date", "ratio"), row, strict=True))).decode())
    elif rows:
        table = Table("symbol", "ex-date", "new : old")
        for row in rows:
            table.add_row(*row)
        make_console().print(table)
    else:
        click.echo("no splits: `tickstock splits import FILE` adds some")


@splits.command("import", context_settings=CONTEXT)
@click.argument("file", type=click.File("rb"))
@server_options
def import_(where: AbstractContextManager[Place], file: BinaryIO) -> None:
    """Add the splits of FILE; `-` is the standard input. Running workers use them within a minute.

    FILE: CSV with the columns symbol, ex_date (2025-06-10) and ratio (new shares for old ones: 10:1, 3:2, 0.125), or
    split_to and split_from, as the vendor names them, instead of ratio. If a split exists with another ratio, none is
    added. Detections from before the import stay.
    """
    try:
        text = file.read().decode()
    except UnicodeDecodeError as e:
        raise UsageError(f"{file.name}: not a text file: {e}") from e
    given = splits_of_text(text, file.name)
    with where as place, open_postgres(place, name="tickstock-splits") as connection:
        check_schema(connection)
        added = add_splits(connection, given)
    click.echo(f"{added:,} split{'' if added == 1 else 's'} added, {len(given) - added:,} existed")
