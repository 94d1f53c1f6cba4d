"""`tickstock backtest`."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

import click
import msgspec
from rich.progress import Progress as Bar

from ....db.postgres import Connection
from ....db.schema.migrate import check_schema
from ....workers.backtest.backtest import Loaded, definitions_of, load, run
from ....workers.backtest.lookahead import differences
from ....workers.backtest.report import Report, Request
from ....workers.backtest.rules import Rules
from ...jobs.known_names import check_symbols
from ...output.backtest_files import write_report
from ...process.console import make_console
from ...wiring.servers import Place, open_postgres
from ..parts.backtest_options import backtest_options
from ..parts.backtest_table import print_report
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed

_CUTS = 20  # times at which --check-lookahead removes the later bars
_DAY = click.DateTime(["%Y-%m-%d"])
_DEFAULT = Rules()


@click.command(context_settings=CONTEXT, short_help="Compute what the published patterns would have earned.")
@backtest_options
@typed("--check-lookahead", is_flag=True, help=f"Repeat it without the bars after {_CUTS} times; compare the trades.")
@typed("--out", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder for JSON, CSV and a picture.")
@typed("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@server_options
def backtest(
    where: AbstractContextManager[Place],
    request: Request,
    check_lookahead: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Trade the patterns that would have been published, on bars of the database.

    A pattern on one bar is an order for the next bar's open, with slippage. If a bar reaches both the stop and the
    target, the stop counts. A gap beyond the stop fills at the open. docs/backtests.md has all rules.

    Exit 1 if no symbol has bars, or if --check-lookahead finds a trade that depends on later bars.
    """
    with where as place, open_postgres(place, name="tickstock-backtest") as connection:
        check_schema(connection)
        check_symbols(connection, request.symbols)
        report = _watched(lambda said: run(connection, request, said))
        found = _check(connection, request) if check_lookahead else 0
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        print_report(report)
    for file in write_report(report, folder) if folder else ():
        click.echo(f"wrote {file}", err=True)
    if found:
        sys.exit(1)


def _watched(work: Callable[[Callable[[float, str], None]], Report]) -> Report:
    """Run a backtest, with a progress bar if the output is a terminal."""
    console = make_console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("backtest", total=1.0)
        return work(lambda share, symbol: bar.update(task, completed=share, description=symbol))


def _check(connection: Connection, request: Request) -> int:
    """Print each trade that changes if later bars are removed; return their number."""
    patterns = definitions_of(connection, request)
    loaded: list[Loaded] = [*load(connection, request)]
    random = Random(msgspec.json.encode(request))  # the same request is cut at the same times

    def some(times: list[int]) -> list[int]:
        return sorted(random.sample(times, min(_CUTS, len(times))))

    found = [*differences(loaded, request, patterns, some)]
    for one in found:
        click.echo(
            f"{one.symbol}: {one.with_future} with the bars after {one.cut}, but {one.without} without them", err=True
        )
    click.echo(f"look-ahead: {len(found)} trades depend on later bars ({_CUTS} times checked)", err=True)
    return len(found)
