"""The 1-minute bars of a backtest, loaded as columns."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from ...contracts.ticks import Column
from ..postgres import Connection
from ..queries import query
from .bars import COPY_HEADER, COPY_TRAILER

_VALUES = ("open", "high", "low", "close", "volume")
_LOADED = np.dtype(
    [("fields", ">i2"), ("number bytes", ">i4"), ("number", ">i4"), ("minute bytes", ">i4"), ("minute", ">i4")]
    + [(name + kind, form) for name in _VALUES for kind, form in ((" bytes", ">i4"), ("", ">f8"))]
)


def load_minutes(connection: Connection, symbols: Sequence[str], first: datetime, end: datetime) -> Column:
    """Load the 1-minute bars that begin in [first, end), ordered by symbol, oldest first.

    Returns an array of number (the symbol's index, from 1), minute (since 1970), open, high, low, close, volume.
    """
    values = {"symbols": list(symbols), "first": first, "end": end}
    with connection.cursor().copy(query("load_minutes"), values) as copy:
        loaded = b"".join(copy)
    return np.frombuffer(loaded[len(COPY_HEADER) : -len(COPY_TRAILER)], _LOADED)
