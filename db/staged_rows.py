"""What a commit stages, before it is SQL: bars, indicator values, and what the table of bars can hold. Pure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contracts.bar import BAR_DTYPE
from ..contracts.detection import IndicatorValue

VALUE_COLUMNS = [name for name in BAR_DTYPE.names or () if name not in ("symbol", "minute")]

# One staged bar. symbol and feed: UTF-8; the arrays that hold them may be wider than these.
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
]
StagedRows = NDArray[np.void]  # (n,) of STAGED_DTYPE


class TableShape(NamedTuple):
    """What the table `ohlcv_1min` holds: decimals behind the point, bounds, and whether a side table has the rest."""

    price_decimals: int
    volume_decimals: int
    max_price: float
    max_size: float
    has_detail: bool


class StagedIndicator(NamedTuple):
    """One value on its way into the table; again: a row of it may stand already."""

    partition: int
    again: bool
    value: IndicatorValue
