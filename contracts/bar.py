"""The 1-minute interval, and the columns of a bar."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from .ticks import Mask

MINUTE_MS = 60_000
MINUTE_NS = MINUTE_MS * 1_000_000

# A bar, complete or still open. `minute`: the start, in minutes since 1970 (UTC). Volume is counted in millionths of a
# share: sums of whole numbers are exact in a float64 up to 2**53, so no split of the stream changes a volume.
# `notional`: sum of price x size, in dollars. open_ts, close_ts: tick time of the first and last trade, Unix ns.
BAR_DTYPE = np.dtype(
    [
        ("symbol", "<i4"),  # index into the partition's symbols
        ("minute", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume_micro", "<f8"),
        ("notional", "<f8"),
        ("trades", "<i8"),
        ("open_ts", "<i8"),
        ("close_ts", "<i8"),
    ]
)
Bars = NDArray[np.void]  # (n,) of BAR_DTYPE

# A minute with odd lots only has no price: NaN for open and close, no bound for high and low, and these two times of
# open and close. When two parts of a minute are merged, the times of a part with a price replace them.
NO_OPEN_TS, NO_CLOSE_TS = 2**63 - 1, -1


def has_prices(bars: NDArray[np.void]) -> Mask:
    """Return a mask of the minutes that have an open and a close: only these are bars."""
    return np.asarray(bars["close_ts"] != NO_CLOSE_TS)


class OutboxBar(msgspec.Struct, gc=False):
    """A bar in an outbox message of kind `bars`. timestamp: the start of the minute, Unix seconds."""

    symbol: str
    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    trade_count: int | None  # None: unknown
    revision: int
