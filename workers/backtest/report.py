"""The report of a backtest: figures, trades and curves. The same bars and rules give the same bytes. Pure."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from .equity import Curve, buy_and_hold, curve_of
from .market import Closes
from .metrics import AccountFigures, TradeFigures, account_figures, last_of_days, trade_figures
from .rules import Rules
from .trading import Trade, Traded


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The request of a backtest. start, end: days (ISO), both included. patterns: names; their current rows apply."""

    symbols: tuple[str, ...]
    patterns: tuple[str, ...]
    start: str
    end: str
    timeframe: str = "daily"
    rules: Rules = Rules()


class TradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One trade, slippage included; times are the starts of the bars of its entry and exit, UTC."""

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


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """The account and the benchmark (buy and hold) at the close of the bars that begin at this time; dollars."""

    time: str
    equity: float
    benchmark: float
    exposure: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a backtest. passed_over: signals that opened no position, by reason."""

    request: Request
    signals: int
    passed_over: dict[str, int]
    account: AccountFigures
    benchmark: AccountFigures
    trades: TradeFigures
    by_pattern: dict[str, TradeFigures]
    by_symbol: dict[str, TradeFigures]

    def report(self, trade_list: list[TradeRow], equity: list[CurvePoint]) -> "Report":
        """Return the report: these figures with the trades and the equity curve."""
        return Report(**msgspec.structs.asdict(self), trade_list=trade_list, equity=equity)


class Report(Figures, frozen=True, kw_only=True):
    """The figures of a backtest with its trades and its equity curve."""

    trade_list: list[TradeRow]
    equity: list[CurvePoint]

    @property
    def figures(self) -> Figures:
        """Return the figures without trades and curve."""
        return Figures(**{name: getattr(self, name) for name in Figures.__struct_fields__})


def report_of(request: Request, closes: Closes, signals: int, traded: Traded) -> Report:
    """Make the report of the trades. The curve has at most one point a day: that of the day's last bars."""
    rules = request.rules
    curve, held = curve_of(closes, traded.trades, rules), buy_and_hold(closes, rules)
    return Report(
        request=request,
        signals=signals,
        passed_over=traded.passed_over,
        account=account_figures(curve, rules.initial_capital, request.timeframe),
        benchmark=account_figures(held, rules.initial_capital, request.timeframe),
        trades=trade_figures(traded.trades),
        by_pattern=_by(traded.trades, lambda one: one.pattern),
        by_symbol=_by(traded.trades, lambda one: closes.symbols[one.symbol]),
        trade_list=[_row(closes, one) for one in traded.trades],
        equity=[*_points(curve, held)],
    )


def _by(trades: Sequence[Trade], key: Callable[[Trade], str]) -> dict[str, TradeFigures]:
    groups: dict[str, list[Trade]] = {}
    for one in trades:
        groups.setdefault(key(one), []).append(one)
    return {name: trade_figures(groups[name]) for name in sorted(groups)}


def _row(closes: Closes, one: Trade) -> TradeRow:
    return TradeRow(
        symbol=closes.symbols[one.symbol],
        pattern=one.pattern,
        direction="long" if one.direction > 0 else "short",
        confidence=one.confidence,
        entry_time=_iso(int(closes.time[one.entry_bar])),
        exit_time=_iso(int(closes.time[one.exit_bar])),
        entry_price=one.entry_price,
        exit_price=one.exit_price,
        shares=one.shares,
        commission=one.commission,
        profit=one.profit,
        bars=one.exit_bar - one.entry_bar + 1,
        reason=one.reason,
    )


def _points(curve: Curve, held: Curve) -> Iterable[CurvePoint]:
    for i in last_of_days(curve.time).tolist():
        time = _iso(int(curve.time[i]))
        yield CurvePoint(time, float(curve.equity[i]), float(held.equity[i]), float(curve.exposure[i]))


def _iso(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()
