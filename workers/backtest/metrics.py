"""The usual figures of an account and its trades. Pure.

The definitions are those of empyrical: returns from one trading day's last equity to the next, the first from the
initial capital; a year has 252 days, 52 weeks or 12 months. A figure without a value is None, never NaN.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from ...contracts.ticks import Column
from .equity import Curve
from .trading import Trade

PERIODS_A_YEAR = {"weekly": 52, "monthly": 12}
_DAYS_A_YEAR = 252
_DAY_MINUTES = 1440


class AccountFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of an account; returns, drawdown and exposure are fractions. None: the figure has no value."""

    total_return: float | None
    annual_return: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float | None
    exposure: float | None
    final_equity: float


class TradeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of some trades; money in dollars, win_rate a fraction. None: the figure has no value."""

    trades: int
    wins: int
    losses: int
    win_rate: float | None
    profit: float
    commission: float
    average_profit: float | None
    best: float | None
    worst: float | None
    profit_factor: float | None
    average_bars: float | None


def account_figures(curve: Curve, initial_capital: float, timeframe: str) -> AccountFigures:
    """Return the figures of a curve; timeframe: that of its bars."""
    if not len(curve.time):
        nothing = dict.fromkeys(("total_return", "annual_return", "sharpe", "sortino", "max_drawdown", "exposure"))
        return AccountFigures(**nothing, final_equity=initial_capital)
    returns = returns_of(curve, initial_capital)
    periods = PERIODS_A_YEAR.get(timeframe, _DAYS_A_YEAR)
    growth = float(curve.equity[-1] / initial_capital)
    with np.errstate(divide="ignore", invalid="ignore"):
        downside = np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)) * math.sqrt(periods)
        spread = np.std(returns, ddof=1) if len(returns) > 1 else np.float64(np.nan)
        return AccountFigures(
            total_return=_finite(growth - 1),
            annual_return=_finite(growth ** (periods / len(returns)) - 1) if growth > 0 else None,
            sharpe=_finite(np.mean(returns) / spread * math.sqrt(periods)),
            sortino=_finite(np.mean(returns) * periods / downside) if len(returns) > 1 else None,
            max_drawdown=_finite(_max_drawdown(returns)),
            exposure=_finite(np.mean(curve.exposure / curve.equity)),
            final_equity=float(curve.equity[-1]),
        )


def returns_of(curve: Curve, initial_capital: float) -> Column:
    """Return the return of each day (of each bar, if bars are longer than a day) from its last equity."""
    equity = np.concatenate([[initial_capital], curve.equity[last_of_days(curve.time)]])
    with np.errstate(divide="ignore", invalid="ignore"):
        returns: Column = equity[1:] / equity[:-1] - 1
    return returns


def last_of_days(time: Column) -> Column:
    """Return the places of each day's last time. time: minutes since 1970, ascending."""
    return np.flatnonzero(np.diff(time // _DAY_MINUTES, append=-1))


def _max_drawdown(returns: Column) -> float:
    worth = np.concatenate([[1.0], np.cumprod(1 + returns)])
    return float(np.min(worth / np.maximum.accumulate(worth) - 1))


def trade_figures(trades: Sequence[Trade]) -> TradeFigures:
    """Return the figures of some trades. A win is a trade with a profit above 0 after both commissions."""
    profits = np.array([one.profit for one in trades])
    won, lost = profits[profits > 0], profits[profits <= 0]
    some = len(profits) > 0
    return TradeFigures(
        trades=len(profits),
        wins=len(won),
        losses=len(lost),
        win_rate=len(won) / len(profits) if some else None,
        profit=float(profits.sum()),
        commission=float(sum(one.commission for one in trades)),
        average_profit=float(profits.mean()) if some else None,
        best=float(profits.max()) if some else None,
        worst=float(profits.min()) if some else None,
        profit_factor=_finite(won.sum() / -lost.sum()) if lost.sum() < 0 else None,
        average_bars=float(np.mean([one.exit_bar - one.entry_bar + 1 for one in trades])) if some else None,
    )


def _finite(value: float | np.floating) -> float | None:
    return float(value) if math.isfinite(value) else None
