"""The messages about a backtest: its progress, and at its end flat figures, each finite or null. Pure."""

from collections.abc import Mapping

from ....contracts.messages.message import Figure, Message
from ....contracts.messages.system_messages import backtest_progress, backtest_results
from ..report import Figures

_ACCOUNT = {
    "total_return": "total_return",
    "annual_return": "annual_return",
    "sharpe_ratio": "sharpe",
    "sortino_ratio": "sortino",
    "max_drawdown": "max_drawdown",
    "exposure": "exposure",
    "final_equity": "final_equity",
}
_TRADES = {
    "total_trades": "trades",
    "winning_trades": "wins",
    "losing_trades": "losses",
    "win_rate": "win_rate",
    "profit": "profit",
    "profit_factor": "profit_factor",
    "average_profit": "average_profit",
    "best_trade": "best",
    "worst_trade": "worst",
    "average_bars": "average_bars",
    "commission": "commission",
}


def progress_said(
    job_id: str, *, now_s: float, share: float, symbol: str | None, ends_s: float | None
) -> list[Message]:
    """Return the message of progress. share: done, 0 to 1. ends_s: the expected end, Unix seconds; None: unknown."""
    return [
        backtest_progress(
            now_s=now_s, job_id=job_id, progress=share, current_symbol=symbol, estimated_completion_s=ends_s
        )
    ]


def completed_said(job_id: str, figures: Figures, *, now_s: float) -> list[Message]:
    """Return the messages of a completed backtest: a progress of 1, then its results."""
    return [
        *progress_said(job_id, now_s=now_s, share=1.0, symbol=None, ends_s=now_s),
        backtest_results(now_s=now_s, job_id=job_id, status="completed", results=flat(figures)),
    ]


def failed_said(job_id: str, why: str, *, now_s: float) -> list[Message]:
    """Return the message of a backtest that failed or was cancelled: no figures, but the reason."""
    return [backtest_results(now_s=now_s, job_id=job_id, status="failed", results={"error": why})]


def flat(figures: Figures) -> Mapping[str, Figure]:
    """Return the figures as one flat mapping, under the usual names."""
    request = figures.request
    return {
        **{name: getattr(figures.account, field) for name, field in _ACCOUNT.items()},
        "benchmark_return": figures.benchmark.total_return,
        **{name: getattr(figures.trades, field) for name, field in _TRADES.items()},
        "signals": figures.signals,
        "symbols": len(request.symbols),
        "start_date": request.start,
        "end_date": request.end,
        "timeframe": request.timeframe,
        "initial_capital": request.rules.initial_capital,
    }
