"""The rows that a commit stages: bars, and the limits of the bars' table. Pure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contracts.bar import BAR_DTYPE

VALUE_COLUMNS = [name for name in BAR_DTYPE.names or () if name not in ("symbol", "minute")]

# One staged bar. symbol and feed: UTF-8; other arrays may use wider fields. fresh: it was not compared with a stored
# bar, because there should be none; if there is one, its commit fails.
STAGED_DTYPE = [
    ("row_number", "<i4"),
    ("partition", "<i4"),
    ("symbol", "S80"),
    ("minute", "<i4"),
    ("feed", "S80"),
    ("replay", "?"),
    ("whole", "?"),
    ("revision", "<i2"),
    *((name, BAR_DTYPE[name].str) for name in VALUE_COLUMNS),
    ("fresh", "?"),
]
StagedRows = NDArray[np.void]  # (n,) of STAGED_DTYPE


class TableShape(NamedTuple):
    """The limits of the table `ohlcv_1min`: decimals, bounds, and whether a side table has the other columns."""

    price_decimals: int
    volume_decimals: int
    max_price: float
    max_size: float
    has_detail: bool
