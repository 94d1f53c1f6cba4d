"""`tickstock backtest`."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from random import Random

import click
import msgspec
from rich.progress import Progress as Bar
from rich.table import Table

from ....contracts.timeframe import INTRADAY, LONGER
from ....db.postgres import Connection
from ....db.schema.migrate import check_schema
from ....workers.backtest.backtest import Loaded, definitions_of, load, run
from ....workers.backtest.lookahead import differences
from ....workers.backtest.metrics import AccountFigures, TradeFigures
from ....workers.backtest.report import Report, Request
from ....workers.backtest.rules import Rules
from ...output.backtest_files import write_report
from ...process.console import make_console
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, Number, server_options
from ..parts.selection import NamesType
from ..parts.setting import typed

_CUTS = 20  # times at which --check-lookahead removes the later bars
_DAY = click.DateTime(["%Y-%m-%d"])
_DEFAULT = Rules()


@click.command(context_settings=CONTEXT, short_help="Compute what trades on the published patterns would have earned.")
@typed("--symbols", type=NamesType(20), required=True, help="Symbols.")
@typed("--patterns", type=NamesType(), required=True, help="Names of patterns in pattern_definitions.")
@typed("--from", "start", type=_DAY, required=True, help="First day.")
@typed("--to", "end", type=_DAY, required=True, help="Last day.")
@typed(
    "--timeframe", type=click.Choice([*INTRADAY, *LONGER]), default="daily", help="Timeframe of the bars to trade on."
)
@typed("--initial-capital", type=Number(0), default=_DEFAULT.initial_capital, help="Dollars.")
@typed(
    "--commission-rate", type=Number(0), default=_DEFAULT.commission_rate, help="Part of the value, at entry and exit."
)
@typed(
    "--slippage-rate",
    type=Number(0),
    default=_DEFAULT.slippage_rate,
    help="Part by which a market order's price is worse.",
)
@typed(
    "--max-position-size",
    type=Number(0),
    default=_DEFAULT.max_position_size,
    help="Largest part of the equity in one position.",
)
@typed(
    "--stop-loss-pct",
    type=Number(0),
    default=_DEFAULT.stop_loss_pct,
    help="Distance from the entry, 0.05 is 5 %; 0: no stop.",
)
@typed(
    "--take-profit-pct", type=Number(0), default=_DEFAULT.take_profit_pct, help="Distance from the entry; 0: no target."
)
@typed("--max-bars", type=click.IntRange(1), help="Close a position after this number of bars.")
@typed("--short/--long-only", default=True, help="Whether bearish patterns open short positions.")
@typed("--check-lookahead", is_flag=True, help=f"Repeat it {_CUTS} times without later bars: earlier trades must stay.")
@typed("--out", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder for JSON, CSV and a picture.")
@typed("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@server_options
def backtest(
    where: AbstractContextManager[Place],
    symbols: tuple[str, ...],
    patterns: tuple[str, ...],
    start: datetime,
    end: datetime,
    timeframe: str,
    stop_loss_pct: float,
    take_profit_pct: float,
    check_lookahead: bool,
    folder: Path | None,
    as_json: bool,
    **rules: float | bool | None,
) -> None:
    """Trade the patterns that would have been published, on bars of the database.

    A pattern on one bar is an order for the next bar's open, with slippage. If a bar reaches both the stop and the
    target, the stop counts. A gap beyond the stop fills at the open. docs/backtests.md has all rules.

    Exit 1 if no symbol has bars, or if --check-lookahead finds a trade that depends on later bars.
    """
    request = Request(
        symbols=symbols,
        patterns=patterns,
        start=start.date().isoformat(),
        end=end.date().isoformat(),
        timeframe=timeframe,
        rules=msgspec.convert(
            rules | {"stop_loss_pct": stop_loss_pct or None, "take_profit_pct": take_profit_pct or None}, Rules
        ),
    )
    with where as place, open_postgres(place, name="tickstock-backtest") as connection:
        check_schema(connection)
        report = _watched(lambda said: run(connection, request, said))
        found = _check(connection, request) if check_lookahead else 0
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        _print(report)
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


def _print(report: Report) -> None:
    console = make_console()
    account = Table("", "total", "a year", "Sharpe", "Sortino", "drawdown", "in the market", "dollars at the end")
    for name, figures in (("patterns", report.account), ("buy and hold", report.benchmark)):
        account.add_row(name, *_account(figures))
    console.print(account)
    trades = Table("", "trades", "won", "profit", "mean", "best", "worst", "profit factor", "bars")
    for name, some in [("all", report.trades), *report.by_pattern.items()]:
        trades.add_row(name, *_trades(some))
    console.print(trades)
    left_out = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in report.passed_over.items() if count)
    click.echo(f"{report.signals:,} signals; not traded: {left_out or 'none'}", err=True)


def _account(one: AccountFigures) -> list[str]:
    shares = (_percent(one.total_return), _percent(one.annual_return), _plain(one.sharpe), _plain(one.sortino))
    return [*shares, _percent(one.max_drawdown), _percent(one.exposure), f"{one.final_equity:,.2f}"]


def _trades(one: TradeFigures) -> list[str]:
    money = (one.profit, one.average_profit, one.best, one.worst)
    return [f"{one.trades:,}", _percent(one.win_rate), *map(_money, money), _plain(one.profit_factor),
            _plain(one.average_bars)]  # fmt: skip


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
