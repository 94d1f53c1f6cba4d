"""What the calls of backtests hear and say. Pure.

Returns, rates, sizes and `_pct` are fractions, progress is 0..100.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from ....contracts.messages.message import Figure
from ..answers import Percent, Word

Names = Annotated[list[Word], Meta(max_length=1000)]
Number = float | UnsetType | None


class BacktestRules(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How signals become trades: docs/backtests.md. stop_loss_pct, take_profit_pct: 0: there is no such order."""

    initial_capital: Number = UNSET
    commission_rate: Number = UNSET
    slippage_rate: Number = UNSET
    max_position_size: Number = UNSET
    stop_loss_pct: Number = UNSET
    take_profit_pct: Number = UNSET
    max_bars: int | UnsetType | None = UNSET
    short: bool | UnsetType = UNSET


class BacktestWanted(Struct, kw_only=True, omit_defaults=True):
    """A backtest as the channel `tickstock.jobs.backtest` takes it. job_id: one is made where none is given."""

    symbols: Names
    patterns: Names
    start_date: Word
    end_date: Word
    timeframe: Word = "daily"
    parameters: BacktestRules | None = None
    job_id: Word | None = None


class BacktestStarted(Struct, kw_only=True):
    """A backtest was added, or was there: the same one has one result."""

    job_id: str
    run_id: UUID
    status: str
    message: str


class BacktestCancelled(Struct, kw_only=True):
    """A backtest is asked to end."""

    job_id: str
    message: str


class Backtest(Struct, kw_only=True):
    """A backtest.

    status: queued, running, cancelling, completed, failed or cancelled. results: as its message has them.
    """

    job_id: str
    run_id: UUID
    status: str
    progress: Percent
    requested_by: str
    symbols: list[str]
    patterns: list[str]
    start_date: str | None
    end_date: str | None
    timeframe: str | None
    parameters: dict[str, Any]
    created_at: datetime
    start_time: datetime | None
    end_time: datetime | None
    duration_seconds: float | None
    error: str | None
    results: dict[str, Figure] | None


class Backtests(Struct, kw_only=True):
    """Backtests, the newest first."""

    backtests: list[Backtest]


class BacktestTrade(Struct, kw_only=True):
    """A trade, slippage included; times are the starts of its first and last bar."""

    symbol: str
    pattern: str
    direction: str
    confidence: float
    entry_time: str
    exit_time: str
    entry_price: float
    exit_price: float
    shares: int
    commission: float
    profit: float
    bars: int
    reason: str


class EquityPoint(Struct, kw_only=True):
    """The account, and that of who buys and holds, at the last close of a day."""

    time: str
    equity: float
    benchmark: float
    exposure: float


class BacktestReport(Struct, kw_only=True):
    """A backtest with what it found out; null and empty where it has not completed.

    trades: so many of results.total_trades as were asked for. metrics: account, benchmark, trades, by_pattern,
    by_symbol, passed_over and signals, as `tickstock backtest --json` prints them.
    """

    backtest: Backtest
    metrics: dict[str, Any] | None
    trades: list[BacktestTrade]
    equity: list[EquityPoint]
