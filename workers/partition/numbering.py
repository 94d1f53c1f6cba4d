"""The symbols of one partition, each with its number (its code); and rows chosen by the code of their symbol. Pure."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...contracts.ticks import Codes, Mask


class Numbering:
    """Numbers the symbols of a partition as they come. It survives a restore, and so can the histories."""

    def __init__(self) -> None:
        self.names: list[str] = []  # the symbol of each number; it only grows
        self.codes: dict[str, int] = {}  # the number of each symbol

    def code(self, symbol: str) -> int:
        """Return a symbol's number; a new symbol gets the next one."""
        code = self.codes.get(symbol)
        if code is None:
            code = self.codes[symbol] = len(self.names)
            self.names.append(symbol)
        return code

    def codes_of(self, symbols: Iterable[str]) -> Codes:
        """Return the number of each symbol; none of them may be new."""
        return np.fromiter((self.codes[symbol] for symbol in symbols), "<i4")

    def fits(self, symbols: Sequence[str]) -> bool:
        """Tell whether these symbols are in the order of their numbers, with all new ones at the end.

        If so, rows that are sorted by their index into `symbols` are sorted by the symbol's number, too.
        """
        known = [code for code in map(self.codes.get, symbols) if code is not None]
        return known == sorted(known) and all(symbol in self.codes for symbol in symbols[: len(known)])


def of_symbols(rows: NDArray[np.void], codes: Codes) -> NDArray[np.void]:
    """Return the rows (bars or marks of one partition) of some symbols."""
    return rows.compress(are_among(rows["symbol"], codes))


def without_symbols(rows: NDArray[np.void], codes: Codes) -> NDArray[np.void]:
    """Return the rows (bars or marks of one partition) of all other symbols."""
    return rows.compress(~are_among(rows["symbol"], codes))


def are_among(codes: Codes, some: Codes) -> Mask:
    """Return a mask of the codes that are among some. It uses a table of all codes: a partition has few symbols."""
    chosen = np.zeros(max(codes.max(initial=-1), some.max(initial=-1)) + 1, bool)
    chosen[some] = True
    return chosen[codes]
