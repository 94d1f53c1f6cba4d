"""`tickstock universe`: lists of symbols, for the universe of a live feed."""

from contextlib import AbstractContextManager
from typing import BinaryIO

import click
import msgspec
from rich.table import Table
from rich.text import Text

from ....contracts.universe import UniverseEntry, read_entry_name
from ....db.schema.migrate import check_schema
from ....db.tables.universe import ListedUniverse, list_universes, read_universe, symbols_of_bytes, write_universe
from ...process.console import make_console
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed

_LEAST_WIDTH = 120
_FEW = 5


@click.group(context_settings=CONTEXT, short_help="List, show and import universes of symbols.")
def universe() -> None:
    """Universes: lists of symbols in the application's table cache_entries. A producer reads one with --universe."""


@universe.command(context_settings=CONTEXT)
@typed("--json", "as_json", is_flag=True, help="Print one JSON object in each line, with all symbols.")
@server_options
def ls(where: AbstractContextManager[Place], as_json: bool) -> None:
    """List the universes by name."""
    with where as place, open_postgres(place, name="tickstock-universe") as connection:
        check_schema(connection)
        universes = list_universes(connection)
    if as_json:
        for listed in universes:
            click.echo(msgspec.json.encode({**listed._asdict(), "entry": str(listed.entry)}).decode())
    elif universes:
        _print_table(universes)
    else:
        click.echo("no universes: `tickstock universe import NAME:KEY FILE` adds one")


def _print_table(universes: list[ListedUniverse]) -> None:
    table = Table("universe", "type", "environment", "symbols", "first")
    table.columns[3].justify = "right"
    for listed in universes:
        first = " ".join(listed.symbols[:_FEW]) + (" …" if len(listed.symbols) > _FEW else "")
        # Text, not markup: a name may hold anything, [red] too.
        texts = (str(listed.entry), listed.type, listed.environment, f"{len(listed.symbols):,}", first)
        table.add_row(*map(Text, texts))
    console = make_console()
    (console if console.is_terminal else make_console(width=_LEAST_WIDTH)).print(table)


@universe.command(context_settings=CONTEXT)
@click.argument("name", metavar="NAME:KEY")
@typed("--json", "as_json", is_flag=True, help="Print one JSON list.")
@server_options
def show(where: AbstractContextManager[Place], name: str, as_json: bool) -> None:
    """Print the symbols of a universe, one in each line, as `import` reads them."""
    entry = read_entry_name(name)
    with where as place, open_postgres(place, name="tickstock-universe") as connection:
        check_schema(connection)
        symbols = read_universe(connection, entry)
    click.echo(msgspec.json.encode(symbols).decode() if as_json else "\n".join(symbols))


@universe.command("import", context_settings=CONTEXT, short_help="Write the symbols of FILE into NAME:KEY.")
@click.argument("name", metavar="NAME:KEY")
@click.argument("file", type=click.File("rb"))
@typed(
    "--type",
    "kind",
    type=click.Choice(["stock_universe", "etf_universe", "stock_etf_combo", "themes"]),
    default="stock_universe",
    help="Type of a new entry. An entry that exists keeps its type.",
)
@server_options
def import_(where: AbstractContextManager[Place], name: str, file: BinaryIO, kind: str) -> None:
    """Replace the symbols of NAME:KEY by those of FILE; `-` is the standard input.

    FILE: symbols separated by line ends, commas or blanks (# begins a comment), CSV with a column symbol or ticker, or
    JSON as in cache_entries. A running producer follows the change within 30 seconds.
    """
    entry = read_entry_name(name)
    symbols = symbols_of_bytes(file.read(), file.name)
    with where as place, open_postgres(place, name="tickstock-universe") as connection:
        check_schema(connection)
        before = write_universe(connection, entry, symbols, kind=kind)
    click.echo(_change(entry, before, symbols))


def _change(entry: UniverseEntry, before: list[str], now: list[str]) -> str:
    added, removed = len(set(now) - set(before)), len(set(before) - set(now))
    return f"{entry}: {len(now):,} symbols, {added:,} added, {removed:,} removed"
