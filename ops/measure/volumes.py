"""The volumes of the last days' bars, because histories hold only a window."""

from collections.abc import Sequence

import numpy as np

from ...contracts.ticks import SHARE_MICRO, Column
from ...workers.sessions import DAYS_BEFORE

_KEPT_MINUTES = (DAYS_BEFORE + 1) * 1440


class Volumes:
    """Replaces the table of bars in which a worker looks up volumes. symbols: as in the bars."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._codes = {symbol: code for code, symbol in enumerate(symbols)}
        self._parts: dict[int, list[Column]] = {}
        self._looked_up: dict[int, tuple[Column, Column]] = {}  # sorted keys, and the shares of each

    def add(self, timeframe: int, bars: Column) -> None:
        """Add bars (CLOSED_DTYPE) of a timeframe (minutes), later than all earlier ones of the same symbols."""
        if not len(bars):
            return
        oldest = int(bars["minute"].min()) - _KEPT_MINUTES
        parts = [part for part in self._parts.get(timeframe, []) if part["minute"].max() >= oldest]
        self._parts[timeframe] = [*parts, bars]
        self._looked_up.pop(timeframe, None)

    def of(self, timeframe: int, names: Sequence[str], minutes: Column) -> Column:
        """Return the shares of bars: minutes (n, k) of n symbols; NaN if there is no bar."""
        keys, shares = self._look_up(timeframe)
        codes = np.array([self._codes[name] for name in names], np.int64)[:, None]
        wanted = codes << 32 | np.maximum(minutes, 0)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.asarray(np.where(keys[place] == wanted, shares[place], np.nan))

    def _look_up(self, timeframe: int) -> tuple[Column, Column]:
        if timeframe not in self._looked_up:
            bars = np.concatenate(self._parts[timeframe])
            keys = bars["symbol"].astype(np.int64) << 32 | bars["minute"]
            order = np.argsort(keys)
            self._looked_up[timeframe] = keys[order], bars["volume_micro"][order] / SHARE_MICRO
        return self._looked_up[timeframe]
