"""Print a backtest's figures as tables in a terminal."""

import click
from rich.table import Column, Table

from ....workers.backtest.metrics import AccountFigures, TradeFigures
from ....workers.backtest.report import Figures
from ...process.console import make_console
from .rows_text import print_fitted


def print_report(report: Figures) -> None:
    """Print the account, the trades of each pattern, and the reasons why signals were not traded."""
    console = make_console()
    account = _table("", "total", "a year", "Sharpe", "Sortino", "drawdown", "in the market", "dollars at the end")
    for name, figures in (("patterns", report.account), ("buy and hold", report.benchmark)):
        account.add_row(name, *_account(figures))
    print_fitted(account, console)
    trades = _table("", "trades", "won", "profit", "mean", "best", "worst", "profit factor", "bars")
    for name, some in [("all", report.trades), *report.by_pattern.items()]:
        trades.add_row(name, *_trades(some))
    print_fitted(trades, console)
    left_out = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in report.passed_over.items() if count)
    click.echo(f"{report.signals:,} signals; not traded: {left_out or 'none'}", err=True)


def _table(name: str, *figures: str) -> Table:
    """Make a table whose figures are never cut: in a narrow terminal they are folded."""
    return Table(Column(name, overflow="fold"), *(Column(one, overflow="fold") for one in figures))


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
