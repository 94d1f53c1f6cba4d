"""The requests and answers of the calls of backtests. Pure.

Returns, rates, sizes and `_pct` are fractions; progress is 0 to 100.
"""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from ....contracts.messages.message import Figure
from ....workers.backtest.report import TradeRow
from ..answers import Percent, Word

Names = Annotated[list[Word], Meta(max_length=1000)]
Number = float | UnsetType | None


class BacktestRules(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The rules of trading: see docs/backtests.md. stop_loss_pct, take_profit_pct: 0 means no such order."""

    initial_capital: Number = UNSET
    commission_rate: Number = UNSET
    slippage_rate: Number = UNSET
    max_position_size: Number = UNSET
    stop_loss_pct: Number = UNSET
    take_profit_pct: Number = UNSET
    max_bars: int | UnsetType | None = UNSET
    short: bool | UnsetType = UNSET


class BacktestWanted(Struct, kw_only=True, omit_defaults=True):
    """A request for a backtest, as on the channel `tickstock.jobs.backtest`. job_id: null: the API makes one."""

    symbols: Names
    patterns: Names
    start_date: Word
    end_date: Word
    timeframe: Word = "daily"
    parameters: BacktestRules | None = None
    job_id: Word | None = None


class BacktestStarted(Struct, kw_only=True):
    """The backtest was added, or the same backtest exists already under this job_id."""

    job_id: str
    run_id: UUID
    status: str
    message: str


class BacktestCancelled(Struct, kw_only=True):
    """The cancel of the backtest was accepted."""

    job_id: str
    message: str


class Backtest(Struct, kw_only=True):
    """A backtest.

    status: queued, running, cancelling, completed, failed or cancelled. results: the same as in its message of results.
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
    """Backtests, the newest first. today: in New York, by the database's clock; no backtest may have a later day."""

    today: date
    backtests: list[Backtest]


class EquityPoint(Struct, kw_only=True):
    """The account, and its benchmark (buy and hold), at the last close of a day."""

    time: str
    equity: float
    benchmark: float
    exposure: float


class BacktestReport(Struct, kw_only=True):
    """A backtest and its result. metrics is null, and trades and equity are empty, until it has completed.

    trades: at most as many as the call asks for; results.total_trades counts all. metrics: account, benchmark, trades,
    by_pattern, by_symbol, passed_over and signals, as `tickstock backtest --json` prints them.
    """

    backtest: Backtest
    metrics: dict[str, Any] | None
    trades: list[TradeRow]
    equity: list[EquityPoint]
