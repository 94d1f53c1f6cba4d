"""The indicator values last published of each symbol. Pure."""

from collections.abc import Iterator, Sequence

import numpy as np

from ...contracts.detection import IndicatorColumn, IndicatorValue
from ...contracts.ticks import Codes, Mask
from ..marks import Marks
from ..sessions import Track


class PublishedValues:
    """Of one partition. A symbol is its index in the partition's symbols."""

    def __init__(self) -> None:
        # By track and indicator: the minute and values last published of each symbol.
        self._last: dict[tuple[Track, str], dict[int, tuple[int, Sequence[float]]]] = {}

    def choose(self, track: Track, marks: Marks, column: IndicatorColumn, is_newest: Mask) -> Iterator[IndicatorValue]:
        """Return the values to publish; a recomputed one only if it is the symbol's newest and differs.

        marks: of the column's bars. is_newest: whether a bar is the last of its symbol.
        """
        again, symbols = np.array(column.again), marks["symbol"].tolist()
        last = self._last.setdefault((track, column.indicator), {})
        told = marks["publish"] & ~again
        latest = [*zip(column.minutes, column.values, strict=True)]
        for row in np.flatnonzero(marks["publish"] & again & is_newest).tolist():
            told[row] = last.get(symbols[row]) != latest[row]
        last |= {symbols[row]: latest[row] for row in np.flatnonzero(told & is_newest).tolist()}
        return column.take(np.flatnonzero(told).tolist()).each()

    def forget(self, track: Track, symbols: Codes) -> None:
        """Forget the values of some symbols."""
        for last in (some for (its, _), some in self._last.items() if its == track):
            for symbol in symbols.tolist():
                last.pop(symbol, None)
