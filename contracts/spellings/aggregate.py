"""An aggregate of a second or a minute -> a row with consistent prices; the same rule for every source. Pure."""

from collections.abc import Sequence
from typing import Any

from .tick_values import NotATick, TickRow, price_of, price_with_size, shown

_NAMES = ("open", "high", "low", "vwap")


def aggregate_row(symbol: str, ts: int, size: float, close: Any, others: Sequence[Any]) -> TickRow:
    """Return a row with the prices of a feed. Raises NotATick.

    others: open, high, low, vwap; a null one becomes the close. High and low are widened to include open and close. A
    vwap outside of them becomes the nearer one: it includes trades that set no price, such as odd lots. A high below
    the low refuses the row.
    """
    if not size:
        return TickRow(symbol, ts, price_with_size(close, size), size)
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
    return TickRow(symbol, ts, price, size, first, highest, lowest, mean)
