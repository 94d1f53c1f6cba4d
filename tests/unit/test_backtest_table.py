"""The tables of `tickstock backtest`."""

import io
import re

import pytest
from rich.console import Console
from tickstockpl.ops.cli.parts import backtest_table
from tickstockpl.workers.backtest.metrics import AccountFigures, TradeFigures
from tickstockpl.workers.backtest.report import Figures, Request
from tickstockpl.workers.backtest.rules import Rules

ACCOUNT = AccountFigures(
    total_return=-0.17, annual_return=-0.07, sharpe=-0.74, sortino=-0.76, max_drawdown=-0.21, exposure=0.13,
    final_equity=1_082_285.14,
)  # fmt: skip
TRADES = TradeFigures(
    trades=1234, wins=400, losses=834, win_rate=0.324, profit=-117_714.86, commission=800.0, average_profit=-454.23,
    best=1_016.68, worst=-9_806.69, profit_factor=0.44, average_bars=22.18,
)  # fmt: skip
REQUEST = Request(
    symbols=("AAPL",),
    patterns=("Price_Breakout",),
    start="2025-01-02",
    end="2025-12-31",
    timeframe="daily",
    rules=Rules(),
)
MONEY = {"1,082,285.14", "-117,714.86", "-454.23", "1,016.68", "-9,806.69"}


@pytest.mark.parametrize(("width", "is_terminal"), [(80, False), (80, True), (200, True)])
def test_no_amount_of_money_is_cut(monkeypatch, width, is_terminal):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=is_terminal, color_system=None)
    monkeypatch.setattr(backtest_table, "make_console", lambda: console)
    figures = Figures(
        request=REQUEST, signals=5, passed_over={}, account=ACCOUNT, benchmark=ACCOUNT, trades=TRADES,
        by_pattern={"Price_Breakout": TRADES}, by_symbol={},
    )  # fmt: skip
    backtest_table.print_report(figures)
    assert "…" not in out.getvalue()
    assert set(re.findall(r"-?[\d,]+\.\d\d\b", out.getvalue())) >= MONEY
