"""The rules of a backtest: money, costs, and when a position is closed. Pure."""

import msgspec

from ...contracts.errors import UsageError

MAX_RATE = 0.01  # the limit of the application's own form


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How signals become trades. Rates, sizes and `_pct` are fractions: 0.05 is 5 %.

    initial_capital: dollars. commission_rate: of the value, at entry and at exit. slippage_rate: the price of a market
    order is worse by this share; a target is a limit order and has no slippage. max_position_size: largest part of the
    equity in one position. stop_loss_pct, take_profit_pct: distance from the entry price; None: no such order.
    max_bars: a position is closed at the close of this bar, counted from its entry; None: no limit. short: bearish
    patterns open short positions.
    """

    initial_capital: float = 100_000.0
    commission_rate: float = 0.001
    slippage_rate: float = 0.0005
    max_position_size: float = 0.1
    stop_loss_pct: float | None = 0.05
    take_profit_pct: float | None = 0.10
    max_bars: int | None = None
    short: bool = True

    def check(self) -> None:
        """Check the bounds. Raises UsageError, which names the first value outside them."""
        for name, low, high in (
            ("initial_capital", 1.0, 1e12),
            ("commission_rate", 0.0, MAX_RATE),
            ("slippage_rate", 0.0, MAX_RATE),
            ("max_position_size", 0.001, 1.0),
            ("stop_loss_pct", 0.0001, 0.99),
            ("take_profit_pct", 0.0001, 100.0),
            ("max_bars", 1, 1_000_000),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name}: {value:g} is not between {low:g} and {high:g}")
