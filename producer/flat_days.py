"""Daily bars from the vendor's flat files, one file per day: 2025-11-21.csv.gz."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from ..contracts.daily.day_bars import VALUES, DayBars, day_number, joined, wanted_of
from ..contracts.errors import RestBroken, UsageError
from .arrow import need_arrow

_ENDINGS = (".csv.gz", ".csv")


class FlatDays:
    """A folder of flat files. `read` is a DaySource; it raises RestBroken if a file cannot be read."""

    def __init__(self, folder: Path) -> None:
        """Check the folder. Raises UsageError if it does not exist, or if pyarrow is not installed."""
        need_arrow()
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder")
        self._folder = folder

    def read(self, days: Sequence[date], symbols: Sequence[str]) -> DayBars:
        """Return the bars of some days; a day without a file has none."""
        files = self._files(days)
        return joined([_read_file(files[day], day, symbols) for day in days if day in files])

    def has(self, day: date) -> bool:
        """Tell whether a day's file exists."""
        return day in self._files([day])

    def _files(self, days: Sequence[date]) -> dict[date, Path]:
        """Find each day's file: in the folder itself, or below it in YEAR/MONTH, as the vendor sorts them."""
        found = {}
        for day in days:
            places = (self._folder, self._folder / f"{day:%Y}" / f"{day:%m}")
            names = [place / f"{day}{ending}" for place in places for ending in _ENDINGS]
            file = next((name for name in names if name.is_file()), None)
            if file is not None:
                found[day] = file
        return found


def _read_file(file: Path, day: date, symbols: Sequence[str]) -> DayBars:
    import pyarrow as pa  # noqa: PLC0415  # arrow.py
    from pyarrow import csv  # noqa: PLC0415

    types = {"ticker": pa.string(), **dict.fromkeys(VALUES, pa.float64())}
    try:
        table = csv.read_csv(file, convert_options=csv.ConvertOptions(include_columns=list(types), column_types=types))
    except (pa.ArrowException, OSError, KeyError, EOFError) as e:
        raise RestBroken(f"{file.name} is not a file of day aggregates: {str(e).splitlines()[0]}") from e
    opened, high, low, close, volume = (np.asarray(table[name].to_numpy(), np.float64) for name in VALUES)
    number = np.full(len(table), day_number(day), np.int64)
    bars = DayBars(table["ticker"].to_pylist(), number, opened, high, low, close, volume)
    return wanted_of(bars, [day], symbols)
