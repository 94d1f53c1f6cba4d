"""A second's or a minute's aggregate -> a row whose prices make sense together: the one rule for every way in. Pure."""

from collections.abc import Sequence
from typing import Any

from .tick_values import NotATick, Row, price_of, price_with_size, shown

_NAMES = ("open", "high", "low", "vwap")


def aggregate_row(symbol: str, ts: int, size: float, close: Any, others: Sequence[Any]) -> Row:
    """Return a row with the prices that a feed says. Raises NotATick.

    others: open, high, low, vwap. A null one is the close. High and low are widened to hold open and close, and vwap is
    brought to the nearer of them where it lies outside: trades that set no price, such as odd lots, count in it. A high
    below the low says that the bar is none.
    """
    if not size:
        return Row(symbol, ts, price_with_size(close, size), size)
    price = price_of(close, "close")
    opened, high, low, vwap = (
        None if value is None else price_of(value, name) for name, value in zip(_NAMES, others, strict=True)
    )
    if high is not None and low is not None and high < low:
        raise NotATick("price", f"high is below low: {shown(high)} and {shown(low)}")
    first = price if opened is None else opened
    highest = max(price if high is None else high, first, price)
    lowest = min(price if low is None else low, first, price)
    mean = None if vwap is None else max(lowest, min(vwap, highest))
    return Row(symbol, ts, price, size, first, highest, lowest, mean)
